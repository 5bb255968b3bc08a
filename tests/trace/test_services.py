"""Connections to Services through the compiled tables: to the endpoints that were decided, and back."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from antrea_proxy.network.values import HAIRPIN_IPV4, Via
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.constants import CtState
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.connections import Connections
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT, TUNNEL_PORT, mac_number
from antrea_proxy.pipeline.packets import TCP_ACK, TCP_RST, TCP_SYN, Arp, Packet
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import Owner, OwnerKind, Unit, flow
from antrea_proxy.pipeline.walk import walk, walk_every_way
from antrea_proxy.pipeline.walk_steps import Walk
from worlds import CLIENT, GATEWAY_MAC, PEER_ADDRESS, WEB_0, WEB_1, WEB_2, WORLD, network, packet, world

Json = dict[str, Any]

TABLES = CompiledTables(WORLD.units)


def reply_to(sent: Packet, port: int, *, flags: int = TCP_SYN | TCP_ACK) -> Packet:
    """The answer to a packet, coming in at the port by which that one left."""
    return Packet(
        in_port=port,
        eth_src=sent.eth_dst,
        eth_dst=sent.eth_src,
        eth_type=sent.eth_type,
        source=sent.destination,
        destination=sent.source,
        protocol=sent.protocol,
        source_port=sent.destination_port,
        destination_port=sent.source_port,
        tcp_flags=flags if sent.protocol == fields.IP_PROTO_TCP else 0,
    )


def endpoints(ways: Iterator[Walk]) -> set[tuple[str, int]]:
    """Where the packets of all ways went."""
    return {(str(sent.packet.destination), sent.packet.destination_port) for way in ways for sent in way.sent}


@pytest.mark.parametrize("port", [80, 53])
def test_a_service_is_reached_at_every_ready_endpoint_and_no_other(port: int) -> None:
    protocol, target = (fields.IP_PROTO_TCP, 8080) if port == 80 else (fields.IP_PROTO_UDP, 5353)
    ways = walk_every_way(TABLES, packet(CLIENT, "10.96.0.10", port, protocol=protocol))
    assert endpoints(ways) == {("10.10.1.6", target), (WEB_1, target), (WEB_2, target)}


def test_the_same_service_over_ipv6() -> None:
    ways = walk_every_way(TABLES, packet(CLIENT, "fd00:96::10", 80))
    assert endpoints(ways) == {("fd00:10:1::6", 8080), ("fd00:10:2::7", 8080)}


def test_a_remote_endpoint_is_reached_through_the_tunnel_to_its_node() -> None:
    way = walk(TABLES, packet(CLIENT, "10.96.0.11"))
    sent = way.sent[0]
    assert sent.port == TUNNEL_PORT
    assert sent.packet.tunnel_destination == PEER_ADDRESS
    assert sent.packet.ttl == 63


def test_without_tunnels_it_is_reached_through_the_gateway() -> None:
    routed = CompiledTables(world(net=network(via=Via.ROUTE)).units)
    assert walk(routed, packet(CLIENT, "10.96.0.11")).ports == (GATEWAY_PORT,)


def test_a_local_endpoint_sees_the_clients_address_and_the_gateways_mac() -> None:
    ways = [way for way in walk_every_way(TABLES, packet(CLIENT, "10.96.0.10")) if way.ports == (WEB_0.ofport,)]
    sent = ways[0].sent[0].packet
    assert sent.source == CLIENT.ipv4
    assert (sent.eth_src, sent.eth_dst) == (mac_number(GATEWAY_MAC), mac_number(WEB_0.mac))


@pytest.mark.parametrize("address", ["10.96.0.10", "10.96.0.11", "10.96.0.14", "fd00:96::10"])
@pytest.mark.parametrize("port", [80])
def test_the_reply_comes_from_the_services_address_to_the_client(address: str, port: int) -> None:
    """On every way, hairpin included; and the next packet goes to the same endpoint without a new choice."""
    first = packet(CLIENT, address, port)
    for way in walk_every_way(TABLES, first):
        sent = way.sent[0]
        back = walk(TABLES, reply_to(sent.packet, sent.port), connections=way.connections)
        assert back.ports == (CLIENT.ofport,)
        returned = back.sent[0].packet
        assert (returned.source, returned.source_port) == (first.destination, port)
        assert (returned.destination, returned.destination_port) == (first.source, first.source_port)
        assert returned.eth_dst == mac_number(CLIENT.mac)
        assert "ServiceLB" not in back.tables

        on = walk(TABLES, packet(CLIENT, address, port, tcp_flags=TCP_ACK), connections=back.connections)
        assert on.sent[0].packet.destination == sent.packet.destination
        assert on.ports == way.ports
        assert "ServiceLB" not in on.tables
        assert on.recirculations == 1


def test_a_pod_that_reaches_itself_sees_the_virtual_address() -> None:
    way = walk(TABLES, packet(CLIENT, "10.96.0.14"))
    assert way.ports == (CLIENT.ofport,)
    assert way.sent[0].packet.source == HAIRPIN_IPV4


@pytest.mark.parametrize(
    ("address", "port", "protocol"),
    [
        ("10.96.0.12", 80, fields.IP_PROTO_TCP),
        ("10.96.0.10", 81, fields.IP_PROTO_TCP),
        ("10.96.0.10", 80, fields.IP_PROTO_UDP),
        ("fd00:96::10", 8080, fields.IP_PROTO_TCP),
    ],
)
def test_no_endpoint_and_no_such_port_are_refused_at_once(address: str, port: int, protocol: int) -> None:
    assert walk(TABLES, packet(CLIENT, address, port, protocol=protocol)).ports == (REFUSE_PORT,)


def test_a_local_policy_without_a_local_endpoint_drops() -> None:
    way = walk(TABLES, packet(CLIENT, "10.96.0.13"))
    assert way.drop is not None
    assert way.drop[0].title == "ServiceLB"


def test_a_service_that_is_left_alone_is_reached_by_pod_address_only() -> None:
    way = walk(TABLES, packet(CLIENT, "10.10.1.6", 8080))
    assert way.ports == (WEB_0.ofport,)
    assert way.sent[0].packet.destination == WEB_0.ipv4


def test_traffic_to_the_outside_leaves_by_the_gateway() -> None:
    assert walk(TABLES, packet(CLIENT, "8.8.8.8", 53, protocol=fields.IP_PROTO_UDP)).ports == (GATEWAY_PORT,)


@pytest.mark.parametrize("change", ["source", "eth_src", "in_port"])
def test_a_pod_that_lies_about_itself_is_dropped_at_the_door(change: str) -> None:
    honest = packet(CLIENT, "10.96.0.10")
    lies = {"source": IPv4Address("10.10.1.6"), "eth_src": 0xBAD, "in_port": WEB_0.ofport}
    values = {name: getattr(honest, name) for name in honest.__dataclass_fields__} | {change: lies[change]}
    way = walk(TABLES, Packet(**values))
    assert way.drop is not None
    assert way.drop[0].title == "Classifier"


def test_a_pod_finds_its_gateway_and_its_neighbours_by_arp() -> None:
    def asking(address: str) -> Packet:
        assert CLIENT.ipv4 is not None
        mac = mac_number(CLIENT.mac)
        arp = Arp(operation=1, sender=CLIENT.ipv4, target=IPv4Address(address), sender_mac=mac)
        return Packet(in_port=CLIENT.ofport, eth_src=mac, eth_type=fields.ETH_TYPE_ARP, arp=arp)

    assert walk(TABLES, asking("10.10.1.1")).ports == (GATEWAY_PORT,)
    assert walk(TABLES, asking("10.10.1.6")).ports == (WEB_0.ofport,)
    assert not walk(TABLES, asking("10.10.1.99")).ports


def test_a_tcp_segment_that_the_tracker_rejects_is_dropped_but_a_bare_reset_is_not() -> None:
    segment = walk(TABLES, packet(CLIENT, "10.10.1.6", tcp_flags=TCP_ACK), answers=[CtState.INV])
    reset = walk(TABLES, packet(CLIENT, "10.10.1.6", tcp_flags=TCP_RST), answers=[CtState.INV])
    assert segment.drop is not None
    assert reset.ports == (WEB_0.ofport,)


def test_a_rule_by_pod_address_in_the_egress_policy_stage_holds_for_services_too() -> None:
    """The reserved stages see endpoints' addresses, behind the Service's translation: what a policy engine needs."""
    policy = Owner(OwnerKind.NODE, "policy")
    rule = Match((fields.ETH_TYPE, fields.ETH_TYPE_IPV4), (fields.IPV4_DST, int(IPv4Address(WEB_1))))
    units = dict(WORLD.units) | {policy: Unit(flows=(flow(policy, Table.EGRESS_POLICY, 100, rule),))}
    ways = list(walk_every_way(CompiledTables(units), packet(CLIENT, "10.96.0.10")))
    assert endpoints(iter(ways)) == {("10.10.1.6", 8080), (WEB_2, 8080)}
    dropped = [way.drop[0].title for way in ways if way.drop is not None]
    assert dropped == ["EgressPolicy"]


def test_recirculations_stay_below_the_userspace_datapaths_limit() -> None:
    worst = max(
        way.recirculations
        for address in ("10.96.0.10", "10.96.0.11", "10.96.0.14", "8.8.8.8", "fd00:96::10")
        for way in walk_every_way(TABLES, packet(CLIENT, address))
    )
    assert worst == 3


def test_a_connection_that_nobody_knows_is_new_again() -> None:
    """A tracker that was emptied: the Service's selection decides afresh."""
    way = walk(TABLES, packet(CLIENT, "10.96.0.11", tcp_flags=TCP_ACK), connections=Connections())
    assert "ServiceLB" in way.tables
