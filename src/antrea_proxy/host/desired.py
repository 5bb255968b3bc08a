"""From the network to what the Node's own network stack must hold, under Linux. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from antrea_proxy.host.nftables import Chain, Set, Table, quoted
from antrea_proxy.host.routing import (
    HOPS,
    NODE_PORT_ADDRESSES,
    families,
    led_to_switch,
    neighbours,
    pod_routes,
    service_routes,
)
from antrea_proxy.host.services import HostServices
from antrea_proxy.host.values import (
    RETURN_MARK,
    RETURN_TABLE,
    Address,
    KernelState,
    Link,
    Route,
    Rule,
    Sysctl,
)
from antrea_proxy.network.stand_ins import stand_ins
from antrea_proxy.network.values import (
    LOCALHOST,
    REFUSAL_PORT,
    IPNetwork,
    Network,
    ServiceEntry,
)

TABLE = ("inet", "antrea-proxy")
"""Our nftables table: masquerade, refusals and NodePorts."""

PORTS_TABLE = ("netdev", "antrea-proxy-ports")
"""Our second one: it hides from the kernel what the userspace datapath reads of Pods' interfaces."""

_EVERYWHERE: dict[int, IPNetwork] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}
_KEYWORDS = {4: "ip", 6: "ip6"}
_BEFORE_DSTNAT = -101
"""Before kube-proxy, whose chains have the priority dstnat, -100; nft before 1.0.8 knows no such name for output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """All that is ours on the Node. `shielded_ports` are those whose frames the kernel itself must not take in."""

    kernel: KernelState
    table: Table
    shielded_ports: frozenset[str]


def desired_host(
    network: Network, services: HostServices, *, userspace_datapath: bool, beside_kube_proxy: bool = False
) -> HostState:
    """Return what the Node's stack must hold to take its part in `network` and, with a service_entry, in `services`.

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
            neighbours=frozenset(neighbours(network)),
            routes=frozenset((*pod_routes(network), *service_routes(network, services), *_own_routes(network))),
            rules=frozenset(Rule(version=version) for version in families(network) if network.service_entry),
            sysctls=frozenset(_sysctls(network)),
        ),
        table=_table(network, services, beside_kube_proxy=beside_kube_proxy),
        shielded_ports=frozenset(pod.host_interface for pod in network.pods) if userspace_datapath else frozenset(),
    )


def _links(network: Network) -> Iterator[Link]:
    """Gateway and refusal port share one MAC: frames of Pods are addressed to it already, and the kernel takes in
    no frame that is addressed to another.
    """  # noqa: D205 - the sentence does not fit a line
    for name in (network.gateway.name, REFUSAL_PORT):
        yield Link(name=name, mac=network.gateway.mac, mtu=network.mtu, up=True)


def _own_routes(network: Network) -> Iterator[Route]:
    """What nftables and the routing rule need: to the stand-ins of the Node's addresses, and back to the switch."""
    entry = network.service_entry
    if entry is None:
        return
    gateway = network.gateway.name
    for address in stand_ins(entry.local_addresses).values():
        if address.version in families(network):
            yield Route(destination=ip_network(address), via=HOPS[address.version], interface=gateway)
    for version in families(network):
        yield Route(destination=_EVERYWHERE[version], via=HOPS[version], interface=gateway, table=RETURN_TABLE)


def _sysctls(network: Network) -> Iterator[Sysctl]:
    """Kernel settings (ip-sysctl.rst).

    rp_filter: the kernel takes the larger of `all` and the interface's own, so 0 would leave a strict `all` (1) in
    force; 2, loose, wins over it. The Node's stack gets packets through the gateway whose sources it reaches by
    another way. accept_dad: while an interface's link-local address is still being probed (1 to 2 s), the kernel cannot
    ask for a neighbour on behalf of others, and a refusal or a forwarded packet would be lost. route_localnet: a client
    at 127.0.0.1 may leave by the gateway; what comes in there for 127.0.0.0/8 is dropped (nft).
    """
    gateway = network.gateway.name
    if network.pod_cidr_v4 is not None:
        yield Sysctl(key="net/ipv4/ip_forward", value="1")
        yield Sysctl(key=f"net/ipv4/conf/{gateway}/rp_filter", value="2")
        localhost = network.service_entry is not None and network.service_entry.localhost
        yield Sysctl(key=f"net/ipv4/conf/{gateway}/route_localnet", value="1" if localhost else "0")
    if network.pod_cidr_v6 is not None:
        yield Sysctl(key="net/ipv6/conf/all/forwarding", value="1")
        for name in (gateway, REFUSAL_PORT):
            yield Sysctl(key=f"net/ipv6/conf/{name}/disable_ipv6", value="0")
            yield Sysctl(key=f"net/ipv6/conf/{name}/accept_ra", value="0")
            yield Sysctl(key=f"net/ipv6/conf/{name}/accept_dad", value="0")


