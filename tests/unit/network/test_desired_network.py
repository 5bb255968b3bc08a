"""What a Node's network follows from, claim by claim."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.kubernetes.objects import Annotations, Node, NodeAddress, NodeSpec, NodeStatus, ObjectMeta
from antrea_proxy.network.desired import desired_network
from antrea_proxy.network.values import Network, NetworkProblems, Peer, Uplink, Via
from antrea_proxy.settings import Settings, TrafficEncapMode, TunnelType
from antrea_proxy.settings.values import AntreaProxySettings

ETH0 = Uplink(name="eth0", mtu=1500, addresses=(ip_interface("172.18.0.1/24"), ip_interface("fd00:18::1/64")))
NO_ENCAP = Settings(traffic_encap_mode=TrafficEncapMode.NO_ENCAP)
HYBRID = Settings(traffic_encap_mode=TrafficEncapMode.HYBRID)

DUMMY = Uplink(name="dummy0", mtu=1500, addresses=(ip_interface("203.0.113.9/32"),))


def node(
    number: int,
    *,
    cidrs: tuple[str, ...] | None = None,
    addresses: tuple[str, ...] | None = None,
    annotation: str | None = None,
    created: str | None = None,
) -> Node:
    """Return node-NUMBER, with the podCIDR 10.10.NUMBER.0/24 and the address 172.18.0.NUMBER unless told otherwise."""
    given_addresses = (f"172.18.0.{number}",) if addresses is None else addresses
    return Node(
        metadata=ObjectMeta(
            name=f"node-{number}",
            creation_timestamp=f"2024-01-01T00:00:{number:02}Z" if created is None else created,
            annotations=Annotations(transport_addresses=annotation or ""),
        ),
        spec=NodeSpec(pod_cidrs=(f"10.10.{number}.0/24",) if cidrs is None else cidrs),
        status=NodeStatus(addresses=tuple(NodeAddress(type="InternalIP", address=text) for text in given_addresses)),
    )


def network(*nodes: Node, settings: Settings | None = None, uplinks: tuple[Uplink, ...] = (ETH0,)) -> Network:
    """Return node-1's network, which there must be."""
    found = desired_network(nodes, "node-1", settings or Settings(), uplinks, ())
    assert isinstance(found, Network), str(found)
    return found


def refused(*nodes: Node, settings: Settings | None = None, uplinks: tuple[Uplink, ...] = (ETH0,)) -> str:
    """Return why node-1 can have no network."""
    found = desired_network(nodes, "node-1", settings or Settings(), uplinks, ())
    assert isinstance(found, NetworkProblems)
    return str(found)


def peer(found: Network, number: int) -> Peer:
    """Return one peer."""
    return next(peer for peer in found.peers if peer.name == f"node-{number}")


def test_the_gateway_has_the_first_address_of_each_pod_cidr_and_a_mac_made_of_it() -> None:
    """Whatever the order of the CIDRs, IPv4 comes first."""
    gateway = network(node(1, cidrs=("fd00:10:1::/64", "10.10.1.0/24"))).gateway
    assert gateway.name == "antrea-gw0"
    assert gateway.addresses == (ip_interface("10.10.1.1/24"), ip_interface("fd00:10:1::1/64"))
    assert gateway.mac == "0a:58:0a:0a:01:01"
    assert (gateway.ipv4, gateway.ipv6) == (ip_address("10.10.1.1"), ip_address("fd00:10:1::1"))


def test_without_ipv4_the_gateways_mac_ends_like_its_ipv6_address() -> None:
    """The rule is 0a:58 and the last four bytes."""
    gateway = network(node(1, cidrs=("fd00:10:1::aa00:0/104",), addresses=("fd00:18::1",))).gateway
    assert gateway.mac == "0a:58:aa:00:00:01"
    assert gateway.ipv4 is None


@pytest.mark.parametrize(
    ("settings", "address", "mtu"),
    [
        (Settings(), "172.18.0.1", 1450),
        (Settings(), "fd00:18::1", 1430),
        (Settings(tunnel_type=TunnelType.VXLAN), "172.18.0.1", 1450),
        (Settings(tunnel_type=TunnelType.GRE), "172.18.0.1", 1458),
        (Settings(tunnel_type=TunnelType.VXLAN), "fd00:18::1", 1430),
        (NO_ENCAP, "172.18.0.1", 1500),
        (Settings(default_mtu=1400), "172.18.0.1", 1400),
        (replace(NO_ENCAP, default_mtu=9000), "172.18.0.1", 9000),
    ],
)
def test_pods_get_the_uplinks_mtu_less_the_tunnels_headers_unless_default_mtu_says_otherwise(
    settings: Settings, address: str, mtu: int
) -> None:
    """Geneve and VXLAN: 14 + 8 + 8 and the outer IP header, 20 or 40."""
    assert network(node(1, addresses=(address,)), settings=settings).mtu == mtu


