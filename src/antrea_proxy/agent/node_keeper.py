"""The bridge, its fixed ports and the Node's own network stack: made, compared and repaired beside the one loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.errors import ForeignBridge
from antrea_proxy.host.desired import desired_host
from antrea_proxy.host.errors import HostError
from antrea_proxy.host.host import Host
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.network.values import REFUSAL_PORT as REFUSAL_PORT_NAME
from antrea_proxy.network.values import TUNNEL_PORT as TUNNEL_PORT_NAME
from antrea_proxy.network.values import Network, Uplink
from antrea_proxy.ovsdb import OURS, Database, OvsdbError, choose_datapath_type, kernel_has_openvswitch
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT, TUNNEL_PORT
from antrea_proxy.settings import Settings

_log = structlog.get_logger(__name__)

REPAIR_INTERVAL_S: Final = 30.0
"""How often the Node is read back although nothing was asked for."""


class NodeKeeper:
    """Keeps the Node as the network asks for.

    `changed` is called when the Node's own interfaces differ from what they were.
    """

    def __init__(
        self, *, settings: Settings, database: Database, host: Host, netlink: Netlink, changed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._database = database
        self._host = host
        self._netlink = netlink
        self._changed = changed
        self._network: Network | None = None
        self._wake = asyncio.Event()
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
        await self._database.ensure_bridge(self._settings.ovs_bridge, self.datapath_type)
        self.uplinks = await self._read_uplinks()

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

    async def run(self) -> None:
        """Go on for ever; what fails is told in `problem` and tried again."""
        backoff = Backoff(first=0.5)
        delay = REPAIR_INTERVAL_S
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)
            self._wake.clear()
            try:
                await self._keep()
            except (HostError, OvsdbError) as error:
                delay = backoff.next_delay()
                if str(error) != self.problem:
                    _log.error("the Node cannot be kept as it should be", error=str(error))
                self.problem = str(error)
            else:
                backoff.reset()
                delay = REPAIR_INTERVAL_S
                self.problem = "" if self._network is not None else "this Node's podCIDR is not known yet"

    async def cleanup(self) -> None:
        """Remove the bridge, if it is ours, and all that is ours on the Node."""
        await self._host.cleanup(self._settings.host_gateway)
        if await self.is_ours():
            await self._database.delete_bridge(self._settings.ovs_bridge)
        elif await self._database.bridge(self._settings.ovs_bridge) is not None:
            raise ForeignBridge(
                f"bridge {self._settings.ovs_bridge} is not marked as ours (external_ids {OURS}); it was left alone"
            )

    async def _keep(self) -> None:
        uplinks = await self._read_uplinks()
        if uplinks != self.uplinks:
            self.uplinks = uplinks
            self._changed()
        network = self._network
        if network is None:
            return
        await self._ensure_ports(network)
        repair = await self._host.apply(desired_host(network, userspace_datapath=self.datapath_type == "netdev"))
        if repair:
            _log.info(
                "the Node's network stack was changed", nft_table=repair.table, shielded=sorted(repair.shielded_ports)
            )
            _log.debug("changes of the Node's network stack", kernel=repr(repair.kernel))

    async def _ensure_ports(self, network: Network) -> None:
        bridge = self._settings.ovs_bridge
        gateway = network.gateway
        for name, number in ((gateway.name, GATEWAY_PORT), (REFUSAL_PORT_NAME, REFUSE_PORT)):
            await self._database.ensure_port(bridge, name, type="internal", ofport_request=number, mac=gateway.mac)
        if network.tunnel is None:
            await self._database.delete_port(bridge, TUNNEL_PORT_NAME)
            return
        options = {"remote_ip": "flow", "key": "flow"}
        if network.tunnel.port:
            options["dst_port"] = str(network.tunnel.port)
        await self._database.ensure_port(
            bridge, TUNNEL_PORT_NAME, type=network.tunnel.type.value, ofport_request=TUNNEL_PORT, options=options
        )

    async def _read_uplinks(self) -> tuple[Uplink, ...]:
        return await self._netlink.uplinks(frozenset({self._settings.host_gateway, REFUSAL_PORT_NAME}))
