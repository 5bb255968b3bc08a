"""From the network to what the Node's own network stack must hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

from antrea_proxy.host.nftables import Chain, Set, Table, quoted
from antrea_proxy.host.values import Address, KernelState, Link, Neighbour, Route, Sysctl
from antrea_proxy.network.addresses import gateway_interface, of_family
from antrea_proxy.network.values import GLOBAL_VIRTUAL_MAC, REFUSAL_PORT, IPNetwork, Network, Via

TABLE = ("inet", "antrea-proxy")
"""Our nftables table: masquerade and refusals."""

PORTS_TABLE = ("netdev", "antrea-proxy-ports")
"""Our second one: it hides from the kernel what the userspace datapath reads of Pods' interfaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """All that is ours on the Node. `shielded_ports` are those whose frames the kernel itself must not take in."""

    kernel: KernelState
    table: Table
    shielded_ports: frozenset[str]


def desired_host(network: Network, *, userspace_datapath: bool) -> HostState:
    """Return what the Node's stack must hold to take its part in `network`.

    With the userspace datapath, a veth port is read through AF_PACKET beside the kernel, which would answer ARP and
    take in Pods' packets a second time; its copy is dropped (nft, netdev table). The kernel datapath takes frames
    before the stack sees them.
    """
    return HostState(
        kernel=KernelState(
            links=frozenset(_links(network)),
            addresses=frozenset(
                Address(interface=network.gateway.name, address=address) for address in network.gateway.addresses
            ),
            neighbours=frozenset(_neighbours(network)),
            routes=frozenset(_routes(network)),
            sysctls=frozenset(_sysctls(network)),
        ),
        table=_table(network),
        shielded_ports=frozenset(pod.host_interface for pod in network.pods) if userspace_datapath else frozenset(),
    )


def _links(network: Network) -> Iterator[Link]:
    """Gateway and refusal port share one MAC: frames of Pods are addressed to it already, and the kernel takes in
    no frame that is addressed to another.
    """  # noqa: D205 - the sentence does not fit a line
    for name in (network.gateway.name, REFUSAL_PORT):
        yield Link(name=name, mac=network.gateway.mac, mtu=network.mtu, up=True)


def _neighbours(network: Network) -> Iterator[Neighbour]:
    """For each peer that is reached through the switch: its gateway, at the address that the switch takes for it."""
    for cidr in _tunnelled(network):
        yield Neighbour(interface=network.gateway.name, address=gateway_interface(cidr).ip, mac=GLOBAL_VIRTUAL_MAC)


def _routes(network: Network) -> Iterator[Route]:
    for cidr in _tunnelled(network):
        yield Route(destination=cidr, via=gateway_interface(cidr).ip, interface=network.gateway.name)
    for peer in network.peers:
        for cidr in peer.pod_cidrs if peer.via is Via.ROUTE else ():
            next_hop = of_family(cidr.version, peer.next_hops)
            if next_hop is not None:
                yield Route(destination=cidr, via=next_hop, interface=None)


def _tunnelled(network: Network) -> Iterator[IPNetwork]:
    """PodCIDRs of peers beyond the tunnel, of the families that this Node's gateway has."""
    families = {address.version for address in network.gateway.addresses}
    for peer in network.peers:
        if peer.via is Via.TUNNEL:
            yield from (cidr for cidr in peer.pod_cidrs if cidr.version in families)


def _sysctls(network: Network) -> Iterator[Sysctl]:
    """Kernel settings (ip-sysctl.rst).

    rp_filter: the kernel takes the larger of `all` and the interface's own, so 0 would leave a strict `all` (1) in
    force; 2, loose, wins over it. The Node's stack gets packets through the gateway whose sources it reaches by
    another way. accept_dad: while an interface's link-local address is still being probed (1 to 2 s), the kernel cannot
    ask for a neighbour on behalf of others, and a refusal or a forwarded packet would be lost.
    """
    gateway = network.gateway.name
    if network.pod_cidr_v4 is not None:
        yield Sysctl(key="net/ipv4/ip_forward", value="1")
        yield Sysctl(key=f"net/ipv4/conf/{gateway}/rp_filter", value="2")
    if network.pod_cidr_v6 is not None:
        yield Sysctl(key="net/ipv6/conf/all/forwarding", value="1")
        for name in (gateway, REFUSAL_PORT):
            yield Sysctl(key=f"net/ipv6/conf/{name}/disable_ipv6", value="0")
            yield Sysctl(key=f"net/ipv6/conf/{name}/accept_ra", value="0")
            yield Sysctl(key=f"net/ipv6/conf/{name}/accept_dad", value="0")


def _table(network: Network) -> Table:
    family, name = TABLE
    chains = (
        Chain(
            name="postrouting",
            hook="type nat hook postrouting priority srcnat; policy accept;",
            rules=tuple(_masquerade(network)),
        ),
        Chain(
            name="prerouting",
            hook="type filter hook prerouting priority raw; policy accept;",
            rules=(
                f"iifname {quoted(REFUSAL_PORT)} meta l4proto tcp reject with tcp reset",
                f"iifname {quoted(REFUSAL_PORT)} reject with icmpx type port-unreachable",
            ),
        ),
    )
    return Table(family=family, name=name, sets=tuple(_sets(network)), chains=chains)


def _sets(network: Network) -> Iterator[Set]:
    for version in (4, 6):
        cidrs = (str(cidr) for cidr in network.cluster_pod_cidrs if cidr.version == version)
        yield Set(name=_set_name(version), type=f"ipv{version}_addr", interval=True, elements=frozenset(cidrs))


def _set_name(version: int) -> str:
    return f"cluster_pod_cidrs_v{version}"


def _masquerade(network: Network) -> Iterator[str]:
    for cidr in network.pod_cidrs if network.masquerade else ():
        ip = "ip" if isinstance(cidr, IPv4Network) else "ip6"
        yield (
            f"oifname != {quoted(network.gateway.name)} {ip} saddr {cidr} "
            f"{ip} daddr != @{_set_name(cidr.version)} masquerade"
        )
