"""What to ask of the database so that it holds what is wanted: plain functions from rows to the operations of a
transaction (RFC 7047 section 5.2). An empty list means that nothing is missing.
"""  # noqa: D205 - the sentence does not fit a line

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antrea_proxy.ovsdb.notation import Uuid, map_of, new_row, reference, set_of
from antrea_proxy.ovsdb.replica import Row
from antrea_proxy.ovsdb.rows import BridgeSpec, PortSpec

Operation = dict[str, Any]


def bump_next_cfg() -> list[Operation]:
    """Ask ovs-vswitchd to say, in `cur_cfg`, when it has acted on this transaction. The last result is the number."""
    return [
        {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]},
        {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["next_cfg"]},
    ]


def make_bridge(spec: BridgeSpec, existing: Row | None) -> list[Operation]:
    """Create the bridge with its own port, or change the columns that differ. Protocols that others added stay."""
    if existing is not None:
        return _change_bridge(spec, existing)
    columns: dict[str, Any] = {
        "name": spec.name,
        "datapath_type": spec.datapath_type,
        "fail_mode": spec.fail_mode,
        "protocols": set_of(spec.protocols),
        "ports": set_of([new_row("port")]),
    }
    if spec.hwaddr is not None:
        columns["other_config"] = map_of({"hwaddr": spec.hwaddr})
    return [
        _absent("Bridge", spec.name),
        _absent("Port", spec.name),
        _insert("Interface", "interface", {"name": spec.name, "type": "internal"}),
        _insert("Port", "port", {"name": spec.name, "interfaces": new_row("interface")}),
        _insert("Bridge", "bridge", columns),
        _mutate_set("Open_vSwitch", [], "bridges", "insert", new_row("bridge")),
    ]


def remove_bridge(bridge: Row) -> list[Operation]:
    """Let go of the bridge; its ports and interfaces go with it, since nothing refers to them any more."""
    return [_mutate_set("Open_vSwitch", [], "bridges", "delete", reference(bridge.uuid))]


def make_port(spec: PortSpec, bridge: Row, existing: Row | None) -> list[Operation]:
    """Create the port on `bridge`, or change the columns of `existing`, its interface, that differ."""
    if existing is not None:
        return _change_interface(spec, existing)
    columns: dict[str, Any] = {
        "name": spec.name,
        "type": spec.type,
        "options": map_of(spec.options),
        "external_ids": map_of(spec.external_ids),
    }
    if spec.ofport_request is not None:
        columns["ofport_request"] = spec.ofport_request
    if spec.mac is not None:
        columns["mac"] = spec.mac
    if spec.mtu_request is not None:
        columns["mtu_request"] = spec.mtu_request
    return [
        _absent("Port", spec.name),
        _insert("Interface", "interface", columns),
        _insert("Port", "port", {"name": spec.name, "interfaces": new_row("interface")}),
        _mutate_set("Bridge", [["_uuid", "==", reference(bridge.uuid)]], "ports", "insert", new_row("port")),
    ]


def remove_port(bridge: Row, port: Row) -> list[Operation]:
    """Let go of the port."""
    where = [["_uuid", "==", reference(bridge.uuid)]]
    return [_mutate_set("Bridge", where, "ports", "delete", reference(port.uuid))]


def change_map(table: str, row: Row, column: str, items: Mapping[str, str | None]) -> list[Operation]:
    """Set the keys of `items`, remove those whose value is None; the keys of others stay, also those set meanwhile."""
    before = row.mapping(column)
    changed = {key: value for key, value in items.items() if before.get(key) != value}
    if not changed:
        return []
    mutations: list[list[Any]] = [[column, "delete", set_of(sorted(changed))]]
    kept = {key: value for key, value in changed.items() if value is not None}
    if kept:
        mutations.append([column, "insert", map_of(kept)])
    return [_mutate(table, row.uuid, mutations)]


def _change_bridge(spec: BridgeSpec, row: Row) -> list[Operation]:
    changes: dict[str, Any] = {}
    if (row.text("datapath_type") or "system") != spec.datapath_type:
        changes["datapath_type"] = spec.datapath_type
    if row.text("fail_mode") != spec.fail_mode:
        changes["fail_mode"] = spec.fail_mode
    needed = [_update("Bridge", row.uuid, changes)] if changes else []
    missing = frozenset(spec.protocols) - row.items("protocols")
    if missing:
        needed.append(_mutate("Bridge", row.uuid, [["protocols", "insert", set_of(sorted(missing))]]))
    if spec.hwaddr is not None:
        needed += change_map("Bridge", row, "other_config", {"hwaddr": spec.hwaddr})
    return needed


def _change_interface(spec: PortSpec, row: Row) -> list[Operation]:
    changes: dict[str, Any] = {}
    if row.text("type") != spec.type:
        changes["type"] = spec.type
    if row.mapping("options") != dict(spec.options):
        changes["options"] = map_of(spec.options)
    if spec.ofport_request is not None and row.number("ofport_request") != spec.ofport_request:
        changes["ofport_request"] = spec.ofport_request
    if spec.mac is not None and row.text("mac").lower() != spec.mac.lower():
        changes["mac"] = spec.mac
    if spec.mtu_request is not None and row.number("mtu_request") != spec.mtu_request:
        changes["mtu_request"] = spec.mtu_request
    needed = [_update("Interface", row.uuid, changes)] if changes else []
    return [*needed, *change_map("Interface", row, "external_ids", spec.external_ids)]


def _insert(table: str, name: str, columns: Mapping[str, Any]) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": name, "row": columns}


def _update(table: str, uuid: Uuid, columns: Mapping[str, Any]) -> Operation:
    return {"op": "update", "table": table, "where": [["_uuid", "==", reference(uuid)]], "row": columns}


def _mutate(table: str, uuid: Uuid, mutations: list[list[Any]]) -> Operation:
    where = [["_uuid", "==", reference(uuid)]]
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}


def _mutate_set(table: str, where: list[Any], column: str, mutator: str, value: list[str]) -> Operation:
    return {"op": "mutate", "table": table, "where": where, "mutations": [[column, mutator, set_of([value])]]}


def _absent(table: str, name: str) -> Operation:
    """Fail the transaction if somebody was quicker: two rows of one name would break the whole configuration."""
    return {
        "op": "wait",
        "table": table,
        "timeout": 0,
        "where": [["name", "==", name]],
        "columns": ["name"],
        "until": "==",
        "rows": [],
    }
