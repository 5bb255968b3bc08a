"""The reference encoder writes what the specification says, and names what does not fit."""

from __future__ import annotations

import pytest

from antrea_proxy.openflow import actions, fields, messages
from antrea_proxy.openflow.constants import OFPP_NORMAL, Cookie, GroupId, TableId
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.errors import InvalidValueError
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Message


def test_a_flow_mod_has_the_bytes_of_section_7_3_4_2() -> None:
    """A flow mod has the bytes of section 7 3 4 2."""
    message = messages.FlowMod(
        table=TableId(3),
        priority=0x1234,
        cookie=Cookie(0xAABB),
        match=Match((fields.ETH_TYPE, 0x0806)),
        actions=(actions.Output(OFPP_NORMAL),),
    )
    assert encode(message, xid=0x99).hex(" ", 4) == (
        "060e0058 00000099 "  # version, type, length, transaction
        "00000000 0000aabb 00000000 00000000 "  # cookie and its mask
        "03000000 00001234 ffffffff ffffffff ffffffff 00000000 "  # table, command, time-outs, priority, …
        "0001000a 80000a02 08060000 00000000 "  # match: OXM, 10 bytes, eth_type
        "00040018 00000000 "  # apply-actions
        "00000010 fffffffa 00000000 00000000"  # output
    )


def test_a_drop_has_no_instruction() -> None:
    """A drop has no instruction."""
    assert encode(messages.FlowMod(table=TableId(0)))[-8:].hex() == "0001000400000000"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (messages.FlowMod(table=TableId(256)), "FlowMod: table = 256"),
        (messages.FlowMod(table=TableId(0), priority=65536), "FlowMod: priority = 65536"),
        (messages.FlowMod(table=TableId(0), cookie=Cookie(1 << 64)), "FlowMod: cookie"),
        (messages.FlowMod(table=TableId(0), hard_timeout=-1), "FlowMod: hard_timeout = -1"),
        (
            messages.GroupMod(group_id=GroupId(1), buckets=(messages.Bucket(bucket_id=0, actions=(), weight=65536),)),
            "Bucket: weight = 65536",
        ),
        (
            messages.GroupMod(group_id=GroupId(1), selection_method=messages.SelectionMethod(name="x" * 16)),
            "is not 1 to 15 bytes",
        ),
        (messages.FlowMod(table=TableId(0), actions=(actions.DecrementTtl(),) * 9000), "take 72008 bytes"),
        (messages.FeaturesReply(datapath_id=1), "FeaturesReply is sent by the switch"),
    ],
)
def test_what_has_no_bytes_is_refused_with_its_place(message: Message, words: str) -> None:
    """What has no bytes is refused with its place."""
    with pytest.raises(InvalidValueError) as caught:
        encode(message)
    assert words in str(caught.value)


def test_a_transaction_id_that_does_not_fit_is_refused() -> None:
    """A transaction id that does not fit is refused."""
    with pytest.raises(InvalidValueError, match="xid = 4294967296"):
        encode(messages.BarrierRequest(), xid=1 << 32)


def test_the_message_within_a_bundle_has_the_bundle_adds_transaction_id() -> None:
    """The message within a bundle has the bundle adds transaction id."""
    data = encode(messages.BundleAdd(bundle_id=1, message=messages.FlowMod(table=TableId(0))), xid=0x77)
    assert data[4:8] == data[20:24] == bytes((0, 0, 0, 0x77))
