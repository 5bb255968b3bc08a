"""What wiring a Pod needs of the switch's database and of the Node's network stack: the smallest interfaces that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from antrea_proxy.host.errors import HostError
from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.network.values import IPAddress, IPInterface
from antrea_proxy.ovsdb.errors import OvsdbError
from antrea_proxy.ovsdb.rows import BridgePort


class SwitchPorts(Protocol):
    """The bridge's ports; every method is idempotent, and raises OvsdbError."""

    async def ensure_port(
        self,
        bridge: str,
        name: str,
        *,
        type: str = "",  # noqa: A002 - the column's own name
        ofport_request: int | None = None,
        options: Mapping[str, str] = ...,
        external_ids: Mapping[str, str] = ...,
    ) -> OfPort:
        """Make or change a port; returns once ovs-vswitchd has taken it, with its number."""

    async def delete_port(self, bridge: str, name: str) -> None:
        """Remove a port; one that is absent changes nothing."""

    async def ports(self, bridge: str) -> Sequence[BridgePort]:
        """Return all ports of the bridge."""


class PodInterfaceState(Protocol):
    """The Pod's end of a veth pair as the kernel holds it."""

    @property
    def mac(self) -> str:
        """Its address, as `0a:58:0a:0a:01:05`."""

    @property
    def up(self) -> bool:
        """Whether it was set up, and its peer too."""

    @property
    def addresses(self) -> Sequence[IPInterface]:
        """All but link-local ones."""

    @property
    def gateways(self) -> Sequence[IPAddress]:
        """Of its default routes."""


class PodLinks(Protocol):
    """The Node's and the Pods' links; raises HostError."""

    async def create_pod_veth(
        self,
        *,
        netns: str,
        pod_interface: str,
        host_interface: str,
        mac: str,
        mtu: int,
        addresses: Sequence[IPInterface],
        gateways: Sequence[IPAddress],
        checksum_offload: bool,
    ) -> None:
        """Make both ends, addresses and default routes, or nothing."""

    async def delete_link(self, name: str) -> None:
        """Remove a link of the Node; one that is absent changes nothing."""

    async def pod_interface_state(self, netns: str, interface: str) -> PodInterfaceState | None:
        """Return the interface's state, or None when it or the namespace is gone."""

    async def link_exists(self, name: str) -> bool:
        """Whether the Node has a link of this name."""


class PortShield(Protocol):
    """Keeps the Node's own kernel from seeing frames of ports that the userspace datapath reads; raises HostError."""

    async def shield_port(self, name: str) -> None:
        """Drop what the kernel sees of this link; idempotent."""

    async def unshield_port(self, name: str) -> None:
        """Undo it; idempotent, also when the link is gone."""


EFFECT_ERRORS: tuple[type[Exception], ...] = (OvsdbError, HostError)
"""What the parts raise when the world refuses."""
