"""The bridge, its fixed ports and the Node's own network stack: made, compared and repaired beside the one loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Final, Protocol

import structlog

from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.errors import AgentError, ForeignBridge, PortNumberTaken
from antrea_proxy.agent.status import HostReport
from antrea_proxy.host.errors import HostError, RoutesTaken
from antrea_proxy.host.services import HostServices
from antrea_proxy.host.stack import NodeStack
from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.network.values import REFUSAL_PORT as REFUSAL_PORT_NAME
from antrea_proxy.network.values import TUNNEL_PORT as TUNNEL_PORT_NAME
from antrea_proxy.network.values import IPAddress, IPNetwork, Network, Uplink
from antrea_proxy.ovsdb import OURS, Bridge, BridgePort, OvsdbError, choose_datapath_type, kernel_has_openvswitch
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT, TUNNEL_PORT
from antrea_proxy.settings import Settings

_log = structlog.get_logger(__name__)

RESTORE_WAIT: Final = "flow-restore-wait"
"""With it in other_config a switch that starts forwards nothing of its own accord (ovs-vswitchd.conf.db(5))."""

REPAIR_INTERVAL_S: Final = 30.0
"""How often the Node is read back although nothing was asked for."""


class Database(Protocol):
    """What is asked of the Open vSwitch database. Every method but `wait_for_change` may raise OvsdbError."""

    async def wait_for_change(self) -> None:
        """Return after the next change of a bridge or port."""

    async def datapath_types(self) -> frozenset[str]:
        """Return the types that ovs-vswitchd offers."""

    async def bridge(self, name: str) -> Bridge | None:
        """Return the bridge of that name."""

    async def ensure_bridge(self, name: str, datapath_type: str) -> Bridge:
        """Return once the bridge is there."""

    async def delete_bridge(self, name: str) -> None:
        """Remove the bridge."""

    async def ports(self, bridge: str) -> tuple[BridgePort, ...]:
        """Return the bridge's ports."""

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
    ) -> OfPort:
        """Return the port's number once it is there."""

    async def delete_port(self, bridge: str, name: str) -> None:
        """Remove the port."""

    async def set_bridge_external_ids(self, name: str, items: Mapping[str, str | None]) -> None:
        """Set keys of a bridge."""

    async def set_other_config(self, items: Mapping[str, str | None]) -> None:
        """Set keys of the switch, or remove those whose value is None."""


class Links(Protocol):
    """What is asked of the Node's interfaces."""

    async def uplinks(self, ours: frozenset[str] = frozenset()) -> tuple[Uplink, ...]:
        """Return those that have a global address, but for ours. Raises HostError."""


class Addresses(Protocol):
    """Who tells of changes of the Node's addresses."""

    async def wait_for_change(self) -> None:
        """Return after the next change."""

    def close(self) -> None:
        """Tell no more."""


