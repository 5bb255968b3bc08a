"""A traced connection in words, and where the switch's own trace departs from it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from antrea_proxy.pipeline.flow_index import CompiledTables
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.switch_trace import SwitchLookup, SwitchTrace, differences, parse_trace, trace_arguments
from antrea_proxy.pipeline.trace import Question, Trace, Verdict, trace
from antrea_proxy.pipeline.walk import walk
from antrea_proxy.proxy.frontends import Protocol
from worlds import CLIENT, WORLD, packet, pod

TABLES = CompiledTables(WORLD.units)

RECORDED = """\
Flow: tcp,in_port=21,vlan_tci=0x0000,dl_src=0a:58:0a:0a:01:05,dl_dst=0a:58:0a:0a:01:01,nw_src=10.10.1.5

bridge("br-int")
----------------
 0. ip,in_port=21,dl_src=0a:58:0a:0a:01:05,nw_src=10.10.1.5, priority 100, cookie 0xa902839d714ac49f
    set_field:0x3/0xf->reg0
    resubmit(,10)
10. ip, priority 100, cookie 0xa90181668457992c
    ct(table=20,zone=65520,nat)
     -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 20.

Final flow: unchanged
Datapath actions: ct(zone=65520,nat),recirc(0x1)

===============================================================================
recirc(0x1) - resume conntrack with default ct_state=trk|new (use --ct-next to customize)
===============================================================================

Flow: recirc_id=0x1,ct_state=new|trk,ct_zone=65520,eth,tcp,reg0=0x3,in_port=21

bridge("br-int")
----------------
    thaw
        Resuming from table 20
20. ct_state=+new-est+trk, priority 100
    resubmit(,30)
30. tcp,nw_dst=10.96.0.10,tp_dst=80, priority 200, cookie 0xa9040a43f5ddf6cd
    group:1
     -> using bucket 2
    bucket 2
            ct(commit,table=50,zone=65520,nat(dst=10.10.2.8:8080),exec(set_field:0x10/0x10->ct_mark))
50. priority 0, cookie 0xa901c98e8a6410fa
    resubmit(,60)
60. No match.
    drop
90. priority 0, cookie 0xa901987f01c63fe0
    output:NXM_NX_REG1[]
     -> output port is 1
     -> output to native tunnel
     >> native tunnel routing failed
"""

THROUGH_A_TUNNEL = """\
bridge("br-int")
----------------
90. priority 0, cookie 0xa901987f01c63fe0
    output:NXM_NX_REG1[]
     -> output port is 1
     -> output to native tunnel
     -> tunneling to 172.19.0.2 via br-phy

bridge("br-phy")
----------------
 0. priority 0
    output:7

Final flow: unchanged

