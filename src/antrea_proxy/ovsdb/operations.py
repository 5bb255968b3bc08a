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
        changes = _bridge_changes(spec, existing)
        return [_update("Bridge", existing.uuid, changes)] if changes else []
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
        changes = _interface_changes(spec, existing)
        return [_update("Interface", existing.uuid, changes)] if changes else []
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
    """Set the keys of `items`, remove those whose value is None; the keys of others stay."""
    before = row.mapping(column)
    after = _changed(before, items)
    return [] if before == after else [_update(table, row.uuid, {column: map_of(after)})]


def _changed(before: Mapping[str, str], items: Mapping[str, str | None]) -> dict[str, str]:
    after = {key: value for key, value in before.items() if key not in items}
    return after | {key: value for key, value in items.items() if value is not None}


def _bridge_changes(spec: BridgeSpec, row: Row) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if (row.text("datapath_type") or "system") != spec.datapath_type:
        changes["datapath_type"] = spec.datapath_type
    if row.text("fail_mode") != spec.fail_mode:
        changes["fail_mode"] = spec.fail_mode
    if not row.items("protocols").issuperset(spec.protocols):
        changes["protocols"] = set_of(sorted(row.items("protocols").union(spec.protocols)))
    if spec.hwaddr is not None and row.mapping("other_config").get("hwaddr") != spec.hwaddr:
        changes["other_config"] = map_of(row.mapping("other_config") | {"hwaddr": spec.hwaddr})
    return changes


def _interface_changes(spec: PortSpec, row: Row) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if row.text("type") != spec.type:
        changes["type"] = spec.type
    if row.mapping("options") != dict(spec.options):
        changes["options"] = map_of(spec.options)
    external_ids = row.mapping("external_ids")
    if external_ids | dict(spec.external_ids) != external_ids:
        changes["external_ids"] = map_of(external_ids | dict(spec.external_ids))
    if spec.ofport_request is not None and row.number("ofport_request") != spec.ofport_request:
        changes["ofport_request"] = spec.ofport_request
    if spec.mac is not None and row.text("mac").lower() != spec.mac.lower():
        changes["mac"] = spec.mac
    return changes


def _insert(table: str, name: str, columns: Mapping[str, Any]) -> Operation:
    return {"op": "insert", "table": table, "uuid-name": name, "row": columns}


def _update(table: str, uuid: Uuid, columns: Mapping[str, Any]) -> Operation:
    return {"op": "update", "table": table, "where": [["_uuid", "==", reference(uuid)]], "row": columns}


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
