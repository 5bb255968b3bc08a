"""Bytes become the values that they were made of; bytes that lie become a DecodeError, in bounded time."""

from __future__ import annotations

import random
import time

import pytest

import openflow_samples as samples
from antrea_proxy.openflow import actions, fields, messages
from antrea_proxy.openflow.action_decoding import decode_actions
from antrea_proxy.openflow.constants import MultipartType, TableId
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.encoding import encode, encode_actions, match_bytes
from antrea_proxy.openflow.errors import DecodeError
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.match_decoding import decode_conditions
from antrea_proxy.openflow.messages import Message

_CHANGES = tuple(
    message
    for message in samples.REQUESTS
    if isinstance(
        message,
        messages.FlowMod
        | messages.GroupMod
        | messages.BundleAdd
        | messages.BundleControl
        | messages.PacketOut
        | messages.Hello
        | messages.EchoRequest
        | messages.EchoReply
        | messages.SetConfig
        | messages.BarrierRequest
        | messages.FeaturesRequest,
    )
)


@pytest.mark.parametrize("message", _CHANGES, ids=lambda message: type(message).__name__)
def test_what_was_encoded_is_decoded_to_the_same_value(message: Message) -> None:
    """What was encoded is decoded to the same value."""
    assert decode(encode(message, xid=41)) == (message, 41)


def _decode_everything(data: bytes) -> None:
    """Decode a message and each part of it that waits to be asked for."""
    message, _xid = decode(data)
    if isinstance(message, messages.FlowDescReply):
        for flow in message.flows:
            _ = (flow.match, flow.actions, flow.stats)
    if isinstance(message, messages.GroupDescReply):
        for group in message.groups:
            _ = (group.buckets, group.selection_method)
    if isinstance(message, messages.PacketIn):
        decode_conditions(message.match_bytes)


_ALL_BYTES = (*samples.FROM_SWITCH, *(encode(message) for message in samples.REQUESTS))


@pytest.mark.parametrize("data", _ALL_BYTES, ids=range(len(_ALL_BYTES)))
def test_a_message_that_ends_early_is_an_error_and_nothing_worse(data: bytes) -> None:
    """A message that ends early is an error and nothing worse."""
    _decode_everything(data)
    for length in range(len(data)):
        with pytest.raises(DecodeError):
            _decode_everything(data[:length])
        if length >= 8:
            with_honest_header = data[:2] + length.to_bytes(2, "big") + data[4:length]
            _errs_or_decodes(with_honest_header)


@pytest.mark.parametrize("data", _ALL_BYTES, ids=range(len(_ALL_BYTES)))
def test_bytes_that_lie_never_hang_over_read_or_raise_another_error(data: bytes) -> None:
    """Bytes that lie never hang over read or raise another error."""
    chance = random.Random(len(data))
    started = time.monotonic()
    for _ in range(300):
        lying = bytearray(data)
        for _change in range(chance.randint(1, 4)):
            if len(lying) > 8:
                place = chance.randrange(8, len(lying))
                lying[place] = chance.choice((0, 1, 3, 7, 8, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        _errs_or_decodes(bytes(lying))
    assert time.monotonic() - started < 20


def _errs_or_decodes(data: bytes) -> None:
    try:
        _decode_everything(data)
    except DecodeError as error:
        assert str(error)  # noqa: PT017  # both outcomes are right; what counts is that there is no third


def test_an_unknown_action_is_kept_as_its_bytes_and_written_back_so() -> None:
    """An unknown action is kept as its bytes and written back so."""
    note = bytes.fromhex("ffff0010000023200008010203040506")
    found = decode_actions(note + encode_actions((actions.DecrementTtl(),)))
    assert found == (actions.UnknownAction(note), actions.DecrementTtl())
    assert encode_actions(found)[:16] == note


def test_a_known_action_in_a_form_not_written_here_is_kept_as_its_bytes() -> None:
    """A known action in a form not written here is kept as its bytes."""
    zone_from_a_register = bytes.fromhex("ffff0018000023200023000000010204000f14000000000 0".replace(" ", ""))
    assert decode_actions(zone_from_a_register) == (actions.UnknownAction(zone_from_a_register),)


def test_an_unknown_field_becomes_a_field_named_by_its_numbers() -> None:
    """An unknown field becomes a field named by its numbers."""
    found = decode_conditions(bytes.fromhex("0001ea0400000005") + bytes.fromhex("ffff00064f4e46000102"))
    assert str(found) == "field 0x0001:117=0x5,field 0xffff:0:0x4f4e4600=0x102"
    assert match_bytes(found) == bytes.fromhex("0001ea0400000005ffff00064f4e46000102")


def test_the_packet_type_that_the_switch_adds_is_not_part_of_a_match() -> None:
    """The packet type that the switch adds is not part of a match."""
    flow = messages.FlowMod(table=TableId(1), match=Match((fields.REG0, 5)))
    entry = samples.flow_entry(flow)
    conditions = match_bytes(flow.match)
    with_type = entry.replace(
        b"\0\1" + (4 + len(conditions)).to_bytes(2, "big") + conditions + bytes(-(4 + len(conditions)) % 8),
        b"\0\1" + (12 + len(conditions)).to_bytes(2, "big") + bytes.fromhex("8000580400000000") + conditions
        + bytes(-(12 + len(conditions)) % 8),
    )  # fmt: skip
    with_type = len(with_type).to_bytes(2, "big") + with_type[2:]
    reply, _xid = decode(samples.multipart(MultipartType.FLOW_DESC, with_type))
    assert isinstance(reply, messages.FlowDescReply)
    assert reply.flows[0].match_bytes == conditions


def test_a_listed_flow_compares_by_bytes_with_the_flow_mod_that_made_it() -> None:
    """A listed flow compares by bytes with the flow mod that made it."""
    reply, _xid = decode(samples.multipart(MultipartType.FLOW_DESC, samples.flow_entry(samples.FLOWS[0])))
    assert isinstance(reply, messages.FlowDescReply)
    (flow,) = reply.flows
    wrote = samples.FLOWS[0]
    assert (flow.table, flow.priority, flow.cookie, flow.hard_timeout) == (3, 200, 0xDEADBEEF, 9)
    assert flow.match_bytes == match_bytes(wrote.match)
    assert (flow.match, flow.actions) == (wrote.match, wrote.actions)
    assert (flow.stats.packet_count, flow.stats.byte_count, flow.stats.duration) == (3, 180, 5.0)


def test_a_message_of_another_version_is_refused_unless_it_is_a_hello() -> None:
    """A message of another version is refused unless it is a hello."""
    assert decode(bytes.fromhex("0400000800000001")) == (messages.Hello(versions=frozenset({1, 2, 3, 4})), 1)
    with pytest.raises(DecodeError, match="version 4"):
        decode(bytes.fromhex("0414000800000001"))


def test_a_type_of_message_that_is_not_known_is_kept() -> None:
    """A type of message that is not known is kept."""
    assert decode(bytes.fromhex("061d000a000000020102")) == (messages.UnknownMessage(type=29, body=b"\1\2"), 2)


def test_an_error_says_its_names() -> None:
    """An error says its names."""
    assert str(messages.Error(type=2, code=9)) == "BAD_ACTION/BAD_OUT_GROUP"
    assert str(messages.Error(type=0xFFFF, code=42, experimenter=0x2320)) == "BAD_ACTION/CT_DATAPATH_SUPPORT"
    assert str(messages.Error(type=0xFFFF, code=42, experimenter=7)) == "EXPERIMENTER 0x00000007/42"
    assert str(messages.Error(type=99, code=3)) == "type 99/code 3"
