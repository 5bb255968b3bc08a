"""What reaches Services through the Node's own stack (proxyAll): where it goes, under whose address, and back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest

from antrea_proxy.network.stand_ins import stand_ins
from antrea_proxy.network.values import HAIRPIN_IPV4, NODE_PORT_IPV4, ServiceEntry, Via
from antrea_proxy.openflow import fields
from antrea_proxy.pipeline.connections import Connections
from antrea_proxy.pipeline.entry_flows import SNAT_PORTS
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT, TUNNEL_PORT, mac_number
from antrea_proxy.pipeline.packets import TCP_ACK, TCP_SYN, Packet
from antrea_proxy.pipeline.walk import walk
from antrea_proxy.pipeline.walk_steps import Walk
from antrea_proxy.proxy.frontends import Rules
from worlds import CLIENT, GATEWAY_MAC, WEB_0, WEB_1, endpoint_slice, network, packet, service, world

OUTSIDE = "172.18.0.101"
NODE = "172.18.0.1"
GATEWAY = "10.10.1.1"
ENTRY = ServiceEntry(
    local_addresses=(ip_address(NODE), ip_address("172.19.0.1")),
    node_port_addresses=(ip_address(NODE),),
    localhost=False,
)


def spec(name: str, number: int, policy: str = "Cluster") -> dict[str, Any]:
    """A Service at 172.31.0.`number` and NodePort 30000 + `number`."""
    made = service(
        name, f"10.96.1.{number}", externalIPs=[f"172.31.0.{number}"], type="NodePort", externalTrafficPolicy=policy
    )
    made["spec"]["ports"][0]["nodePort"] = 30000 + number
    given: dict[str, Any] = made
    return given


SERVICES = (
    spec("here", 1),
    spec("there", 2),
    spec("local", 3, policy="Local"),
    spec("host", 4),
    spec("beyond", 5),
    spec("empty", 6),
)
SLICES = (
    endpoint_slice("here", ("10.10.1.6", "web-0", "node-1")),
    endpoint_slice("there", (WEB_1, "web-1", "node-2")),
    endpoint_slice("local", (WEB_1, "web-1", "node-2")),
    endpoint_slice("host", (NODE, "host", "node-1")),
    endpoint_slice("beyond", ("192.0.2.1", "", "")),
)


def tables(via: Via = Via.TUNNEL) -> CompiledTables:
    """Compile the Services for node-1 with proxyAll."""
    net = replace(network(via=via), service_entry=ENTRY)
    return CompiledTables(world(SERVICES, SLICES, net=net, rules=Rules(proxy_all=True)).units)


TABLES = {via: tables(via) for via in Via}


def coming(
    source: str,
    destination: str,
    port: int = 80,
    *,
    in_port: int = GATEWAY_PORT,
    source_port: int = 40000,
    flags: int = TCP_SYN,
) -> Packet:
    """A packet from the Node's stack, or from the tunnel."""
    return Packet(
        in_port=in_port,
        eth_src=mac_number(GATEWAY_MAC),
        eth_dst=mac_number(GATEWAY_MAC),
        eth_type=fields.ETH_TYPE_IPV4,
        source=IPv4Address(source),
        destination=IPv4Address(destination),
        protocol=fields.IP_PROTO_TCP,
        source_port=source_port,
        destination_port=port,
        tcp_flags=flags,
    )


def sent(way: Walk) -> tuple[int, str, str]:
    """The port by which a packet left, its source and its destination."""
    (one,) = way.sent
    return one.port, str(one.packet.source), str(one.packet.destination)


def back(way: Walk, connections: Connections, via: Via = Via.TUNNEL) -> tuple[int, str, str]:
    """Where the answer to a packet leaves, from whom and to whom."""
    (one,) = way.sent
    answer = coming(
        str(one.packet.destination),
        str(one.packet.source),
        one.packet.source_port,
        in_port=one.port,
        source_port=one.packet.destination_port,
        flags=TCP_SYN | TCP_ACK,
    )
    if one.port == WEB_0.ofport:
        answer = replace(answer, eth_src=mac_number(WEB_0.mac))
    returned = walk(TABLES[via], answer, connections=connections)
    return sent(returned)


@pytest.mark.parametrize(
    ("service_number", "via", "source", "leaves"),
    [
        (1, Via.TUNNEL, OUTSIDE, (WEB_0.ofport, OUTSIDE, "10.10.1.6")),
        (1, Via.TUNNEL, NODE, (WEB_0.ofport, NODE, "10.10.1.6")),
        (2, Via.TUNNEL, OUTSIDE, (TUNNEL_PORT, GATEWAY, WEB_1)),
        (2, Via.TUNNEL, GATEWAY, (TUNNEL_PORT, GATEWAY, WEB_1)),
        (2, Via.TUNNEL, "172.19.0.1", (TUNNEL_PORT, GATEWAY, WEB_1)),
        (2, Via.ROUTE, OUTSIDE, (GATEWAY_PORT, str(HAIRPIN_IPV4), WEB_1)),
        (2, Via.ROUTE, GATEWAY, (GATEWAY_PORT, str(HAIRPIN_IPV4), WEB_1)),
        (4, Via.TUNNEL, OUTSIDE, (GATEWAY_PORT, OUTSIDE, NODE)),
        (4, Via.TUNNEL, GATEWAY, (GATEWAY_PORT, str(HAIRPIN_IPV4), NODE)),
        (5, Via.TUNNEL, OUTSIDE, (GATEWAY_PORT, str(HAIRPIN_IPV4), "192.0.2.1")),
        (3, Via.TUNNEL, NODE, (TUNNEL_PORT, GATEWAY, WEB_1)),
    ],
)
@pytest.mark.parametrize("at", ["external IP", "NodePort"])
def test_the_endpoint_sees_an_address_that_it_can_answer_and_the_client_the_one_it_asked_at(
    service_number: int, via: Via, source: str, leaves: tuple[int, str, str], at: str
) -> None:
    address, port = (
        (f"172.31.0.{service_number}", 80) if at == "external IP" else (str(NODE_PORT_IPV4), 30000 + service_number)
    )
    way = walk(TABLES[via], coming(source, address, port))
    assert sent(way) == leaves
    assert back(way, way.connections, via) == (GATEWAY_PORT, address, source)


