"""The compiled tables walked in Python, and a real switch's ofproto/trace of them: the same tables, flows and ports."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.constants import CtState
from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.packets import TCP_ACK, TCP_SYN, Arp, Packet
from antrea_proxy.pipeline.switch_trace import SwitchTrace, differences, parse_trace, trace_arguments
from antrea_proxy.pipeline.walk import walk
from antrea_proxy.pipeline.walk_steps import Walk
from switch.ovs import BRIDGE, Switch
from switch.traced import add_ports, walk_and_trace, write
from worlds import CLIENT, endpoint_slice, packet, service, world

SEED = 20260101
SIZES = (1, 2, 3, 5, 7, 8, 16, 31, 40, 0)
"""Endpoints of a Service: a single one, groups with and without a split bucket, a slot table, none."""


def cluster() -> tuple[list[Any], list[Any]]:
    """Random Services of every size, protocol, family and policy, the same in every run."""
    chance = random.Random(SEED)
    services: list[Any] = []
    slices: list[Any] = []
    for number, size in enumerate(SIZES * 2):
        name, family = f"s{number}", "IPv4" if number < len(SIZES) else "IPv6"
        ports = [("", chance.choice(["TCP", "UDP"]), chance.randint(1, 65535))]
        targets = [("", ports[0][1], chance.randint(1, 65535))]
        prefix = "10.10." if family == "IPv4" else "fd00:10:"
        separator = "." if family == "IPv4" else "::"
        address = f"10.96.1.{number}" if family == "IPv4" else f"fd00:96::1:{number}"
        hosts = [(chance.choice([1, 2]), host) for host in chance.sample(range(5, 250), size)]
        endpoints = [(f"{prefix}{node}{separator}{host}", f"p{host}", f"node-{node}") for node, host in hosts]
        policy = chance.choice(["Cluster", "Cluster", "Local"])
        services.append(service(name, address, ports=ports, internalTrafficPolicy=policy))
        slices.append(endpoint_slice(name, *endpoints, ports=targets, family=family))
    services.append(service("self", "10.96.2.1"))
    slices.append(endpoint_slice("self", ("10.10.1.5", "client", "node-1")))
    return services, slices


HERE = world(*cluster())
TABLES = CompiledTables(HERE.units)


@pytest.fixture(scope="module")
def compiled(switch: Switch) -> Switch:
    """The switch, with the Node's ports and all that was compiled for it."""
    add_ports(switch)
    write(switch, HERE.units)
    return switch


def both(switch: Switch, first: Packet) -> tuple[Walk, SwitchTrace]:
    """Walk a packet, and trace it in the switch."""
    return walk_and_trace(switch, TABLES, first)


def agreed(switch: Switch, first: Packet) -> Walk:
    """Assert that both go the same way."""
    walked, traced = both(switch, first)
    assert differences(walked, traced) == (), traced.text
    return walked


@pytest.mark.parametrize("dp_hash", [1, 2, 77, 0xFFFFFFFF])
def test_every_service_port_is_reached_on_the_same_way(compiled: Switch, dp_hash: int) -> None:
    for load_balancer in HERE.load_balancers.values():
        port = load_balancer.port
        first = packet(CLIENT, str(port.frontends[0].address), port.port, protocol=port.protocol)
        agreed(compiled, replace(first, dp_hash=dp_hash))


def test_the_switch_spreads_over_the_buckets_that_the_walk_knows(compiled: Switch) -> None:
    """Over many values of the hash, the switch chooses every endpoint that was decided, and no other."""
    by_size = {item.used_count: item for item in HERE.load_balancers.values() if 2 < item.used_count < 9}
    for load_balancer in (by_size[min(by_size)], by_size[max(by_size)]):
        port = load_balancer.port
        first = packet(CLIENT, str(port.frontends[0].address), port.port, protocol=port.protocol)
        reached = {
            str(agreed(compiled, replace(first, dp_hash=value)).connections.known[0].reply.source)
            for value in range(1, 129)
        }
        assert len(reached) == load_balancer.used_count


