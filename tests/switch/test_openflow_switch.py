"""What this room writes, a real switch holds and gives back byte for byte."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import numpy as np
import pytest

import openflow_samples as samples
from antrea_proxy.openflow import actions, fields, messages
from antrea_proxy.openflow.action_encoding import encode_buckets, encode_instructions, encode_selection_method
from antrea_proxy.openflow.batch_encoding import Template, in_chunks
from antrea_proxy.openflow.constants import (
    ALL_GROUPS,
    ALL_TABLES,
    OFPP_LOCAL,
    Cookie,
    FlowModCommand,
    GroupId,
    GroupModCommand,
    NatKind,
    PortConfig,
    TableId,
)
from antrea_proxy.openflow.encoding import encode, match_bytes
from antrea_proxy.openflow.entries import FlowDesc, GroupDesc
from antrea_proxy.openflow.events import BundleCommitted, BundleRefused, MultipartReply, ReplyReceived, SwitchError
from antrea_proxy.openflow.match import Criterion, Match
from antrea_proxy.openflow.messages import Bucket, FlowMod, GroupMod, SelectionMethod
from switch.openflow_client import OpenFlowClient
from switch.ovs import Switch

CLEAN = (
    FlowMod(command=FlowModCommand.DELETE, table=ALL_TABLES),
    GroupMod(command=GroupModCommand.DELETE, group_id=ALL_GROUPS),
)


@pytest.fixture
def client(switch: Switch) -> Iterator[OpenFlowClient]:
    """A connection to a switch without flows and groups."""
    with OpenFlowClient(switch.management) as connected:
        assert isinstance(connected.commit([encode(message) for message in CLEAN]), BundleCommitted)
        yield connected


def _flows(client: OpenFlowClient) -> list[FlowDesc]:
    reply = client.ask(messages.FlowDescRequest())
    assert isinstance(reply, MultipartReply)
    return [flow for part in reply.parts if isinstance(part, messages.FlowDescReply) for flow in part.flows]


def _groups(client: OpenFlowClient) -> dict[GroupId, GroupDesc]:
    reply = client.ask(messages.GroupDescRequest())
    assert isinstance(reply, MultipartReply)
    return {
        group.group_id: group
        for part in reply.parts
        if isinstance(part, messages.GroupDescReply)
        for group in part.groups
    }


def test_the_switch_says_who_it_is(client: OpenFlowClient) -> None:
    """The switch says who it is."""
    assert client.features.n_tables == 254
    assert client.features.datapath_id


def test_flows_and_groups_of_one_bundle_are_read_back_byte_for_byte(client: OpenFlowClient) -> None:
    """Flows and groups of one bundle are read back byte for byte."""
    written = [encode(message) for message in (*samples.GROUPS, *samples.FLOWS)]
    assert isinstance(client.commit(written), BundleCommitted)
    held = sorted(_flows(client), key=lambda flow: flow.table)
    for flow, wrote in zip(held, samples.FLOWS, strict=True):
        assert (flow.table, flow.priority, flow.cookie, flow.flags) == (
            wrote.table,
            wrote.priority,
            wrote.cookie,
            wrote.flags,
        )
        assert (flow.idle_timeout, flow.hard_timeout) == (wrote.idle_timeout, wrote.hard_timeout)
        assert flow.match == wrote.match
        assert flow.match_bytes == match_bytes(wrote.match)
        assert flow.actions == wrote.actions
        assert flow.instruction_bytes == encode_instructions(wrote.actions)
        assert flow.stats.packet_count == 0
    groups = _groups(client)
    for group in samples.GROUPS:
        held_group = groups.pop(group.group_id)
        assert held_group.raw == encode_buckets(group.buckets) + encode_selection_method(group.selection_method)
        assert (held_group.type, held_group.buckets) == (group.type, group.buckets)
        assert held_group.selection_method == group.selection_method
    assert not groups


_PIPELINE_FIELDS: tuple[Criterion, ...] = (
    (fields.IN_PORT, 2),
    (fields.CT_MARK, 0x10, 0x10),
    (fields.CT_ZONE, 65520),
    (fields.CT_LABEL, 1 << 100, 1 << 100),
    (fields.METADATA, 5),
    (fields.TUNNEL_ID, 9),
    (fields.TUN_IPV4_SRC, 0xC0000201),
    (fields.TUN_IPV4_DST, 0xC0000200, 0xFFFFFF00),
    (fields.TUN_IPV6_SRC, 5),
    (fields.TUN_IPV6_DST, 6),
    (fields.PKT_MARK, 1, 1),
    (fields.CT_STATE, 0x21, 0xFF),
    (fields.ETH_SRC, 1, 1),
    (fields.ETH_DST, 0xAABBCCDDEEFF),
    *((register, number, (1 << number + 5) - 1) for number, register in enumerate(fields.REGISTERS)),
)
_TCP: tuple[Criterion, ...] = ((fields.ETH_TYPE, 0x0800), (fields.IP_PROTO, 6))
_ICMPV6: tuple[Criterion, ...] = ((fields.ETH_TYPE, 0x86DD), (fields.IP_PROTO, 58))


@pytest.mark.parametrize(
    "match",
    [
        *samples.MATCHES[:-1],
        *(Match(condition) for condition in _PIPELINE_FIELDS),
        Match(*_PIPELINE_FIELDS, *_TCP, (fields.TCP_SRC, 1, 1), (fields.TCP_DST, 80), (fields.IPV4_SRC, 1)),
        Match(*_TCP, (fields.TCP_FLAGS, 2, 0x17), (fields.NW_TTL, 1), (fields.IP_DSCP, 5), (fields.IP_FRAG, 0)),
        Match(*_TCP, (fields.TCP_FLAGS, 2)),
        Match((fields.ETH_TYPE, 0x86DD), (fields.IP_PROTO, 132), (fields.SCTP_SRC, 5), (fields.SCTP_DST, 6)),
        Match((fields.ETH_TYPE, 0x0800), (fields.IP_PROTO, 17), (fields.UDP_SRC, 5), (fields.UDP_DST, 6)),
        Match((fields.ETH_TYPE, 0x0800), (fields.IP_PROTO, 1), (fields.ICMPV4_TYPE, 3), (fields.ICMPV4_CODE, 3)),
        Match(*_ICMPV6, (fields.ICMPV6_TYPE, 136), (fields.ND_TARGET, 5), (fields.ND_TLL, 6)),
        Match(*_ICMPV6, (fields.ICMPV6_TYPE, 135), (fields.ND_SLL, 6)),
        Match((fields.ETH_TYPE, 0x0806), (fields.ARP_SPA, 5), (fields.ARP_THA, 6), (fields.ARP_OP, 2)),
    ],
    ids=str,
)
def test_every_match_comes_back_as_it_was_written(client: OpenFlowClient, match: Match) -> None:
    """Every match comes back as it was written."""
    flow = FlowMod(table=TableId(1), match=match)
    assert client.do(flow) == []
    (held,) = _flows(client)
    assert held.match == match
    assert held.match_bytes == match_bytes(match)


def test_a_match_on_dp_hash_is_refused_with_its_name(client: OpenFlowClient) -> None:
    """A match on dp hash is refused with its name."""
    (refused,) = client.do(samples.STATE_FLOW)
    assert str(refused.error) == "BAD_REQUEST/EPERM"


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        pytest.param(
            FlowMod(table=TableId(30), actions=(actions.Group(GroupId(99)),)), "BAD_ACTION/BAD_OUT_GROUP", id="applied"
        ),
        pytest.param(
            FlowMod(table=TableId(30), actions=(actions.UnknownAction(bytes.fromhex("0099000800000000")),)),
            "BAD_ACTION/BAD_TYPE",
            id="added",
        ),
        pytest.param(
            GroupMod(command=GroupModCommand.MODIFY, group_id=GroupId(77)),
            "GROUP_MOD_FAILED/UNKNOWN_GROUP",
            id="group",
        ),
    ],
)
def test_a_refused_bundle_leaves_nothing_and_names_its_message(
    client: OpenFlowClient, bad: FlowMod | GroupMod, name: str
) -> None:
    """Also when the switch leaves the message out while the bundle is filled, and would have committed the rest."""
    before, after = FlowMod(table=TableId(30), priority=5), FlowMod(table=TableId(30), priority=6)
    outcome = client.commit([encode(message) for message in (before, bad, after)])
    assert isinstance(outcome, BundleRefused)
    assert [(refusal.index, str(refusal.error)) for refusal in outcome.refusals] == [(1, name)]
    assert _flows(client) == []
    assert isinstance(client.commit([encode(before)]), BundleCommitted)


def test_an_error_names_the_single_message_that_was_refused(client: OpenFlowClient) -> None:
    """An error names the single message that was refused."""
    (refused,) = client.do(FlowMod(table=TableId(30), actions=(actions.Group(GroupId(99)),)))
    assert (refused.error.type_name, refused.error.code_name) == ("BAD_ACTION", "BAD_OUT_GROUP")
    assert refused.error.data[1] == 14


def test_connections_are_flushed_by_what_they_are(client: OpenFlowClient) -> None:
    """Connections are flushed by what they are."""
    for sample in samples.REQUESTS:
        if isinstance(sample, messages.ConntrackFlush):
            assert client.do(sample) == []


def test_requests_are_answered(client: OpenFlowClient) -> None:
    """Requests are answered."""
    assert isinstance(
        client.commit([encode(message) for message in (*samples.GROUPS, *samples.FLOWS)]), BundleCommitted
    )
    sums = client.ask(messages.AggregateStatsRequest(table=TableId(3)))
    assert isinstance(sums, MultipartReply)
    assert sums.parts == (messages.AggregateStatsReply(flow_count=1, packet_count=0, byte_count=0),)
    counters = client.ask(messages.GroupStatsRequest(group_id=GroupId(4)))
    assert isinstance(counters, MultipartReply)
    assert isinstance(counters.parts[0], messages.GroupStatsReply)
    (group,) = counters.parts[0].groups
    assert (group.group_id, group.references, len(group.buckets)) == (4, 1, 3)
    assert isinstance(client.ask(messages.EchoRequest(data=b"x")), ReplyReceived)


def test_flows_are_listed_and_deleted_by_bits_of_their_cookie(client: OpenFlowClient) -> None:
    """Flows are listed and deleted by bits of their cookie."""
    flows = [FlowMod(table=TableId(number), cookie=Cookie(number)) for number in range(4)]
    assert isinstance(client.commit([encode(flow) for flow in flows]), BundleCommitted)
    reply = client.ask(messages.FlowDescRequest(cookie=Cookie(1), cookie_mask=1))
    assert isinstance(reply, MultipartReply)
    assert isinstance(reply.parts[0], messages.FlowDescReply)
    assert sorted(flow.cookie for flow in reply.parts[0].flows) == [1, 3]
    odd = FlowMod(command=FlowModCommand.DELETE, table=ALL_TABLES, cookie=Cookie(1), cookie_mask=1)
    assert client.do(odd) == []
    assert sorted(flow.cookie for flow in _flows(client)) == [0, 2]


def test_a_port_is_described_and_told_not_to_send_to_the_controller(client: OpenFlowClient) -> None:
    """A port is described and told not to send to the controller."""
    reply = client.ask(messages.PortDescRequest(port=OFPP_LOCAL))
    assert isinstance(reply, MultipartReply)
    assert isinstance(reply.parts[0], messages.PortDescReply)
    (port,) = reply.parts[0].ports
    assert port.name == "br-int"
    quiet = PortConfig.NO_PACKET_IN
    change = messages.PortMod(port=OFPP_LOCAL, hardware_address=port.hardware_address, config=quiet, mask=quiet)
    assert client.do(change) == []
    again = client.ask(messages.PortDescRequest(port=OFPP_LOCAL))
    assert isinstance(again, MultipartReply)
    assert isinstance(again.parts[0], messages.PortDescReply)
    assert again.parts[0].ports[0].config & quiet


def test_a_request_that_the_switch_does_not_know_is_an_error(client: OpenFlowClient) -> None:
    """A request that the switch does not know is an error."""
    xid = client.connection.send(messages.UnknownMessage(type=29, body=bytes(64)))
    answer = client.wait_for(SwitchError)
    assert isinstance(answer, SwitchError)
    assert answer.xid == xid


def _group(group: int, address: int, port: int, mark: int) -> GroupMod:
    choice = actions.Conntrack(
        65520,
        TableId(20),
        commit=True,
        actions=(
            actions.Nat(NatKind.DST, IPv4Address(address), port_min=port),
            actions.SetField(fields.CT_MARK, mark),
        ),
    )
    return GroupMod(
        command=GroupModCommand.ADD_OR_MOD,
        group_id=GroupId(group),
        buckets=tuple(Bucket(bucket_id=number, weight=100, actions=(choice,)) for number in range(10)),
        selection_method=SelectionMethod(name="dp_hash"),
    )


def _flow(address: int, group: int) -> FlowMod:
    match = Match((fields.ETH_TYPE, 0x0800), (fields.IP_PROTO, 6), (fields.IPV4_DST, address), (fields.TCP_DST, 80))
    return FlowMod(
        table=TableId(5), priority=200, cookie=Cookie(9), match=match, actions=(actions.Group(GroupId(group)),)
    )


def test_thousands_of_stamped_messages_are_held_as_the_reference_encoder_has_them(client: OpenFlowClient) -> None:
    """Thousands of stamped messages are held as the reference encoder has them."""
    count = 2000
    numbers = np.arange(1, count + 1)
    groups = Template.of(_group, {"group": 4, "address": 4, "port": 2, "mark": 4}).stamp(
        {"group": numbers, "address": numbers + 0x0A000000, "port": numbers, "mark": numbers << 8}
    )
    flows = Template.of(_flow, {"address": 4, "group": 4}).stamp({"address": numbers + 0x0A600000, "group": numbers})
    for chunk in in_chunks([groups, flows]):
        assert isinstance(client.commit(chunk), BundleCommitted)
    held = _groups(client)
    assert len(held) == count
    for number in (1, 17, count):
        assert held[GroupId(number)].buckets == _group(number, 0x0A000000 + number, number, number << 8).buckets
    assert {flow.match_bytes for flow in _flows(client)} == {
        match_bytes(_flow(0x0A600000 + int(number), 1).match) for number in numbers
    }


@pytest.mark.full
def test_ten_thousand_services_are_stamped_committed_and_read_back_in_seconds(client: OpenFlowClient) -> None:
    """Ten thousand services are stamped committed and read back in seconds."""
    count = 10_000
    numbers = np.arange(1, count + 1)
    group_template = Template.of(_group, {"group": 4, "address": 4, "port": 2, "mark": 4})
    flow_template = Template.of(_flow, {"address": 4, "group": 4})
    started = time.monotonic()
    groups = group_template.stamp({"group": numbers, "address": numbers, "port": numbers, "mark": numbers})
    flows = flow_template.stamp({"address": numbers, "group": numbers})
    for chunk in in_chunks([groups, flows]):
        assert isinstance(client.commit(chunk), BundleCommitted)
    assert (len(_groups(client)), len(_flows(client))) == (count, count)
    assert time.monotonic() - started < 20