def test_the_mtu_is_that_of_the_interface_which_carries_the_nodes_traffic() -> None:
    """A faster storage network beside it does not count."""
    storage = Uplink(name="eth1", mtu=9000, addresses=(ip_interface("192.168.0.1/24"),))
    assert network(node(1), uplinks=(storage, ETH0)).mtu == 1450


def test_without_an_interface_for_the_nodes_address_the_mtu_cannot_be_known_and_the_remedy_is_named() -> None:
    """Guessing 1,500 would lose packets on a tunnel in a tunnel."""
    assert "defaultMTU" in refused(node(1, addresses=("172.18.0.77",)))


def test_peers_are_reached_by_tunnel_at_their_internal_address() -> None:
    """Encapsulation is the default."""
    found = peer(network(node(1), node(2)), 2)
    assert (found.via, found.tunnel_address, found.next_hops) == (Via.TUNNEL, ip_address("172.18.0.2"), ())
    assert found.pod_cidrs == (ip_network("10.10.2.0/24"),)


def test_a_peer_that_publishes_transport_addresses_is_reached_at_those() -> None:
    """Antrea's annotation; the Node's own address stays what it is."""
    found = network(node(1), node(2, annotation="fd00:19::2, 172.19.0.2"))
    assert peer(found, 2).tunnel_address == ip_address("172.19.0.2")
    assert peer(found, 2).node_addresses == (ip_address("172.18.0.2"),)


def test_a_dual_stack_peer_is_reached_over_ipv4_which_the_mtu_counts_on() -> None:
    """One family of tunnel ends is enough for both families of Pods."""
    found = network(node(1, addresses=("fd00:18::1", "172.18.0.1")), node(2, addresses=("fd00:18::2", "172.18.0.2")))
    assert (peer(found, 2).tunnel_address, found.mtu) == (ip_address("172.18.0.2"), 1450)


def test_the_transport_interface_decides_where_this_nodes_tunnels_end() -> None:
    """The switch's own bridge may have another MTU than the Node's first interface."""
    physical = Uplink(name="br-phy", mtu=1400, addresses=(ip_interface("172.19.0.1/24"),))
    found = network(node(1), settings=Settings(transport_interface="br-phy"), uplinks=(ETH0, physical))
    assert (found.transport_addresses, found.mtu) == ((ip_address("172.19.0.1"),), 1350)


def test_transport_interface_cidrs_choose_the_address_within_them() -> None:
    """Antrea's second way to say it."""
    physical = Uplink(name="br-phy", mtu=1500, addresses=(ip_interface("172.19.0.1/24"),))
    settings = Settings(transport_interface_cidrs=(ip_network("172.19.0.0/16"),))
    assert network(node(1), settings=settings, uplinks=(ETH0, physical)).transport_addresses == (
        ip_address("172.19.0.1"),
    )


def test_a_transport_interface_without_an_address_is_refused_by_its_key() -> None:
    """The message names key and value."""
    reason = refused(node(1), settings=Settings(transport_interface="eth7"))
    assert "transportInterface" in reason
    assert "eth7" in reason


def test_without_encapsulation_a_neighbour_on_the_link_is_the_next_hop() -> None:
    """The route leads straight to it."""
    found = peer(network(node(1), node(2), settings=NO_ENCAP), 2)
    assert (found.via, found.tunnel_address, found.next_hops) == (Via.ROUTE, None, (ip_address("172.18.0.2"),))


def test_without_encapsulation_a_node_of_another_subnet_is_left_to_the_routers() -> None:
    """A route via a host that is not on the link would be refused by the kernel."""
    assert peer(network(node(1), node(2, addresses=("172.30.0.2",)), settings=NO_ENCAP), 2).next_hops == ()


@pytest.mark.parametrize(
    ("settings", "masquerade"),
    [
        (Settings(), True),
        (Settings(no_snat=True), True),
        (NO_ENCAP, True),
        (replace(NO_ENCAP, no_snat=True), False),
    ],
)
def test_pods_egress_is_masqueraded_unless_no_snat_is_set_without_encapsulation(
    settings: Settings, *, masquerade: bool
) -> None:
    """The setting noSNAT means something without encapsulation only."""
    assert network(node(1), settings=settings).masquerade is masquerade


