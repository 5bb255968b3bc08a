"""The world that wiring a Pod changes, in memory: atomic like the real one, and stoppable between any two steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from antrea_proxy.cni.ipam import AddressPool
from antrea_proxy.cni.pod_ports import PortKind
from antrea_proxy.cni.pods import PodWiring
from antrea_proxy.cni.protocol import AttachmentKey, Dns, Result
from antrea_proxy.cni.state_file import StateFileError
from antrea_proxy.cni.wires import PodWires
from antrea_proxy.host.errors import KernelRefused, NamespaceMissing
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.interfaces import OfPort, PodInterface
from antrea_proxy.network.values import IPAddress, IPInterface, IPNetwork
from antrea_proxy.ovsdb.errors import PortError
from antrea_proxy.ovsdb.rows import BridgePort

BRIDGE = "br-int"
MTU = 1450
CIDR4 = IPv4Network("10.10.1.0/24")
CIDR6 = IPv6Network("fd00:10:1::/64")


class CrashError(BaseException):
    """The agent's process ended here: nothing that it does afterwards has an effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """A Pod's end of a veth pair."""

    mac: str
    mtu: int
    up: bool
    addresses: tuple[IPInterface, ...]
    gateways: tuple[IPAddress, ...]
    checksum_offload: bool = False


@dataclass(slots=True, kw_only=True)
class FakeNode:
    """Switch, links, shield, disk and flows of one Node; what is in it outlives an agent.

    `steps_until_crash` counts effects down; `refusing` names effects that
    fail, `stuck_links` links that cannot be removed.
    """

    namespaces: set[str] = field(default_factory=set)
    bridge_ports: dict[str, BridgePort] = field(default_factory=dict)
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    inner: dict[tuple[str, str], LinkState] = field(default_factory=dict)
    shielded: set[str] = field(default_factory=set)
    flows: dict[str, PodInterface] = field(default_factory=dict)
    disk: bytes | None = None
    aside: list[bytes] = field(default_factory=list)
    refusing: set[str] = field(default_factory=set)
    stuck_links: set[str] = field(default_factory=set)
    steps_until_crash: int | None = None
    crashed: bool = False

    def revive(self) -> None:
        """Let a new agent act."""
        self.crashed, self.steps_until_crash = False, None

    def begin(self, effect: str) -> None:
        """Count one effect; raises CrashError when the agent is dead by now."""
        if self.crashed:
            raise CrashError
        if self.steps_until_crash is not None:
            if self.steps_until_crash == 0:
                self.crashed = True
                raise CrashError
            self.steps_until_crash -= 1
        if effect in self.refusing:
            if effect == "save":
                raise StateFileError(Path("/state"), "saved", OSError(28, "No space left on device"))
            if effect in {"ensure_port", "delete_port"}:
                raise PortError(f"{effect} refused")
            raise KernelRefused(f"{effect} refused")

    # SwitchPorts
    async def ensure_port(
        self,
        bridge: str,
        name: str,
        *,
        type: str = "",  # noqa: A002 - the column's own name
        ofport_request: int | None = None,
        options: Mapping[str, str] | None = None,
        external_ids: Mapping[str, str] | None = None,
    ) -> OfPort:
        """Make or change a port."""
        assert bridge == BRIDGE
        self.begin("ensure_port")
        known = self.bridge_ports.get(name)
        used = {port.ofport for port in self.bridge_ports.values() if port.name != name}
        number = (
            ofport_request if ofport_request and ofport_request not in used else max([100, *filter(None, used)]) + 1
        )
        if known is not None and known.ofport is not None and ofport_request is None:
            number = known.ofport
        self.bridge_ports[name] = BridgePort(
            name=name,
            type=type,
            ofport=OfPort(number),
            mac_in_use="",
            error="",
            options=dict(options or {}),
            external_ids={**(known.external_ids if known else {}), **(external_ids or {})},
        )
        return OfPort(number)

    async def delete_port(self, bridge: str, name: str) -> None:
        """Remove a port."""
        assert bridge == BRIDGE
        self.begin("delete_port")
        self.bridge_ports.pop(name, None)

    async def ports(self, bridge: str) -> Sequence[BridgePort]:
        """Return all ports."""
        assert bridge == BRIDGE
        self.begin("ports")
        return tuple(self.bridge_ports.values())

    # PodLinks
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
        """Make both ends or nothing."""
        self.begin("create_pod_veth")
        if netns not in self.namespaces:
            raise NamespaceMissing(f"network namespace {netns}: No such file or directory")
        if host_interface in self.pairs or (netns, pod_interface) in self.inner:
            raise KernelRefused(f"veth pair {host_interface}: File exists")
        self.pairs[host_interface] = (netns, pod_interface)
        self.inner[netns, pod_interface] = LinkState(
            mac=mac,
            mtu=mtu,
            up=True,
            addresses=tuple(addresses),
            gateways=tuple(gateways),
            checksum_offload=checksum_offload,
        )

    async def delete_link(self, name: str) -> None:
        """Remove a pair."""
        self.begin("delete_link")
        if name in self.stuck_links:
            raise KernelRefused(f"removal of interface {name}: Device or resource busy")
        inner = self.pairs.pop(name, None)
        if inner is not None:
            del self.inner[inner]

    async def pod_interface_state(self, netns: str, interface: str) -> LinkState | None:
        """Return the Pod's end."""
        self.begin("pod_interface_state")
        return self.inner.get((netns, interface))

    async def link_exists(self, name: str) -> bool:
        """Whether the Node's end is there."""
        self.begin("link_exists")
        return name in self.pairs

    # PortShield
    async def shield_port(self, name: str) -> None:
        """Shield it."""
        self.begin("shield_port")
        self.shielded.add(name)

    async def unshield_port(self, name: str) -> None:
        """Unshield it."""
        self.begin("unshield_port")
        self.shielded.discard(name)

    # StateStore
    def load(self) -> bytes | None:
        """Return the file."""
        return self.disk

    def save(self, text: bytes) -> None:
        """Replace the file."""
        self.begin("save")
        self.disk = text

    def set_aside(self) -> str:
        """Move the file."""
        assert self.disk is not None
        self.aside.append(self.disk)
        self.disk = None
        return "/state.malformed-1"

    # the agent's flows
    async def wired(self, pod: PodInterface) -> None:
        """Write the Pod's flows."""
        self.begin("wired")
        self.flows[pod.host_interface] = pod

    async def unwired(self, pod: PodInterface) -> None:
        """Remove the Pod's flows."""
        self.begin("unwired")
        self.flows.pop(pod.host_interface, None)

    # what happens to a Node
    def remove_namespace(self, netns: str) -> None:
        """Remove a sandbox: its interfaces go with it, and their peers."""
        self.namespaces.discard(netns)
        for name in [name for name, (other, _) in self.pairs.items() if other == netns]:
            del self.inner[self.pairs.pop(name)]

    def change_inner(self, netns: str, interface: str, **changes: object) -> None:
        """Let somebody change a Pod's interface behind our back."""
        self.inner[netns, interface] = dataclasses.replace(self.inner[netns, interface], **changes)  # type: ignore[arg-type]

    def is_clean(self) -> bool:
        """Whether nothing that wiring made is left, beside the disk."""
        return not (self.bridge_ports or self.pairs or self.inner or self.shielded or self.flows)


