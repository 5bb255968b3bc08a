"""A model of a Windows Node's network stack, and of as much PowerShell as speaks to it: no Windows runs here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from antrea_proxy.host.windows.desired import WindowsState

Row = dict[str, str]

_PARAMETER = re.compile(r"-(\w+)(?:[ :]('(?:[^']|'')*'|[^\s'-]\S*))?")
_UNLESS = re.compile(r"if \(-not \((?P<what>.+?)\)\) \{ (?P<then>.+) \}")
_EITHER = re.compile(r"if \((?P<what>Get-NetNeighbor .+?)\) \{ (?P<then>.+?) \} else \{ (?P<other>.+) \}")
_DIFFERS = re.compile(r"if \(\((?P<what>.+?)\)\.(?P<property>\w+) -ne '(?P<value>.+?)'\) \{ (?P<then>.+) \}")
_FOUND_ROUTE = re.compile(r"\(Find-NetRoute -RemoteIPAddress (\S+) \| Select-Object -First 1\)\.InterfaceIndex")
_TEXT = re.compile(r"'((?:[^']|'')*)'")

_KEYS = {
    "NetIPAddress": ("InterfaceAlias", "IPAddress"),
    "NetNeighbor": ("InterfaceAlias", "IPAddress"),
    "NetRoute": ("DestinationPrefix", "NextHop", "InterfaceAlias", "InterfaceIndex"),
    "NetNat": ("Name",),
    "NetNatStaticMapping": ("Protocol", "ExternalPort"),
    "NetAdapter": ("Name",),
    "NetIPInterface": ("InterfaceAlias", "AddressFamily"),
}


class PowerShellError(Exception):
    """A step that Windows would refuse."""


@dataclass
class Windows:
    """Rows by kind of object, as the cmdlets show them."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {kind: [] for kind in _KEYS})

    @classmethod
    def with_switch(cls, gateway: str) -> Windows:
        """Give a Node whose switch has made the gateway."""
        windows = cls()
        windows.rows["NetAdapter"].append({"Name": gateway, "MacAddress": "02-00-00-00-00-01"})
        windows.rows["NetIPInterface"] += [
            {"InterfaceAlias": gateway, "AddressFamily": family} for family in ("IPv4", "IPv6")
        ]
        return windows

    def run(self, steps: Iterable[str]) -> None:
        """Run steps. Raises PowerShellError for one that Windows would refuse."""
        for step in steps:
            self._statement(step)

    def holds(self, state: WindowsState) -> bool:
        """Whether it holds exactly this of what can be ours."""
        mac = state.gateway.mac.upper().replace(":", "-")
        return (
            [row["MacAddress"] for row in self.rows["NetAdapter"]] == [mac]
            and self._set("NetIPAddress", "IPAddress", "PrefixLength")
            == {(str(item.address.ip), str(item.address.network.prefixlen)) for item in state.addresses}
            and self._set("NetNeighbor", "IPAddress", "LinkLayerAddress")
            == {(str(item.address), item.mac.upper().replace(":", "-")) for item in state.neighbours}
            and self._set("NetRoute", "DestinationPrefix", "NextHop")
            == {(str(route.destination), str(route.via)) for route in state.routes}
            and self._set("NetNat", "Name", "InternalIPInterfaceAddressPrefix")
            == {(nat.name, str(nat.inside)) for nat in state.nats}
            and self._set("NetNatStaticMapping", "Protocol", "ExternalPort", "InternalIPAddress", "InternalPort")
            == {(item.protocol, str(item.port), str(item.to), str(item.port)) for item in state.mappings}
        )

    def _set(self, kind: str, *columns: str) -> set[tuple[str, ...]]:
        return {tuple(row[column] for column in columns) for row in self.rows[kind]}

    def _statement(self, text: str) -> None:
        text = _FOUND_ROUTE.sub(r"of-\1", text)
        if found := _UNLESS.fullmatch(text):
            if not self._pipeline(found["what"]):
                self._statement(found["then"])
        elif found := _EITHER.fullmatch(text):
            self._statement(found["then"] if self._pipeline(found["what"]) else found["other"])
        elif found := _DIFFERS.fullmatch(text):
            if {row.get(found["property"]) for row in self._pipeline(found["what"])} != {found["value"]}:
                for part in found["then"].split("; "):
                    self._statement(part)
        else:
            self._pipeline(text)

    def _pipeline(self, text: str) -> list[Row]:
        kind, rows = "", list[Row]()
        for part in text.split(" | "):
            if part.startswith("Where-Object"):
                rows = list(filter(_condition(part), rows))
                continue
            verb, kind = part.split(" ")[0].split("-")
            given = {name: _literal(value) for name, value in _PARAMETER.findall(part.partition(" ")[2])}
            rows = self._cmdlet(verb, kind, given, rows)
        return rows

    def _cmdlet(self, verb: str, kind: str, given: Row, rows: list[Row]) -> list[Row]:
        known = self.rows[kind]
        if verb == "Get":
            wanted = {key: value for key, value in given.items() if key not in {"ErrorAction", "PrefixOrigin"}}
            if kind == "NetNatStaticMapping":
                wanted.pop("NatName")
            return [row for row in known if wanted.items() <= row.items()]
        if verb == "Remove":
            for row in rows:
                known.remove(row)
                if (kind, row.get("Name")) == ("NetNat", "antrea-proxy-nodeport"):
                    self.rows["NetNatStaticMapping"].clear()
            return []
        key = {column: given[column] for column in _KEYS[kind] if column in given}
        same = [row for row in known if key.items() <= row.items()]
        if verb in {"New", "Add"}:
            if same:
                raise PowerShellError(f"{kind} {key} exists")
            if kind == "NetNatStaticMapping" and given["NatName"] not in {row["Name"] for row in self.rows["NetNat"]}:
                raise PowerShellError(f"no NetNat {given['NatName']}")
            known.append(given)
        elif not same:
            raise PowerShellError(f"no {kind} {key}")
        else:
            same[0].update({name: value for name, value in given.items() if name != "Confirm"})
        return []


def _literal(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def _condition(part: str) -> Callable[[Row], bool]:
    """Understand the three conditions that are used."""
    if found := re.search(r"\$_\.Protocol -eq '(\w+)' -and \$_\.ExternalPort -eq (\d+)", part):
        return lambda row: (row["Protocol"], row["ExternalPort"]) == found.groups()
    columns = re.findall(r"\$_\.(\w+)", part.partition("-notin")[0]) or re.findall(r"Where-Object (\w+) -notin", part)
    separator = "/" if "Protocol" in columns else " "
    texts = [text.replace("''", "'") for text in _TEXT.findall(part.partition("-notin")[2])]
    return lambda row: separator.join(row[column] for column in columns) not in texts