bridge("br-int")
----------------
50. priority 0, cookie 0xa901c98e8a6410fa
"""


def story(address: str, port: int = 80, protocol: Protocol = Protocol.TCP, switch: SwitchTrace | None = None) -> Trace:
    question = Question(pod=CLIENT, address=ip_address(address), port=port, protocol=protocol)
    return trace(TABLES, WORLD.network, WORLD.load_balancers, question, switch)


def stages(found: Trace) -> dict[str, str]:
    return {stage.title: stage.text for stage in found.stages}


def as_traced(way_packet: Packet) -> SwitchTrace:
    """What a switch would print that does the same, read."""
    way = walk(TABLES, way_packet)
    lookups = tuple(SwitchLookup(step.table, step.priority, step.cookie or 0) for step in way.steps)
    return SwitchTrace(lookups=lookups, buckets=(0,), ports=way.ports, complaints=(), remembered=None, text="")


def test_the_way_through_a_service_names_every_stage() -> None:
    found = story("10.96.0.10")
    told = stages(found)
    assert list(told) == ["Pod", "Service", "Choice", "Endpoint", "NAT", "Output", "Reply"]
    assert told["Service"] == "default/web:http, its ClusterIP and port (IPv4)"
    assert told["Choice"] == "one of 3; this one gets 33.3% of new connections"
    assert told["Endpoint"] == "10.10.1.6:8080, Pod web-0 on node-1"
    assert told["Output"] == "port 22, Pod default/web-0 on this Node"
    assert told["Reply"] == "from 10.96.0.10:80 to the Pod"
    assert found.verdict is Verdict.LOCAL


def test_the_shares_of_the_endpoints_add_up_and_one_is_followed() -> None:
    choices = story("10.96.0.10").choices
    assert sum(choice.share for choice in choices) == pytest.approx(1)
    assert [choice.address for choice in choices if choice.followed] == ["10.10.1.6"]
    assert {choice.target for choice in choices} == {"web-0", "web-1", "web-2"}


def test_a_remote_endpoint_names_the_node_at_the_tunnels_end() -> None:
    found = story("10.96.0.11")
    assert found.verdict is Verdict.TUNNEL
    assert stages(found)["Output"] == "geneve tunnel to node-2 (172.16.0.2)"
    assert stages(found)["Endpoint"].endswith("the only one")


@pytest.mark.parametrize(
    ("address", "port", "verdict", "words"),
    [
        ("10.96.0.12", 80, Verdict.REFUSED, "none: the Service has no endpoint"),
        ("10.96.0.13", 80, Verdict.DROPPED, "on another Node, and the traffic policy is Local"),
        ("10.96.0.10", 81, Verdict.REFUSED, "default/web has the address 10.96.0.10, but does not serve TCP port 81"),
        ("8.8.8.8", 53, Verdict.GATEWAY, "the gateway antrea-gw0"),
        ("10.96.0.14", 80, Verdict.LOCAL, "since the Pod reaches itself"),
    ],
)
def test_what_becomes_of_it_is_said_with_the_reason(address: str, port: int, verdict: Verdict, words: str) -> None:
    found = story(address, port)
    assert found.verdict is verdict
    assert any(words in stage.text for stage in found.stages)


def test_a_pod_without_the_family_cannot_connect() -> None:
    question = Question(pod=pod("old", 9, ipv6=False), address=ip_address("fd00:96::10"), port=80)
    with pytest.raises(ValueError, match="default/old has no IPv6 address"):
        trace(TABLES, WORLD.network, WORLD.load_balancers, question)


def test_ofproto_trace_is_read_table_by_table() -> None:
    found = parse_trace(RECORDED)
    assert found.lookups == (
        SwitchLookup(0, 100, 0xA902839D714AC49F),
        SwitchLookup(10, 100, 0xA90181668457992C),
        SwitchLookup(20, 100, 0),
        SwitchLookup(30, 200, 0xA9040A43F5DDF6CD),
        SwitchLookup(50, 0, 0xA901C98E8A6410FA),
        SwitchLookup(60, None, 0),
        SwitchLookup(90, 0, 0xA901987F01C63FE0),
    )
    assert found.buckets == (2,)
    assert found.ports == (1,)
    assert found.complaints == ("native tunnel routing failed",)


def test_the_underlays_own_bridge_is_no_part_of_the_way() -> None:
    found = parse_trace(THROUGH_A_TUNNEL)
    assert [lookup.table for lookup in found.lookups] == [90, 50]
    assert found.ports == (1,)


def test_the_walk_follows_the_bucket_that_the_switch_chose() -> None:
    way = walk(TABLES, packet(CLIENT, "10.96.0.10"), choose=parse_trace(RECORDED).choose)
    assert str(way.sent[0].packet.destination) == "10.10.2.8"


def test_a_switch_that_does_the_same_gives_no_warning() -> None:
    first = replace(packet(CLIENT, "10.96.0.10"), dp_hash=1)
    assert not differences(walk(TABLES, first), as_traced(first))
    assert not story("10.96.0.10", switch=as_traced(first)).warnings


def test_a_flow_that_the_switch_has_not_is_a_plain_warning() -> None:
    first = packet(CLIENT, "10.96.0.10")
    traced = as_traced(first)
    foreign = SwitchLookup(30, 300, 0x1234)
    changed = replace(traced, lookups=(*traced.lookups[:3], foreign, *traced.lookups[4:]))
    assert story("10.96.0.10", switch=changed).warnings == (
        (
            "the compiled tables take the flow of service default/web, priority 200 in ServiceLB; "
            "the switch takes one of priority 300, cookie 0x0000000000001234 in ServiceLB"
        ),
    )


def test_a_switch_that_ends_early_or_sends_elsewhere_is_a_warning_too() -> None:
    first = packet(CLIENT, "10.96.0.10")
    traced = as_traced(first)
    ended = differences(walk(TABLES, first), replace(traced, lookups=traced.lookups[:4]))
    elsewhere = differences(walk(TABLES, first), replace(traced, ports=(99,)))
    assert ended == ("the compiled tables take the flow of base, priority 100 in Translated; the switch ends",)
    assert elsewhere == ("the compiled tables send the packet to port 22, the switch to port 99",)


def test_the_switch_is_asked_in_its_own_words() -> None:
    asked = trace_arguments("br-int", packet(CLIENT, "fd00:96::10", 53, protocol=Protocol.UDP))
    assert asked == (
        "ofproto/trace",
        "br-int",
        (
            "dp_hash=0x1,in_port=21,udp6,dl_src=0a:58:0a:0a:01:05,dl_dst=0a:58:0a:0a:01:01,"
            "ipv6_src=fd00:10:1::5,ipv6_dst=fd00:96::10,nw_ttl=64,udp_src=40000,udp_dst=53"
        ),
    )