@pytest.mark.parametrize(
    "first",
    [
        packet(CLIENT, "10.96.1.0", 9, protocol=fields.IP_PROTO_SCTP),
        packet(CLIENT, "10.96.200.200", 80),
        packet(CLIENT, "10.96.2.1", 80),
        packet(CLIENT, "10.10.1.6", 80),
        packet(CLIENT, "10.10.2.6", 80),
        packet(CLIENT, "10.10.1.1", 80),
        packet(CLIENT, "8.8.8.8", 53, protocol=fields.IP_PROTO_UDP),
        packet(CLIENT, "fd00:10:1::6", 80),
        packet(CLIENT, "fd00:10:2::6", 80),
        packet(CLIENT, "10.10.1.6", 0, protocol=fields.IP_PROTO_ICMP, source_port=8),
        replace(packet(CLIENT, "10.10.1.6"), in_port=22),
        replace(packet(CLIENT, "10.10.1.6"), in_port=1),
        replace(packet(CLIENT, "10.10.1.6"), in_port=2),
        replace(packet(CLIENT, "10.10.2.6"), in_port=2),
        replace(packet(CLIENT, "10.96.1.0"), in_port=2),
        replace(packet(CLIENT, "10.10.1.99"), in_port=1),
    ],
    ids=lambda first: f"{first.in_port}->{first.destination}-{first.protocol}",
)
def test_other_packets_go_the_same_way(compiled: Switch, first: Packet) -> None:
    agreed(compiled, first)


@pytest.mark.parametrize("target", ["10.10.1.1", "10.10.1.6", "10.10.1.77"])
def test_arp_goes_the_same_way(compiled: Switch, target: str) -> None:
    first = packet(CLIENT, target)
    assert CLIENT.ipv4 is not None
    arp = Arp(operation=1, sender=CLIENT.ipv4, target=first.destination, sender_mac=first.eth_src)  # type: ignore[arg-type]  # IPv4
    asking = Packet(in_port=first.in_port, eth_src=first.eth_src, eth_type=fields.ETH_TYPE_ARP, arp=arp)
    agreed(compiled, asking)


def test_replies_and_what_follows_them_go_the_same_way(compiled: Switch) -> None:
    """With the tracker's answers taken from the walk: the switch's own tables decide the rest."""
    established = 0
    for load_balancer in HERE.load_balancers.values():
        port = load_balancer.port
        first = packet(CLIENT, str(port.frontends[0].address), port.port, protocol=port.protocol)
        way = walk(TABLES, first)
        if not way.connections.known or not way.sent:
            continue
        sent = way.sent[0]
        translated = replace(first, destination=sent.packet.destination, destination_port=sent.packet.destination_port)
        follows = replace(translated, tcp_flags=TCP_ACK if first.tcp_flags else 0)
        traced = parse_trace(compiled.appctl(*trace_arguments(BRIDGE, follows, states=[CtState.EST])))
        walked = walk(TABLES, follows, answers=[CtState.EST])
        assert differences(walked, traced) == (), traced.text
        established += 1
    assert established > 5


@pytest.mark.parametrize("states", [[CtState.INV], [CtState.EST | CtState.RPL], [CtState.REL | CtState.NEW]])
def test_every_answer_of_the_tracker_leads_the_same_way(compiled: Switch, states: Sequence[CtState]) -> None:
    for flags in (TCP_SYN, TCP_ACK, 0x04):
        first = packet(CLIENT, "10.10.1.6", tcp_flags=flags)
        traced = parse_trace(compiled.appctl(*trace_arguments(BRIDGE, first, states=states)))
        assert differences(walk(TABLES, first, answers=states), traced) == (), traced.text


def test_a_flow_that_somebody_added_is_told_apart(compiled: Switch) -> None:
    """The warning of `antrea-proxy trace` on a real switch."""
    compiled.ofctl("add-flow", "cookie=0x1234,table=60,priority=999,ip,nw_dst=10.10.1.6,actions=drop")
    try:
        walked, traced = both(compiled, packet(CLIENT, "10.10.1.6"))
        (text,) = differences(walked, traced)
    finally:
        compiled.ofctl("del-flows", "cookie=0x1234/-1")
    assert "the switch takes one of priority 999, cookie 0x0000000000001234 in L3Forwarding" in text