@pytest.mark.parametrize(
    ("address", "via", "tunnel_address", "next_hops"),
    [
        ("172.18.0.2", Via.ROUTE, None, ("172.18.0.2",)),
        ("172.18.1.2", Via.TUNNEL, "172.18.1.2", ()),
        ("192.168.0.2", Via.TUNNEL, "192.168.0.2", ()),
    ],
    ids=["same subnet", "another subnet", "a subnet of this Node that does not carry Pods"],
)
def test_in_hybrid_mode_a_peer_of_the_same_subnet_is_reached_by_route_and_any_other_by_tunnel(
    address: str, via: Via, tunnel_address: str | None, next_hops: tuple[str, ...]
) -> None:
    """Antrea's own rule: the subnet is that of the transport address."""
    storage = Uplink(name="eth1", mtu=9000, addresses=(ip_interface("192.168.0.1/24"),))
    found = peer(network(node(1), node(2, addresses=(address,)), settings=HYBRID, uplinks=(ETH0, storage)), 2)
    ends = None if tunnel_address is None else ip_address(tunnel_address)
    assert (found.via, found.tunnel_address) == (via, ends)
    assert found.next_hops == tuple(map(ip_address, next_hops))


def test_in_hybrid_mode_a_peer_without_a_route_for_one_family_of_its_pods_is_reached_by_tunnel() -> None:
    """One way for all of a peer's Pods: its IPv6 Pods cannot be reached by an IPv4 link."""
    found = network(node(1), node(2, cidrs=("10.10.2.0/24", "fd00:10:2::/64")), settings=HYBRID)
    assert peer(found, 2).via is Via.TUNNEL


def test_in_hybrid_mode_pods_leave_room_for_the_tunnels_headers_and_are_masqueraded() -> None:
    """A Pod has one MTU for all of its peers."""
    found = network(node(1), node(2), settings=replace(HYBRID, no_snat=True))
    assert (found.mtu, found.masquerade) == (1450, True)
    assert found.tunnel is not None


@pytest.mark.parametrize("cidr", ["10.10.2.7/24", "ten", "10.10.2.0/33", "", "10.10.2.0/31", "fd00::/127"])
def test_a_malformed_pod_cidr_is_named_with_its_node_and_leaves_other_nodes_alone(cidr: str) -> None:
    """Host bits, words, sizes without room for a Pod."""
    found = network(node(1), node(2, cidrs=(cidr,)), node(3))
    assert [peer.name for peer in found.peers] == ["node-3"]
    assert [(problem.node, problem.field, problem.value) for problem in found.problems] == [
        ("node-2", "spec.podCIDRs", cidr)
    ]


@pytest.mark.parametrize("address", ["172.18.0.256", "node-2", "0.0.0.0", "127.0.0.1", "224.0.0.1", "::"])
def test_a_malformed_address_is_named_with_its_node_and_leaves_other_nodes_alone(address: str) -> None:
    """Also addresses that no other Node could use."""
    found = network(node(1), node(2, addresses=(address,)), node(3))
    assert [peer.name for peer in found.peers] == ["node-3"]
    assert any(problem.node == "node-2" and problem.value == address for problem in found.problems)


def test_a_malformed_transport_address_is_named_and_the_internal_address_used() -> None:
    """An InternalIP is better than nothing."""
    found = network(node(1), node(2, annotation="172.19.0.300"))
    assert peer(found, 2).tunnel_address == ip_address("172.18.0.2")
    assert [problem.value for problem in found.problems] == ["172.19.0.300"]


def test_of_two_nodes_with_overlapping_pod_cidrs_the_older_keeps_it_and_the_other_is_named() -> None:
    """Age goes by creationTimestamp; a CIDR that nests in another overlaps."""
    older, younger = node(3, cidrs=("10.10.9.0/25",)), node(2, cidrs=("10.10.9.0/24",), created="2025-01-01T00:00:00Z")
    found = network(node(1), younger, older)
    assert [peer.name for peer in found.peers] == ["node-3"]
    assert "node-3" in str(found.problems[0])
    assert found.problems[0].node == "node-2"
    assert ip_network("10.10.9.0/24") not in found.cluster_pod_cidrs


def test_a_node_without_a_creation_time_is_the_youngest() -> None:
    """So it cannot take anything from a Node that has one."""
    found = network(node(1), node(2, cidrs=("10.10.9.0/24",), created=""), node(3, cidrs=("10.10.9.0/24",)))
    assert [peer.name for peer in found.peers] == ["node-3"]


def test_the_second_cidr_of_a_family_is_named_and_not_used() -> None:
    """The API allows one of each family."""
    found = network(node(1), node(2, cidrs=("10.10.2.0/24", "10.10.20.0/24")))
    assert peer(found, 2).pod_cidrs == (ip_network("10.10.2.0/24"),)
    assert "10.10.20.0/24" in str(found.problems[0])


def test_this_node_without_a_pod_cidr_gets_no_network_and_the_remedy_is_named() -> None:
    """Until it has one there is nothing to wire Pods with."""
    assert "--allocate-node-cidrs" in refused(node(1, cidrs=()))


