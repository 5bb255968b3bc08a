"""Our copy of the rows that we follow, kept current by the server's `update` notifications (RFC 7047 section 4.1.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antrea_proxy.ovsdb.errors import OvsdbProtocolError
from antrea_proxy.ovsdb.notation import Uuid, as_optional, as_set, decode

MONITORED: dict[str, tuple[str, ...]] = {
    "Open_vSwitch": ("bridges", "cur_cfg", "next_cfg", "datapath_types", "ovs_version", "other_config", "external_ids"),
    "Bridge": ("name", "ports", "datapath_type", "datapath_id", "fail_mode", "protocols", "other_config",
               "external_ids"),
    "Port": ("name", "interfaces"),
    "Interface": ("name", "type", "options", "external_ids", "ofport", "ofport_request", "mac", "mac_in_use",
                  "mtu_request", "error"),
}  # fmt: skip
"""Tables and columns that are followed. None of them changes by itself: statistics would wake us every 5 s."""


class Row:
    """One row: its UUID and its columns."""

    __slots__ = ("_columns", "uuid")

    def __init__(self, uuid: Uuid, columns: dict[str, Any]) -> None:
        self.uuid = uuid
        self._columns = columns

    def text(self, column: str) -> str:
        """Return a column that holds text; empty where it holds none."""
        return str(as_optional(self._columns[column]) or "")

    def number(self, column: str) -> int | None:
        """Return a column that holds at most one number."""
        value = as_optional(self._columns[column])
        return None if value is None else int(value)

    def items(self, column: str) -> frozenset[Any]:
        """Return a column that holds a set."""
        return as_set(self._columns[column])

    def mapping(self, column: str) -> dict[str, str]:
        """Return a column that holds a map; the caller's own copy."""
        return dict(self._columns[column])


class Replica:
    """The followed tables as of the last update that arrived."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[str, dict[Uuid, Row]] = {table: {} for table in MONITORED}

    def apply(self, updates: dict[str, dict[str, dict[str, Any]]]) -> None:
        """Take in one <table-updates>.

        Raises OvsdbProtocolError when it does not have that form.
        """
        try:
            for table, rows in updates.items():
                for uuid, change in rows.items():
                    if "new" in change:
                        columns = {column: decode(value) for column, value in change["new"].items()}
                        self._tables[table][Uuid(uuid)] = Row(Uuid(uuid), columns)
                    else:
                        self._tables[table].pop(Uuid(uuid), None)
        except (AttributeError, KeyError, TypeError) as error:
            raise OvsdbProtocolError(f"not an update of rows: {updates!r}") from error

    def open_vswitch(self) -> Row:
        """Return the one row of table Open_vSwitch.

        Raises OvsdbProtocolError where there is none: nobody ran `ovs-vsctl init`.
        """
        for row in self._tables["Open_vSwitch"].values():
            return row
        raise OvsdbProtocolError("table Open_vSwitch is empty; run `ovs-vsctl --no-wait init`")

    def bridge(self, name: str) -> Row | None:
        """Return the bridge of that name."""
        return self._named("Bridge", name)

    def bridges(self) -> tuple[Row, ...]:
        """Return all bridges."""
        return tuple(self._tables["Bridge"].values())

    def port(self, name: str) -> Row | None:
        """Return the port of that name, on any bridge."""
        return self._named("Port", name)

    def ports(self, bridge: Row) -> Iterator[Row]:
        """Return the ports of a bridge."""
        ports = self._tables["Port"]
        return (ports[uuid] for uuid in bridge.items("ports") if uuid in ports)

    def interface(self, port: Row) -> Row | None:
        """Return the interface of a port; of a bond, one of them."""
        interfaces = self._tables["Interface"]
        return next((interfaces[uuid] for uuid in port.items("interfaces") if uuid in interfaces), None)

    def _named(self, table: str, name: str) -> Row | None:
        return next((row for row in self._tables[table].values() if row.text("name") == name), None)
