"""The Pod network as one Node must take part in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.settings import TunnelType

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

GLOBAL_VIRTUAL_MAC = "aa:bb:cc:dd:ee:ff"
"""The destination of frames that enter a Node through its gateway for elsewhere, or through a tunnel (Antrea's)."""

HAIRPIN_IPV4 = IPv4Address("169.254.0.253")
HAIRPIN_IPV6 = IPv6Address("fc01::aabb:ccdd:eeff")
"""The source that a Pod sees when it reaches itself through a Service, and the Node's next hop to Services: what the
switch sends back into the Node's stack, it sends from here (Antrea's)."""

NODE_PORT_IPV4 = IPv4Address("169.254.0.252")
NODE_PORT_IPV6 = IPv6Address("fc01::aabb:ccdd:eefe")
"""Where the Node's stack sends what comes to a NodePort, the port unchanged (Antrea's)."""

LOCALHOST = IPv4Address("127.0.0.1")
"""The address of localhost that NodePorts may have: IPv6 lets nothing to or from ::1 leave by an interface."""

IPVS_DEVICE = "kube-ipvs0"
"""The dummy device to which kube-proxy's ipvs mode binds the addresses of Services: they are not the Node's own."""

REFUSAL_PORT = "antrea-refuse0"
"""The port that leads packets into the Node's own stack to be refused there."""

TUNNEL_PORT = "antrea-tun0"
"""The port that leads to all peers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """An interface of the Node that is not ours, as the kernel tells of it. `mtu` is in bytes, without Ethernet."""

    name: str
    mtu: int
    addresses: tuple[IPInterface, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """The Node's own port of the bridge: Pods' default gateway, and the Node's way to them.

    It holds the first address of each podCIDR of the Node, IPv4 first, and the MAC made of it.
    """

    name: str
    mac: str
    addresses: tuple[IPInterface, ...]

    @property
    def ipv4(self) -> IPv4Address | None:
        """The gateway's IPv4 address."""
        return next((item.ip for item in self.addresses if isinstance(item, IPv4Interface)), None)

    @property
    def ipv6(self) -> IPv6Address | None:
        """The gateway's IPv6 address."""
        return next((item.ip for item in self.addresses if isinstance(item, IPv6Interface)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnel:
    """How encapsulated traffic travels; `port` is UDP's, 0 for the protocol's own."""

    type: TunnelType
    port: int


class Via(Enum):
    """How traffic reaches a peer's Pods."""

    TUNNEL = "tunnel"
    ROUTE = "route"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another Node. Each kind of address holds at most one of a family, IPv4 first.

    `tunnel_address` is where its tunnel ends; None where `via` is ROUTE. `next_hops` are its addresses on a link of
    this Node, for routes; a family that lacks one is left to the routers of the network.
    """

    name: str
    via: Via
    pod_cidrs: tuple[IPNetwork, ...]
    node_addresses: tuple[IPAddress, ...]
    tunnel_address: IPAddress | None
    next_hops: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEntry:
    """How traffic for Services enters the switch from the Node's own stack (proxyAll).

    `local_addresses` are all that the Node itself has, without those of our ports; `node_port_addresses` the ones of
    them at which NodePorts are served. `localhost` says whether they are at 127.0.0.1, too.
    """

    local_addresses: tuple[IPAddress, ...]
    node_port_addresses: tuple[IPAddress, ...]
    localhost: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProblem:
    """Something in a Node object that cannot be used; the Node or the part of it that is named is left out."""

    node: str
    field: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"Node {self.node}: {self.field}: {self.value!r}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkProblems:
    """Why there is no network for this Node yet."""

    problems: tuple[NetworkProblem, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """This Node's place in the Pod network.

    `mtu` is that of Pods and of the gateway, in bytes. `transport_addresses` are where this Node's own tunnel ends and
    peers' routes lead. `tunnel` is None without encapsulation. `masquerade` says whether Pods' traffic to the outside
    takes the Node's address. `cluster_pod_cidrs` are those of all Nodes, this one included. `problems` name what of
    other Nodes was left out. With `direct_return`, connections may be sent on to peers through the tunnel, which there
    is without encapsulation, too. `service_entry` is None where the Node's own stack takes no part in Services.
    """

    node_name: str
    pod_cidrs: tuple[IPNetwork, ...]
    gateway: Gateway
    mtu: int
    node_addresses: tuple[IPAddress, ...]
    transport_addresses: tuple[IPAddress, ...]
    tunnel: Tunnel | None
    peers: tuple[Peer, ...]
    masquerade: bool
    cluster_pod_cidrs: tuple[IPNetwork, ...]
    pods: tuple[PodInterface, ...]
    problems: tuple[NetworkProblem, ...]
    direct_return: bool = False
    service_entry: ServiceEntry | None = None

    @property
    def pod_cidr_v4(self) -> IPv4Network | None:
        """This Node's IPv4 podCIDR."""
        return next((cidr for cidr in self.pod_cidrs if isinstance(cidr, IPv4Network)), None)

    @property
    def pod_cidr_v6(self) -> IPv6Network | None:
        """This Node's IPv6 podCIDR."""
        return next((cidr for cidr in self.pod_cidrs if isinstance(cidr, IPv6Network)), None)
