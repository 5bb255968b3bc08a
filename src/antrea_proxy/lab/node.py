"""A Node of the lab: its switch, its agent and its kubelet, in one network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from antrea_proxy.lab import agent_config, underlay
from antrea_proxy.lab.addressing import TUNNEL_RANGES, Address, AddressPlan
from antrea_proxy.lab.agent_process import AgentProcess, own_program
from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.kubeconfig import write_private
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane import nodes
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.kubelet.cni import CniRuntime
from antrea_proxy.lab.kubelet.kubelet import Kubelet
from antrea_proxy.lab.kubelet.pod_worker import NodeContext
from antrea_proxy.lab.options import Datapath, EncapMode, LabOptions
from antrea_proxy.lab.places import NodePlaces, Places
from antrea_proxy.lab.processes import Spawner
from antrea_proxy.lab.switch import TUNNEL_BRIDGE, Switch, TunnelAddress, TunnelRoute
from antrea_proxy.lab.underlay import router_mac, tunnel_mac

_RESEED_SECONDS = 600.0
_SWITCH_BACK_OFF = 0.5
_READINESS_STEP = 1.0
_READINESS_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """What all Nodes of a lab are made with; `read_config` gives the cluster's antrea-agent.conf as it is now."""

    places: Places
    options: LabOptions
    datapath: Datapath
    spawner: Spawner
    store: Store
    events: EventRecorder
    read_config: Callable[[], str]

    @property
    def uplink_bridge(self) -> bool:
        """Whether tunnels need an uplink bridge: with a tunnel and the userspace datapath."""
        if self.datapath is not Datapath.NETDEV:
            return False
        return self.options.encap_mode is not EncapMode.NO_ENCAP or agent_config.returns_directly(self.options.config)