class Agent:
    """One run of the agent's CNI side on a FakeNode."""

    def __init__(
        self,
        node: FakeNode,
        cidrs: Sequence[IPNetwork] = (CIDR4,),
        *,
        flows_timeout_s: float = 5,
        new_port: Callable[[], PortKind] = PortKind,
    ) -> None:
        self.node = node
        self.reason: str | None = None
        self.pool = AddressPool(node, cidrs=cidrs)
        self.wiring = PodWiring(
            wires=PodWires(switch=node, links=node, shield=node, bridge=BRIDGE, new_port=new_port),
            pool=self.pool,
            mtu=lambda: MTU,
            wired=node.wired,
            unwired=node.unwired,
            ready=lambda: self.reason,
            flows_timeout_s=flows_timeout_s,
        )

    async def add(
        self, container: str, *, netns: str | None = None, pod: str = "web-1", interface: str = "eth0"
    ) -> Result:
        """ADD a container of a Pod in namespace `default`."""
        path = netns or f"/run/netns/{container}"
        self.node.namespaces.add(path)
        return await self.wiring.add(
            key=AttachmentKey(container, interface), netns=path, pod=NamespacedName("default", pod), dns=Dns()
        )

    async def delete(self, container: str, interface: str = "eth0") -> None:
        """DEL it."""
        await self.wiring.delete(key=AttachmentKey(container, interface))


async def start_agent(
    node: FakeNode,
    cidrs: Sequence[IPNetwork] = (CIDR4,),
    *,
    flows_timeout_s: float = 5,
    new_port: Callable[[], PortKind] = PortKind,
) -> Agent:
    """Start an agent as main does: restore first."""
    agent = Agent(node, cidrs, flows_timeout_s=flows_timeout_s, new_port=new_port)
    await agent.wiring.restore()
    return agent
