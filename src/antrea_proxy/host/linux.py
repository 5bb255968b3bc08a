"""The Node's stack under Linux: routes and neighbours by netlink, NodePorts, masquerade and refusals by nftables."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from antrea_proxy.host.desired import HostState, desired_host
from antrea_proxy.host.host import Host, Repair
from antrea_proxy.host.services import HostServices
from antrea_proxy.network.values import Network


class LinuxStack:
    """A NodeStack (host.stack)."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._desired: Callable[[HostServices], HostState] | None = None
        self._held: HostState | None = None

    async def apply(self, network: Network, services: HostServices, *, userspace_datapath: bool) -> Repair:
        """Make the Node hold what these ask for, remove what else is ours, and say what had to change."""
        self._held = None
        self._desired = partial(
            desired_host,
            network,
            userspace_datapath=userspace_datapath,
            beside_kube_proxy=network.service_entry is not None and await self._host.beside_kube_proxy(),
        )
        wanted = self._desired(services)
        repair = await self._host.apply(wanted)
        self._held = wanted
        return repair

    async def serve(self, services: HostServices) -> bool:
        """Change what Services need alone, without reading the Node back, and say whether that was all it took."""
        if self._held is None or self._desired is None:
            return False
        held, self._held = self._held, None
        wanted = self._desired(services)
        if await self._host.change(held, wanted):
            self._held = wanted
        return self._held is not None

    async def cleanup(self, gateway: str) -> None:
        """Remove everything of ours: tables, routes, neighbours, and the addresses of our interfaces."""
        await self._host.cleanup(gateway)