class LabNode:
    """One Node; `number` counts from 1."""

    def __init__(self, parts: NodeParts, number: int) -> None:
        self._parts = parts
        self._number = number
        self.name = parts.options.node_names[number - 1]
        self.plan = AddressPlan(family=parts.options.ip_family, subnets=parts.options.subnets)
        self.places: NodePlaces = parts.places.node(self.name)
        self.netns: Path = parts.places.netns(self.name)
        self.switch = Switch(
            spawner=parts.spawner, node=self.name, number=number, netns=self.netns, directory=self.places.ovs
        )
        self.cni = CniRuntime(
            spawner=parts.spawner,
            plugin=own_program("antrea-proxy-cni"),
            node_netns=self.netns,
            cni_socket=self.places.cni_socket,
        )
        self.agent = AgentProcess(
            spawner=parts.spawner,
            node=self.name,
            netns=self.netns,
            places=self.places,
            cni=self.cni,
            write_config=self._write_config,
        )
        self.kubelet = Kubelet(
            NodeContext(
                node=self.name,
                host_ips=self.addresses,
                places=parts.places,
                store=parts.store,
                spawner=parts.spawner,
                cni=self.cni,
                events=parts.events,
            )
        )
        self.switch_crashes = 0
        self._restarting = asyncio.Lock()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The Node's own addresses, IPv4 first."""
        return tuple(str(address) for address in self.plan.node(self._number))

    @property
    def tunnel_addresses(self) -> tuple[str, ...]:
        """The addresses that its tunnels end at: those of br-phy, or its own."""
        plan = self.plan
        found = plan.tunnel(self._number) if self._parts.uplink_bridge else plan.node(self._number)
        return tuple(str(address) for address in found)

    async def start_switch(self, *, empty_database: Path) -> None:
        """Start the switch and join it to the others' tunnels.

        Raises LabError where a program fails.
        """
        await self.switch.start(empty_database=empty_database)
        if self._parts.uplink_bridge:
            await self.switch.join_tunnels(
                self._tunnel_ends(self._number), self._tunnel_neighbours(), self._tunnel_routes()
            )

    async def restart_switch(self, *, kill: bool) -> None:
        """Restart ovs-vswitchd.

        Raises LabError where it does not come up.
        """
        async with self._restarting:
            await self.switch.restart(kill=kill)

    async def restart_agent(self, *, kill: bool, program: Path | None = None) -> tuple[str, ...]:
        """Restart the agent with the configuration as it is now; gives the keys that the lab overrode.

        With a `program` that is what runs as the agent from now on. Raises LabError with the end of the agent's log
        where it does not come up.
        """
        if program is not None:
            self.agent.program = program
        overridden = await self.agent.restart(kill=kill)
        # As a runtime does when its network comes back. A Pod being wired in this moment is not in the list yet.
        with contextlib.suppress(LabError):
            await self.cni.collect_garbage()
        return overridden

    async def reboot(self) -> tuple[str, ...]:
        """Lose what a Node loses with its power, and come back as it boots; gives the keys that the lab overrode.

        What it has on disk stays: the switch's database. All else goes: processes, Pods, the network namespace with
        links, routes, rules and tracked connections, and the agent's files below /run. Raises LabError where something
        does not come up.
        """
        parts = self._parts
        try:
            async with self._restarting:
                await self.agent.stop(kill=True)
                await self.kubelet.halt()
                await asyncio.to_thread(
                    underlay.rebuild_node, parts.places, parts.options, self._number, tunnel_uplink=parts.uplink_bridge
                )
                await asyncio.to_thread(shutil.rmtree, self.places.cni_socket.parent, ignore_errors=True)
                await self.switch.boot()
            return await self.agent.restart(kill=True)
        finally:
            await self.kubelet.boot()

    async def supervise(self) -> None:
        """Start the switch's programs again when they die, and keep tunnel neighbours fresh, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._supervise_switch())
            group.create_task(self._tell_readiness())
            if self._parts.uplink_bridge:
                group.create_task(self._reseed())

    async def _supervise_switch(self) -> None:
        while True:
            database, daemon = self.switch.database, self.switch.daemon
            if database is None or daemon is None:
                return
            await asyncio.wait({database.exited, daemon.exited}, return_when=asyncio.FIRST_COMPLETED)
            async with self._restarting:
                if database is self.switch.database and daemon is self.switch.daemon:
                    self.switch_crashes += 1
                    await asyncio.sleep(_SWITCH_BACK_OFF)
                    with contextlib.suppress(LabError, TimeoutError):
                        if not database.running:
                            await self.switch.start_database()
                        if not daemon.running:
                            await self.switch.start_daemon()

    async def _tell_readiness(self) -> None:
        """Keep the Node's Ready condition: a restarted agent does not change it, one that stays away does."""
        absent = 0.0
        while True:
            ready = self.agent.ready.is_set()
            absent = 0.0 if ready else absent + _READINESS_STEP
            with contextlib.suppress(ApiError):  # somebody may have deleted the Node
                if ready:
                    nodes.set_ready(self._parts.store, self.name, ready=True, message="the agent wires Pods")
                elif absent > _READINESS_PATIENCE:
                    nodes.set_ready(self._parts.store, self.name, ready=False, message="the agent does not answer")
            await asyncio.sleep(_READINESS_STEP)

    async def _reseed(self) -> None:
        while True:
            await asyncio.sleep(_RESEED_SECONDS)
            with contextlib.suppress(LabError):  # a switch that is being restarted is seeded at its start
                await self.switch.seed_neighbours()

    def _tunnel_ends(self, number: int) -> tuple[TunnelAddress, ...]:
        return _found_behind(tunnel_mac(number), self.plan.tunnel(number))

    def _tunnel_neighbours(self) -> tuple[TunnelAddress, ...]:
        """The tunnel ends of the Nodes of this subnet, and its router."""
        numbers = range(1, self._parts.options.nodes + 1)
        subnet = self.plan.subnet(self._number)
        others = (n for n in numbers if n != self._number and self.plan.subnet(n) == subnet)
        router = _found_behind(router_mac(subnet), self.plan.tunnel_router(subnet))
        return (*(end for number in others for end in self._tunnel_ends(number)), *router)

    def _tunnel_routes(self) -> tuple[TunnelRoute, ...]:
        own = self.plan.subnet(self._number)
        gateways = self.plan.tunnel_router(own)
        return tuple(
            TunnelRoute(network=network, gateway=gateway)
            for subnet in range(self.plan.subnets)
            if subnet != own
            for network, gateway in zip(self.plan.tunnel_subnets(subnet), gateways, strict=True)
        )

    def _write_config(self) -> tuple[str, ...]:
        options = self._parts.options
        must_be = {
            "ovsRunDir": str(self.places.ovs),
            "ovsDatapathType": self._parts.datapath.value,
            "cniSocket": str(self.places.cni_socket),
            "trafficEncapMode": options.encap_mode.value,
            "tunnelType": options.tunnel.value,
        }
        if self._parts.uplink_bridge:
            must_be["transportInterface"] = TUNNEL_BRIDGE
        config = agent_config.for_node(self._parts.read_config(), must_be)
        write_private(self.places.agent_config, config.text.encode())
        return config.overridden


def _found_behind(mac: str, addresses: tuple[Address, ...]) -> tuple[TunnelAddress, ...]:
    lengths = {network.version: network.prefixlen for network in TUNNEL_RANGES}
    return tuple(TunnelAddress(address=str(a), prefix_length=lengths[a.version], mac=mac) for a in addresses)
