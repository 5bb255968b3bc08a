"""What a network asks of the Node's own stack."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

from antrea_proxy.host.desired import HostState, desired_host
from antrea_proxy.host.nftables import Table
from antrea_proxy.host.services import HostServices
from antrea_proxy.host.values import Neighbour, Route
from antrea_proxy.network.interfaces import OfPort, PodInterface
from antrea_proxy.network.values import Gateway, Network, Peer, Tunnel, Via
from antrea_proxy.settings import TunnelType

TUNNELLED = Peer(
    name="node-2",
    via=Via.TUNNEL,
    pod_cidrs=(ip_network("10.10.2.0/24"), ip_network("fd00:10:2::/64")),
    node_addresses=(ip_address("172.18.0.2"),),
    tunnel_address=ip_address("172.18.0.2"),
    next_hops=(),
)
ROUTED = replace(TUNNELLED, via=Via.ROUTE, tunnel_address=None, next_hops=(ip_address("172.18.0.2"),))
POD = PodInterface(
    namespace="default",
    name="a",
    container_id="c",
    netns="/var/run/netns/a",
    interface="eth0",
    host_interface="a-1234",
    ofport=OfPort(16),
    mac="0a:58:0a:0a:01:0b",
    ipv4=None,
    ipv6=None,
)
NETWORK = Network(
    node_name="node-1",
    pod_cidrs=(ip_network("10.10.1.0/24"), ip_network("fd00:10:1::/64")),
    gateway=Gateway(
        name="antrea-gw0",
        mac="0a:58:0a:0a:01:01",
        addresses=(ip_interface("10.10.1.1/24"), ip_interface("fd00:10:1::1/64")),
    ),
    mtu=1450,
    node_addresses=(ip_address("172.18.0.1"),),
    transport_addresses=(ip_address("172.18.0.1"),),
    tunnel=Tunnel(type=TunnelType.GENEVE, port=0),
    peers=(TUNNELLED,),
    masquerade=True,
    cluster_pod_cidrs=tuple(map(ip_network, ("10.10.1.0/24", "10.10.2.0/24", "fd00:10:1::/64", "fd00:10:2::/64"))),
    pods=(POD,),
    problems=(),
)
IPV4_ONLY = replace(
    NETWORK,
    pod_cidrs=NETWORK.pod_cidrs[:1],
    gateway=replace(NETWORK.gateway, addresses=NETWORK.gateway.addresses[:1]),
)


def host(network: Network = NETWORK) -> HostState:
    """Return what a Node with the userspace datapath must hold."""
    return desired_host(network, HostServices(), userspace_datapath=True)


def sysctls(network: Network) -> dict[str, str]:
    """Return the settings by key."""
    return {item.key: item.value for item in host(network).kernel.sysctls}


def rules(table: Table, chain: str) -> tuple[str, ...]:
    """Return the rules of a chain."""
    return next(item.rules for item in table.chains if item.name == chain)


def test_a_peer_beyond_the_tunnel_is_routed_through_the_gateway_to_the_switch() -> None:
    """Its gateway is a permanent neighbour at the address that the switch takes for tunnelled frames."""
    kernel = host().kernel
    assert kernel.routes == {
        Route(destination=ip_network("10.10.2.0/24"), via=ip_address("10.10.2.1"), interface="antrea-gw0"),
        Route(destination=ip_network("fd00:10:2::/64"), via=ip_address("fd00:10:2::1"), interface="antrea-gw0"),
    }
    assert kernel.neighbours == {
        Neighbour(interface="antrea-gw0", address=ip_address(text), mac="aa:bb:cc:dd:ee:ff")
        for text in ("10.10.2.1", "fd00:10:2::1")
    }


def test_a_family_that_this_node_has_no_pods_of_is_not_routed() -> None:
    """Its gateway could not answer for it."""
    assert {route.destination.version for route in host(IPV4_ONLY).kernel.routes} == {4}


def test_without_encapsulation_a_peer_is_routed_via_its_address_by_the_kernels_choice_of_interface() -> None:
    """A family without a next hop is left to the network's routers."""
    kernel = host(replace(NETWORK, peers=(ROUTED,), tunnel=None)).kernel
    assert kernel.routes == {
        Route(destination=ip_network("10.10.2.0/24"), via=ip_address("172.18.0.2"), interface=None)
    }
    assert kernel.neighbours == frozenset()


def test_a_peer_beyond_the_tunnel_that_is_also_on_the_link_is_reached_by_the_tunnel_alone() -> None:
    """Two routes to one destination would be one too many."""
    near = replace(TUNNELLED, next_hops=(ip_address("172.18.0.2"),))
    assert host(replace(NETWORK, peers=(near,))) == host()


def test_gateway_and_refusal_port_are_up_with_the_pods_mtu_and_one_mac() -> None:
    """Pods address their frames to the gateway's MAC, also those that are refused."""
    links = host().kernel.links
    assert {link.name for link in links} == {"antrea-gw0", "antrea-refuse0"}
    assert {(link.mac, link.mtu, link.up) for link in links} == {("0a:58:0a:0a:01:01", 1450, True)}


def test_the_gateways_addresses_are_the_nodes_first_of_each_family() -> None:
    """On the gateway alone."""
    assert {(item.interface, str(item.address)) for item in host().kernel.addresses} == {
        ("antrea-gw0", "10.10.1.1/24"),
        ("antrea-gw0", "fd00:10:1::1/64"),
    }


def test_packets_are_forwarded_and_the_gateway_takes_any_source_whatever_the_node_says() -> None:
    """2 wins over a strict 1 of `all`, which 0 would not; IPv6 is left alone where there is none."""
    assert sysctls(IPV4_ONLY) == {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/antrea-gw0/rp_filter": "2",
        "net/ipv4/conf/antrea-gw0/route_localnet": "0",
    }
    assert sysctls(NETWORK)["net/ipv6/conf/all/forwarding"] == "1"
    assert sysctls(NETWORK)["net/ipv6/conf/antrea-refuse0/disable_ipv6"] == "0"


def test_the_gateway_asks_for_ipv6_neighbours_from_its_first_moment() -> None:
    """Duplicate address detection would keep it from that for a second or two, and what it forwards would be lost."""
    for name in ("antrea-gw0", "antrea-refuse0"):
        assert sysctls(NETWORK)[f"net/ipv6/conf/{name}/accept_dad"] == "0"


def test_egress_is_masqueraded_for_this_nodes_pods_except_towards_pods() -> None:
    """Both families, by the set of all podCIDRs."""
    table = host().table
    assert rules(table, "postrouting") == (
        'oifname != "antrea-gw0" ip saddr 10.10.1.0/24 ip daddr != @cluster_pod_cidrs_v4 masquerade',
        'oifname != "antrea-gw0" ip6 saddr fd00:10:1::/64 ip6 daddr != @cluster_pod_cidrs_v6 masquerade',
    )
    assert [item.elements for item in table.sets] == [
        {"10.10.1.0/24", "10.10.2.0/24"},
        {"fd00:10:1::/64", "fd00:10:2::/64"},
    ]


def test_nothing_is_masqueraded_where_the_network_does_not_ask_for_it() -> None:
    """The setting noSNAT."""
    assert rules(host(replace(NETWORK, masquerade=False)).table, "postrouting") == ()


def test_only_what_the_userspace_datapath_reads_is_hidden_from_the_kernel() -> None:
    """The kernel's own datapath takes frames before the stack sees them."""
    assert host().shielded_ports == {"a-1234"}
    assert desired_host(NETWORK, HostServices(), userspace_datapath=False).shielded_ports == frozenset()