class NodeKeeper:
    """Keeps the Node as the network and the Services ask for.

    `changed` is called when the Node's own interfaces differ from what they were, `report` when what keeps the Node
    from being as it should be, or what is still to be done, has changed. Besides what it is asked for and what the
    database tells of, the Node is read back every `repair_interval_s` seconds.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        stack: NodeStack,
        netlink: Links,
        addresses: Addresses,
        changed: Callable[[], None],
        report: Callable[[HostReport], None] = lambda _: None,
        repair_interval_s: float = REPAIR_INTERVAL_S,
    ) -> None:
        self._settings = settings
        self._database = database
        self._stack = stack
        self._netlink = netlink
        self._addresses = addresses
        self._changed = changed
        self._report = report
        self._repair_interval_s = repair_interval_s
        self._network: Network | None = None
        self._services: HostServices | None = None
        self._wake = asyncio.Event()
        self._wake_services = asyncio.Event()
        self._told = HostReport()
        self._taken: frozenset[IPAddress] = frozenset()
        self._seen: tuple[BridgePort, ...] = ()
        self._restored = False
        self.datapath_type = ""
        self.uplinks: tuple[Uplink, ...] = ()
        self.problem = "the Node is not prepared yet"

    async def prepare(self) -> None:
        """Make the bridge, and learn the Node's interfaces.

        Raises OvsdbError or HostError.
        """
        self.datapath_type = choose_datapath_type(
            self._settings.ovs_datapath_type.value,
            offered=await self._database.datapath_types(),
            kernel_has_it=kernel_has_openvswitch(),
        )
        await self._ensure_bridge()
        self.uplinks = await self._read_uplinks()

    async def has_bridge(self) -> bool:
        """Whether there is such a bridge, whoever made it."""
        return await self._database.bridge(self._settings.ovs_bridge) is not None

    async def is_ours(self) -> bool:
        """Whether an agent of ours has marked the bridge."""
        bridge = await self._database.bridge(self._settings.ovs_bridge)
        return bridge is not None and OURS.items() <= bridge.external_ids.items()

    async def mark_ours(self) -> None:
        """Mark the bridge, so that a later start knows its groups for ours."""
        await self._database.set_bridge_external_ids(self._settings.ovs_bridge, OURS)

    def want(self, network: Network) -> None:
        """Ask for another network."""
        if network != self._network:
            self._network = network
            self._wake.set()

    def want_services(self, services: HostServices) -> None:
        """Ask for other entries of Services; before the first time, what the Node holds of them stays as it is."""
        if services != self._services:
            self._services = services
            self._wake_services.set()
            self._tell(pending=True)

    def switch_restored(self) -> None:
        """Read the Node back: a switch that holds all flows again may have made its interfaces anew, too.

        One that was started with flow-restore-wait forwards nothing until it is told that it has them.
        """
        self._restored = True
        self._wake.set()

    async def run(self) -> None:
        """Go on for ever; what fails is told in `problem` and tried again."""
        backoff = Backoff(first=0.5)
        clock = asyncio.get_running_loop().time
        switch = asyncio.ensure_future(self._database.wait_for_change())
        wake = asyncio.ensure_future(self._wake.wait())
        services = asyncio.ensure_future(self._wake_services.wait())
        addresses = asyncio.ensure_future(self._addresses.wait_for_change())
        next_look = clock() + self._repair_interval_s
        try:
            while True:
                await asyncio.wait(
                    {switch, wake, services, addresses},
                    timeout=max(0.0, next_look - clock()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                asked = wake.done() or clock() >= next_look
                if switch.done():
                    switch = asyncio.ensure_future(self._database.wait_for_change())
                    await asyncio.sleep(0)  # it waits from here on: no change of the meantime escapes it
                    asked = asked or await self._ports_differ()
                if addresses.done():
                    addresses = asyncio.ensure_future(self._addresses.wait_for_change())
                    asked = asked or await self._uplinks_differ()
                if services.done():
                    services = asyncio.ensure_future(self._wake_services.wait())
                    asked = asked or not await self._served()
                if not asked:
                    continue
                self._wake.clear()
                self._wake_services.clear()
                if wake.done():
                    wake = asyncio.ensure_future(self._wake.wait())
                if await self._kept():
                    backoff.reset()
                    next_look = clock() + self._repair_interval_s
                else:
                    next_look = clock() + backoff.next_delay()
        finally:
            for waiting in (switch, wake, services, addresses):
                waiting.cancel()
            self._addresses.close()

    async def cleanup(self) -> None:
        """Remove the bridge, if it is ours, and all that is ours on the Node.

        Raises OvsdbError, HostError or ForeignBridge.
        """
        bridge = self._settings.ovs_bridge
        await self._stack.cleanup(self._settings.host_gateway)
        _log.info(
            "nftables tables, routes, neighbours and addresses of ours are removed; forwarding (sysctl "
            "net.ipv4.ip_forward, net.ipv6.conf.all.forwarding) stays as it is, since others may need it"
        )
        if await self.is_ours():
            await self._database.delete_bridge(bridge)
            _log.info("the bridge is removed", bridge=bridge)
        elif await self.has_bridge():
            raise ForeignBridge(
                f"bridge {bridge} does not bear our mark (external_ids antrea-proxy=true): it was left alone. If it is "
                f"to go, too: ovs-vsctl del-br {bridge}"
            )

    async def _kept(self) -> bool:
        """Do all that is to be done; say whether there is nothing to try again soon."""
        try:
            await self._keep()
        except RoutesTaken as error:
            self._taken = self._of_services(error.destinations)
            self.problem = "" if self._taken else str(error)
            self._tell(pending=False, problem=str(error))
            return False
        except (AgentError, HostError, OvsdbError) as error:
            if str(error) != self.problem:
                _log.error("the Node cannot be kept as it should be", error=str(error))
            self.problem = str(error)
            self._tell(pending=False)
            return False
        self._taken = frozenset()
        self.problem = self._what_is_missing()
        self._tell(pending=False)
        return True

    def _of_services(self, destinations: frozenset[IPNetwork]) -> frozenset[IPAddress]:
        """The addresses of Services that these are; none if there is anything else among them."""
        addresses = frozenset() if self._services is None else self._services.addresses
        found = frozenset(address for address in addresses if ip_network(address) in destinations)
        return found if len(found) == len(destinations) else frozenset()

    def _what_is_missing(self) -> str:
        if self._network is None:
            return "this Node's podCIDR is not known yet"
        if self._network.service_entry is not None and self._services is None:
            return "what Services ask of this Node is not known yet"
        return ""

    async def _served(self) -> bool:
        """Change what Services need alone, without reading the Node back; say whether that was all it took."""
        self._wake_services.clear()
        if self._services is None:
            return False
        try:
            done = await self._stack.serve(self._services)
        except HostError as error:
            _log.info("the Node's network stack is not as it was left", error=str(error))
            done = False
        if done:
            self._tell(pending=self._wake_services.is_set())
        return done

    def _tell(self, *, pending: bool, problem: str = "") -> None:
        report = HostReport(pending=pending, problem=problem or self.problem, taken=self._taken)
        if report != self._told:
            self._told = report
            self._report(report)

    async def _keep(self) -> None:
        uplinks = await self._read_uplinks()
        if uplinks != self.uplinks:
            self.uplinks = uplinks
            self._changed()
        network = self._network
        if network is None:
            return
        await self._ensure_bridge()
        await self._ensure_ports(network)
        self._seen = await self._fixed_ports()
        if self._restored:
            await self._database.set_other_config({RESTORE_WAIT: None})
            self._restored = False
        services = self._services
        if network.service_entry is not None and services is None:
            return
        userspace = self.datapath_type == "netdev"
        mended = await self._stack.apply(network, services or HostServices(), userspace_datapath=userspace)
        if mended:
            _log.info("the Node's network stack was changed", **mended.summary)
            _log.debug("changes of the Node's network stack", kernel=mended.details)

    async def _ensure_bridge(self) -> None:
        """A bridge that we make bears our mark from its beginning; `is_ours` of any other is for others to say."""
        bridge = self._settings.ovs_bridge
        new = not await self.has_bridge()
        await self._database.ensure_bridge(bridge, self.datapath_type)
        if new:
            await self.mark_ours()

    async def _ensure_ports(self, network: Network) -> None:
        gateway = network.gateway
        for name, number in ((gateway.name, GATEWAY_PORT), (REFUSAL_PORT_NAME, REFUSE_PORT)):
            await self._ensure_port(name, number, kind="internal", mac=gateway.mac, mtu=network.mtu)
        if network.tunnel is None:
            await self._database.delete_port(self._settings.ovs_bridge, TUNNEL_PORT_NAME)
            return
        options = {"remote_ip": "flow", "key": "flow"}
        if network.tunnel.port:
            options["dst_port"] = str(network.tunnel.port)
        await self._ensure_port(TUNNEL_PORT_NAME, TUNNEL_PORT, kind=network.tunnel.type.value, options=options)

    async def _ensure_port(
        self,
        name: str,
        number: OfPort,
        *,
        kind: str,
        mac: str | None = None,
        mtu: int | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        bridge = self._settings.ovs_bridge
        for _ in range(2):
            given = await self._database.ensure_port(
                bridge, name, type=kind, ofport_request=number, mac=mac, mtu_request=mtu, options=options
            )
            if given == number:
                return
            ports = await self._database.ports(bridge)
            if other := next((port.name for port in ports if port.ofport == number), ""):
                raise PortNumberTaken(
                    f"port {name} of bridge {bridge} must have OpenFlow port {number}, which {other} has; remove that "
                    f"one: ovs-vsctl del-port {bridge} {other}"
                )
            await self._database.delete_port(bridge, name)  # the number is free by now; made anew, the port gets it

    async def _uplinks_differ(self) -> bool:
        try:
            return await self._read_uplinks() != self.uplinks
        except HostError:
            return True

    async def _ports_differ(self) -> bool:
        """Whether the fixed ports are not as they were left; if that cannot be told, a full look will say why."""
        try:
            return self._network is not None and await self._fixed_ports() != self._seen
        except OvsdbError:
            return True

    async def _fixed_ports(self) -> tuple[BridgePort, ...]:
        names = {self._settings.host_gateway, REFUSAL_PORT_NAME, TUNNEL_PORT_NAME}
        return tuple(port for port in await self._database.ports(self._settings.ovs_bridge) if port.name in names)

    async def _read_uplinks(self) -> tuple[Uplink, ...]:
        return await self._netlink.uplinks(frozenset({self._settings.host_gateway, REFUSAL_PORT_NAME}))