def _table(network: Network, services: HostServices, *, beside_kube_proxy: bool) -> Table:
    """The cost of a packet depends on no number of Services: a set is looked up in one step."""
    family, name = TABLE
    entry = network.service_entry
    chains = [
        Chain(
            name="postrouting",
            hook="type nat hook postrouting priority srcnat; policy accept;",
            rules=(*_masquerade(network), *(() if entry is None else _sources(network, entry))),
        ),
        Chain(
            name="prerouting",
            hook="type filter hook prerouting priority raw; policy accept;",
            rules=(
                f"iifname {quoted(REFUSAL_PORT)} meta l4proto tcp reject with tcp reset",
                f"iifname {quoted(REFUSAL_PORT)} reject with icmpx type port-unreachable",
                f"iifname {quoted(network.gateway.name)} ip daddr 127.0.0.0/8 drop",
                *(() if entry is None else _untracked(network)),
            ),
        ),
    ]
    sets = list(_sets(network))
    if entry is not None:
        sets += _entry_sets(network, entry, services)
        chains += [*_entry_chains(network, entry), *_return_chains(network)]
    if entry is not None and beside_kube_proxy:
        sets += _kept_from_others(network, entry, services)
        chains += _untracked_chains(network)
    return Table(family=family, name=name, sets=tuple(sets), chains=tuple(chains))


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


def _sources(network: Network, entry: ServiceEntry) -> Iterator[str]:
    """A client at localhost gets the gateway's address; what the switch sends to endpoints by way of the Node, the
    Node's.
    """  # noqa: D205 - the sentence does not fit a line
    gateway = quoted(network.gateway.name)
    for version in families(network):
        ip = _KEYWORDS[version]
        yield f"oifname != {gateway} {ip} saddr {HOPS[version]} masquerade"
    if entry.localhost and network.gateway.ipv4 is not None:
        yield f"oifname {gateway} ip saddr 127.0.0.0/8 snat ip to {network.gateway.ipv4}"


def _entry_sets(network: Network, entry: ServiceEntry, services: HostServices) -> Iterator[Set]:
    for version in families(network):
        addresses = {str(item) for item in entry.node_port_addresses if item.version == version}
        if version == 4 and entry.localhost:  # noqa: PLR2004 - IPv4
            addresses.add(str(LOCALHOST))
        ports = {
            f"{item.protocol.name.lower()} . {item.port}" for item in services.node_ports if item.family == version
        }
        yield Set(
            name=f"node_port_addresses_v{version}",
            type=f"ipv{version}_addr",
            interval=False,
            elements=frozenset(addresses),
        )
        own = {
            f"{item.address} . {item.protocol.name.lower()} . {item.port}"
            for item in services.externals
            if item.address.version == version and item.address in entry.local_addresses
        }
        yield Set(
            name=f"own_services_v{version}",
            type=f"ipv{version}_addr . inet_proto . inet_service",
            interval=False,
            elements=frozenset(own),
        )
        yield Set(
            name=f"node_ports_v{version}",
            type="inet_proto . inet_service",
            interval=False,
            elements=frozenset(ports),
        )
        if network.direct_return:
            direct = {
                f"{item.address} . {item.protocol.name.lower()} . {item.port}"
                for item in services.externals
                if item.direct and item.address.version == version and item.address not in entry.local_addresses
            }
            yield Set(
                name=f"direct_v{version}",
                type=f"ipv{version}_addr . inet_proto . inet_service",
                interval=False,
                elements=frozenset(direct),
            )