def test_the_next_packet_of_a_connection_bears_the_same_source_and_port() -> None:
    first = walk(TABLES[Via.TUNNEL], coming(OUTSIDE, "172.31.0.2"))
    second = walk(TABLES[Via.TUNNEL], coming(OUTSIDE, "172.31.0.2", flags=TCP_ACK), connections=first.connections)
    assert sent(second) == sent(first)
    assert second.sent[0].packet.source_port == first.sent[0].packet.source_port
    assert SNAT_PORTS[0] <= first.sent[0].packet.source_port <= SNAT_PORTS[1]


@pytest.mark.parametrize(("address", "port"), [("172.31.0.3", 80), (str(NODE_PORT_IPV4), 30003)])
def test_from_outside_a_local_policy_without_a_local_endpoint_drops(address: str, port: int) -> None:
    assert walk(TABLES[Via.TUNNEL], coming(OUTSIDE, address, port)).drop is not None


@pytest.mark.parametrize(("address", "port"), [("172.31.0.6", 80), (str(NODE_PORT_IPV4), 30006)])
def test_from_outside_a_service_without_endpoints_is_refused(address: str, port: int) -> None:
    assert walk(TABLES[Via.TUNNEL], coming(OUTSIDE, address, port)).ports == (REFUSE_PORT,)


def test_a_node_port_that_no_service_has_is_refused_at_the_virtual_address() -> None:
    assert walk(TABLES[Via.TUNNEL], coming(OUTSIDE, str(NODE_PORT_IPV4), 31000)).ports == (REFUSE_PORT,)


def test_a_pod_that_asks_its_nodes_address_reaches_node_ports_in_the_switch_and_all_else_on_the_node() -> None:
    assert sent(walk(TABLES[Via.TUNNEL], packet(CLIENT, NODE, 30001))) == (WEB_0.ofport, "10.10.1.5", "10.10.1.6")
    assert walk(TABLES[Via.TUNNEL], packet(CLIENT, NODE, 22)).ports == (GATEWAY_PORT,)
    assert walk(TABLES[Via.TUNNEL], packet(CLIENT, "172.19.0.1", 30001)).ports == (GATEWAY_PORT,)


@pytest.mark.parametrize("address", ["10.96.1.77", "172.31.0.77"])
def test_an_address_that_nobody_has_never_goes_round_between_the_switch_and_the_node(address: str) -> None:
    assert not walk(TABLES[Via.TUNNEL], coming(OUTSIDE, address)).sent
    assert not walk(TABLES[Via.TUNNEL], coming(GATEWAY, address)).sent


@pytest.mark.parametrize("source", [OUTSIDE, NODE, GATEWAY])
def test_an_external_ip_that_is_the_nodes_own_answers_under_its_stand_in(source: str) -> None:
    own = spec("own", 7)
    own["spec"]["externalIPs"] = [NODE]
    net = replace(network(), service_entry=ENTRY)
    slices = (endpoint_slice("own", ("10.10.1.6", "web-0", "node-1")),)
    made = CompiledTables(world((own,), slices, net=net, rules=Rules(proxy_all=True)).units)
    stand_in = str(stand_ins(ENTRY.local_addresses)[ip_address(NODE)])
    way = walk(made, coming(source, stand_in))
    assert sent(way) == (WEB_0.ofport, source, "10.10.1.6")
    answer = coming("10.10.1.6", source, 40000, in_port=WEB_0.ofport, source_port=8080, flags=TCP_SYN | TCP_ACK)
    returned = walk(made, replace(answer, eth_src=mac_number(WEB_0.mac)), connections=way.connections)
    assert sent(returned) == (GATEWAY_PORT, stand_in, source)
    assert sent(walk(made, packet(CLIENT, NODE))) == (WEB_0.ofport, "10.10.1.5", "10.10.1.6")


@pytest.mark.parametrize(("source", "refused_as"), [(OUTSIDE, OUTSIDE), (NODE, str(HAIRPIN_IPV4))])
def test_a_datagram_of_the_node_itself_is_refused_under_the_virtual_next_hops_address(
    source: str, refused_as: str
) -> None:
    asked = replace(coming(source, "10.96.1.1", 53), protocol=fields.IP_PROTO_UDP, tcp_flags=0)
    assert sent(walk(TABLES[Via.TUNNEL], asked)) == (REFUSE_PORT, refused_as, "10.96.1.1")
