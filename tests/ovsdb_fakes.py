"""The Open vSwitch database in memory: every call is whole or nothing, and refuses what the real one refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.ovsdb import PROTOCOLS, Bridge, BridgeError, BridgePort, PortError

VIRTUAL = frozenset({"internal", "geneve", "vxlan", "gre", "patch"})
"""Interface types that need no device of the Node."""


@dataclass(slots=True)
class FakeDatabase:
    """Stands in for `Database`. `devices` are the Node's links that a port may be made of.

    `mtu_requests` are what was last asked for, by port.
    """

    devices: set[str] = field(default_factory=set)
    offered: frozenset[str] = frozenset({"netdev", "system"})
    held: dict[str, Bridge] = field(default_factory=dict)
    rows: dict[str, dict[str, BridgePort]] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    mtu_requests: dict[str, int] = field(default_factory=dict)

    async def datapath_types(self) -> frozenset[str]:
        """Return what is offered."""
        return self.offered

    async def bridge(self, name: str) -> Bridge | None:
        """Return a bridge."""
        return self.held.get(name)

    async def ensure_bridge(
        self,
        name: str,
        datapath_type: str,
        fail_mode: str = "secure",
        protocols: Sequence[str] = PROTOCOLS,
        *,
        hwaddr: str | None = None,
    ) -> Bridge:
        """Make or change a bridge."""
        before = self.held.get(name)
        if datapath_type not in self.offered:
            raise BridgeError(f"bridge {name}: ovsDatapathType {datapath_type}")
        own = {} if hwaddr is None else {"hwaddr": hwaddr}
        self.held[name] = Bridge(
            name=name,
            datapath_type=datapath_type,
            datapath_id="0000" + (hwaddr or "02:00:00:00:00:01").replace(":", ""),
            fail_mode=fail_mode,
            protocols=frozenset(protocols) | (before.protocols if before else frozenset()),
            other_config=dict(before.other_config if before else {}) | own,
            external_ids=before.external_ids if before else {},
        )
        local = _port(name, "internal", OfPort(65534))
        self.rows.setdefault(name, {name: local})
        return self.held[name]

    async def delete_bridge(self, name: str) -> None:
        """Remove a bridge with its ports."""
        self.held.pop(name, None)
        self.rows.pop(name, None)

    async def ports(self, bridge: str) -> tuple[BridgePort, ...]:
        """Return a bridge's ports."""
        return tuple(sorted(self.rows.get(bridge, {}).values(), key=lambda port: port.name))

    async def ensure_port(
        self,
        bridge: str,
        name: str,
        *,
        type: str = "",  # noqa: A002 - the column's own name
        ofport_request: int | None = None,
        mac: str | None = None,
        mtu_request: int | None = None,
        options: Mapping[str, str] | None = None,
        external_ids: Mapping[str, str] | None = None,
    ) -> OfPort:
        """Make or change a port."""
        if bridge not in self.held:
            raise PortError(f"port {name}: bridge {bridge} does not exist")
        if any(name in ports for other, ports in self.rows.items() if other != bridge):
            raise PortError(
                f"port {name} belongs on bridge {bridge}, but another bridge has it; ovs-vsctl del-port {name}"
            )
        ports = self.rows[bridge]
        before = ports.get(name) or _port(name, type, None)
        works = type in VIRTUAL or name in self.devices
        ports[name] = replace(
            before,
            type=type,
            ofport=self._number(ports, before, ofport_request) if works else None,
            mac_in_use=mac or before.mac_in_use,
            error="" if works else f"could not open network device {name} (No such device)",
            options=dict(options or {}),
            external_ids={**before.external_ids, **(external_ids or {})},
        )
        if mtu_request is not None:
            self.mtu_requests[name] = mtu_request
        number = ports[name].ofport
        if number is None:
            raise PortError(f"port {name} of bridge {bridge}: {ports[name].error}")
        return number

    async def delete_port(self, bridge: str, name: str) -> None:
        """Remove a port."""
        self.rows.get(bridge, {}).pop(name, None)

    async def set_bridge_external_ids(self, name: str, items: Mapping[str, str | None]) -> None:
        """Set or remove keys."""
        if name not in self.held:
            raise BridgeError(f"bridge {name} does not exist")
        self.held[name] = replace(self.held[name], external_ids=_changed(self.held[name].external_ids, items))

    async def other_config(self) -> dict[str, str]:
        """Return the map."""
        return dict(self.config)

    async def set_other_config(self, items: Mapping[str, str | None]) -> None:
        """Set or remove keys."""
        self.config = _changed(self.config, items)

    def _number(self, ports: Mapping[str, BridgePort], before: BridgePort, wanted: int | None) -> OfPort:
        taken = {port.ofport for port in ports.values() if port.name != before.name}
        if wanted is not None and wanted not in taken:
            return OfPort(wanted)
        return before.ofport or OfPort(next(number for number in range(1, 65280) if number not in taken))


def _port(name: str, kind: str, number: OfPort | None) -> BridgePort:
    return BridgePort(name=name, type=kind, ofport=number, mac_in_use="", error="", options={}, external_ids={})


def _changed(before: Mapping[str, str], items: Mapping[str, str | None]) -> dict[str, str]:
    after = {key: value for key, value in before.items() if key not in items}
    return after | {key: value for key, value in items.items() if value is not None}