def _untracked(network: Network) -> Iterator[str]:
    """In DSR mode a Node sees one direction of a connection, which the kernel's tracker would call invalid."""
    for version in families(network) if network.direct_return else ():
        ip, name = _KEYWORDS[version], f"@direct_v{version}"
        yield f"{ip} daddr . meta l4proto . th dport {name} notrack"
        yield f"iifname {quoted(network.gateway.name)} {ip} saddr . meta l4proto . th sport {name} notrack"


def _entry_chains(network: Network, entry: ServiceEntry) -> Iterator[Chain]:
    for hook in ("prerouting", "output"):
        yield Chain(
            name=f"services_{hook}",
            hook=f"type nat hook {hook} priority {_BEFORE_DSTNAT}; policy accept;",
            rules=tuple(_to_switch(network, entry)),
        )
    # An endpoint on this Node's own network sees the Node, as one behind the gateway does: masquerading is for what
    # leaves alone.
    yield Chain(
        name="input",
        hook="type nat hook input priority 99; policy accept;",
        rules=tuple(
            f"{_KEYWORDS[version]} saddr {HOPS[version]} snat {_KEYWORDS[version]} to {_KEYWORDS[version]} daddr"
            for version in families(network)
        ),
    )


def _to_switch(network: Network, entry: ServiceEntry) -> Iterator[str]:
    """What asks at an address of the Node itself."""
    given = stand_ins(entry.local_addresses)
    for version in families(network):
        ip = _KEYWORDS[version]
        own = ", ".join(f"{address} : {other}" for address, other in given.items() if address.version == version)
        if own:
            yield (
                f"{ip} daddr . meta l4proto . th dport @own_services_v{version} dnat {ip} to {ip} daddr map {{ {own} }}"
            )
        yield (
            f"{ip} daddr @node_port_addresses_v{version} meta l4proto . th dport @node_ports_v{version} "
            f"dnat {ip} to {NODE_PORT_ADDRESSES[version]}"
        )


def _return_chains(network: Network) -> Iterator[Chain]:
    """What the switch sends to an endpoint on this Node's own network with the client's own address as its source is
    answered by way of the switch: alone it knows the address that the client asked at.
    """  # noqa: D205 - the sentence does not fit a line
    came = f"iifname {quoted(network.gateway.name)}"
    # With the kernel datapath a packet keeps its mark on its way through the switch; it has been where it was to go.
    arrived = f"{came} meta mark and {RETURN_MARK:#x} != 0 meta mark set meta mark and {RETURN_MARK ^ 0xFFFFFFFF:#x}"
    to_us = f"{came} ct state new fib daddr type local"
    marked = (
        f"{to_us} {_KEYWORDS[version]} saddr != @{_set_name(version)} ct mark set ct mark or {RETURN_MARK:#x}"
        for version in families(network)
    )
    yield Chain(
        name="returning",
        hook="type filter hook prerouting priority mangle; policy accept;",
        rules=(arrived, *marked),
    )
    yield Chain(
        name="returned",
        hook="type route hook output priority mangle; policy accept;",
        rules=(f"ct direction reply ct mark and {RETURN_MARK:#x} != 0 meta mark set meta mark or {RETURN_MARK:#x}",),
    )


def _kept_from_others(network: Network, entry: ServiceEntry, services: HostServices) -> Iterator[Set]:
    addresses = services.cluster_ips | led_to_switch(network, entry, services)
    for version in families(network):
        yield Set(
            name=f"service_addresses_v{version}",
            type=f"ipv{version}_addr",
            interval=False,
            elements=frozenset(str(item) for item in addresses if item.version == version),
        )


def _untracked_chains(network: Network) -> Iterator[Chain]:
    """What the Node's tracker does not see, kube-proxy translates no more, nor does it refuse what it did not translate
    (`ct state new` in its nftables mode). An earlier verdict would not keep it from either.
    """  # noqa: D205 - the sentence does not fit a line
    to, back = [], []
    for version in families(network):
        ip, addresses = _KEYWORDS[version], f"@service_addresses_v{version}"
        to.append(f"{ip} daddr {addresses} notrack")
        back.append(f"{ip} saddr {addresses} notrack")
    came = f"iifname {quoted(network.gateway.name)}"
    for hook, rules in (("prerouting", [*to, *(f"{came} {rule}" for rule in back)]), ("output", [*to, *back])):
        yield Chain(
            name=f"untracked_{hook}",
            hook=f"type filter hook {hook} priority raw; policy accept;",
            rules=tuple(rules),
        )