def test_this_node_losing_its_pod_cidr_to_an_older_one_is_told_which() -> None:
    """Otherwise two Nodes would answer for the same Pods."""
    assert "older Node node-2" in refused(node(1, cidrs=("10.10.2.0/24",), created="2025-01-01T00:00:00Z"), node(2))


def test_a_name_that_no_node_has_is_refused() -> None:
    """The usual mistake is in the command line."""
    assert "--node-name" in refused(node(2))


def test_a_peer_without_a_pod_cidr_yet_is_no_peer_and_no_problem() -> None:
    """It has just joined; the next event brings the rest."""
    found = network(node(1), node(2, cidrs=()))
    assert (found.peers, found.problems) == ((), ())


def test_an_older_api_servers_single_pod_cidr_counts() -> None:
    """spec.podCIDR alone, as before dual stack."""
    single = Node(
        metadata=ObjectMeta(name="node-2"),
        spec=NodeSpec(pod_cidr="10.10.2.0/24"),
        status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address="172.18.0.2"),)),
    )
    assert peer(network(node(1), single), 2).pod_cidrs == (ip_network("10.10.2.0/24"),)


CIDRS = st.builds(
    lambda third, prefix: str(ip_network(f"10.10.{third}.0/{prefix}", strict=False)),
    st.integers(0, 15),
    st.integers(20, 26),
)


@given(st.lists(st.tuples(CIDRS | st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=12))
def test_whatever_nodes_claim_the_cidrs_that_are_used_do_not_overlap_and_no_node_is_lost_without_a_word(
    claims: list[tuple[str, str]],
) -> None:
    """Claims that are words, that nest, that are equal."""
    others = [
        node(2 + i, cidrs=(cidr,), addresses=(address, f"172.18.0.{2 + i}")) for i, (cidr, address) in enumerate(claims)
    ]
    found = network(node(1, cidrs=("10.99.0.0/24",), created="2000-01-01T00:00:00Z"), *others)
    used = found.cluster_pod_cidrs
    assert not any(
        one.overlaps(other) for i, one in enumerate(used) for other in used[:i] if one.version == other.version
    )
    named = {problem.node for problem in found.problems}
    assert {item.metadata.name for item in others} <= {peer.name for peer in found.peers} | named


@given(st.permutations([node(n) for n in range(1, 6)]))
def test_the_order_in_which_nodes_are_listed_does_not_matter(nodes: list[Node]) -> None:
    """Lists come in any order after a relist."""
    assert network(*nodes) == network(*sorted(nodes, key=lambda item: item.metadata.name))


def proxying_all(*node_port_addresses: str) -> Settings:
    """Give settings with proxyAll, and nodePortAddresses."""
    cidrs = tuple(ip_network(cidr) for cidr in node_port_addresses)
    return Settings(antrea_proxy=AntreaProxySettings(proxy_all=True, node_port_addresses=cidrs))


def test_without_proxy_all_the_nodes_own_stack_takes_no_part_in_services() -> None:
    assert network(node(1)).service_entry is None


def test_node_ports_are_at_every_address_of_the_node_and_at_localhost() -> None:
    entry = network(node(1), settings=proxying_all(), uplinks=(ETH0, DUMMY)).service_entry
    assert entry is not None
    assert [str(address) for address in entry.node_port_addresses] == ["172.18.0.1", "203.0.113.9", "fd00:18::1"]
    assert entry.localhost


def test_node_port_addresses_choose_among_the_nodes_addresses_and_localhost() -> None:
    entry = network(node(1), settings=proxying_all("203.0.113.0/24"), uplinks=(ETH0, DUMMY)).service_entry
    assert entry is not None
    assert [str(address) for address in entry.node_port_addresses] == ["203.0.113.9"]
    assert [str(address) for address in entry.local_addresses] == ["172.18.0.1", "203.0.113.9", "fd00:18::1"]
    assert not entry.localhost


def test_node_port_addresses_that_match_nothing_are_named_with_what_the_node_has() -> None:
    (problem,) = network(node(1), settings=proxying_all("198.51.100.0/24")).problems
    assert "antreaProxy.nodePortAddresses: '198.51.100.0/24'" in str(problem)
    assert "172.18.0.1" in str(problem)


def test_addresses_that_ipvs_bound_for_services_are_not_the_nodes_and_stay_with_kube_proxy() -> None:
    found = network(node(1), settings=proxying_all(), uplinks=(ETH0, replace(DUMMY, name="kube-ipvs0")))
    assert found.service_entry is not None
    assert [str(address) for address in found.service_entry.local_addresses] == ["172.18.0.1", "fd00:18::1"]
    assert "stay with it" in str(found.problems[0])
