"""Templates find their holes, refuse what they cannot stamp, and bundles wrap what they are given."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
import pytest

from antrea_proxy.openflow import actions, fields
from antrea_proxy.openflow.batch_encoding import Hole, Template, bundle, frame_lengths, in_chunks, message_count
from antrea_proxy.openflow.constants import BundleControlType, BundleFlags, Cookie, GroupId, NatKind, TableId
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.errors import DecodeError, InvalidValueError
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Bucket, BundleAdd, BundleControl, FlowMod, GroupMod


def _service(address: int, port: int, group: int, cookie: int = 0) -> FlowMod:
    return FlowMod(
        table=TableId(5),
        priority=200,
        cookie=Cookie(cookie),
        match=Match(
            (fields.ETH_TYPE, 0x0800), (fields.IP_PROTO, 6), (fields.IPV4_DST, address), (fields.TCP_DST, port)
        ),
        actions=(actions.SetField(fields.REG4, group), actions.Group(GroupId(group))),
    )


def _group(group: int, address: int, port: int) -> GroupMod:
    choice = actions.Conntrack(1, commit=True, actions=(actions.Nat(NatKind.DST, IPv4Address(address), port_min=port),))
    return GroupMod(group_id=GroupId(group), buckets=(Bucket(bucket_id=0, weight=1, actions=(choice,)),))


def test_a_value_that_stands_in_two_places_is_stamped_into_both() -> None:
    """A value that stands in two places is stamped into both."""
    template = Template.of(_service, {"address": 4, "port": 2, "group": 4, "cookie": 8})
    assert len(template.places["group"]) == 2
    rows = template.stamp(
        {
            "address": np.array([0x0A600001, 0x0A600002], dtype=np.uint32),
            "port": np.array([80, 443], dtype=np.uint16),
            "group": np.array([7, 8]),
            "cookie": np.array([1 << 63, 1], dtype=np.uint64),
        }
    )
    assert rows[0].tobytes() == encode(_service(0x0A600001, 80, 7, 1 << 63))
    assert rows[1].tobytes() == encode(_service(0x0A600002, 443, 8, 1))


def test_a_hole_deep_within_a_bucket_is_found() -> None:
    """A hole deep within a bucket is found."""
    template = Template.of(_group, {"group": 4, "address": 4, "port": 2})
    columns = {"group": np.array([3]), "address": np.array([[10, 0, 0, 9]], dtype=np.uint8), "port": np.array([53])}
    assert template.stamp(columns)[0].tobytes() == encode(_group(3, 0x0A000009, 53))


def test_a_transaction_id_can_be_a_hole() -> None:
    """A transaction id can be a hole."""
    template = Template.of(_service, {"address": 4, "port": 2, "group": 4, "xid": 4})
    row = template.stamp({name: np.array([5]) for name in ("address", "port", "group", "xid")})[0]
    assert row.tobytes() == encode(_service(5, 5, 5), xid=5)


def test_a_hole_of_16_bytes_takes_bytes_or_small_numbers() -> None:
    """A hole of 16 bytes takes bytes or small numbers."""

    def build(address: int) -> FlowMod:
        return FlowMod(table=TableId(1), match=Match((fields.ETH_TYPE, 0x86DD), (fields.IPV6_DST, address)))

    template = Template.of(build, {"address": 16})
    address = 0xFD00_0000_0000_0000_0000_0000_0000_1234
    as_bytes = np.frombuffer(address.to_bytes(16, "big"), dtype=np.uint8)[np.newaxis]
    assert template.stamp({"address": as_bytes})[0].tobytes() == encode(build(address))
    assert template.stamp({"address": np.array([5])})[0].tobytes() == encode(build(5))


def test_a_hole_of_few_bits_within_a_mask_is_stamped_and_held_to_its_bits() -> None:
    """A hole of few bits within a mask is stamped and held to its bits."""

    def build(slot: int) -> FlowMod:
        return FlowMod(table=TableId(1), match=Match((fields.REG7, slot, 0xFFF)))

    template = Template.of(build, {"slot": Hole(2, bits=12)})
    assert template.stamp({"slot": np.array([0xABC])})[0].tobytes() == encode(build(0xABC))
    with pytest.raises(InvalidValueError, match="12 bits are at hand"):
        template.stamp({"slot": np.array([0x1000])})


def test_a_template_without_holes_is_stamped_as_often_as_asked() -> None:
    """A template without holes is stamped as often as asked."""
    template = Template.of(lambda: FlowMod(table=TableId(1)), {})
    assert template.stamp({}, rows=3).tobytes() == encode(FlowMod(table=TableId(1))) * 3


def test_a_column_without_rows_gives_no_message() -> None:
    """A column without rows gives no message."""
    template = Template.of(_group, {"group": 4, "address": 4, "port": 2})
    nothing = np.array([], dtype=np.uint32)
    assert template.stamp({"group": nothing, "address": nothing, "port": nothing}).shape == (0, len(template))


@pytest.mark.parametrize(
    ("holes", "words"),
    [
        ({"address": 4, "port": 2, "group": 4, "cookie": 4}, "fits|runs of|follow the holes"),
        ({"address": 4, "port": 2, "group": 4, "cookie": 17}, "a hole is 1 to 16 bytes"),
    ],
)
def test_a_hole_that_is_not_of_the_width_of_its_number_is_refused(holes: dict[str, int], words: str) -> None:
    """A hole that is not of the width of its number is refused."""
    with pytest.raises(InvalidValueError, match=words):
        Template.of(lambda address, port, group, cookie: _service(address, port, group, cookie << 3), holes)


def test_a_hole_that_shows_nowhere_is_refused() -> None:
    """A hole that shows nowhere is refused."""
    with pytest.raises(InvalidValueError, match="hole ignored shows in 0 bytes"):
        Template.of(lambda ignored: FlowMod(table=TableId(ignored // 256)), {"ignored": 1})


def test_a_number_on_which_the_length_depends_is_refused() -> None:
    """A number on which the length depends is refused."""
    with pytest.raises(InvalidValueError, match="depending on its holes"):
        Template.of(
            lambda count: FlowMod(table=TableId(1), actions=(actions.DecrementTtl(),) * (count % 3)), {"count": 1}
        )


def test_bytes_that_do_not_follow_their_hole_alone_are_refused() -> None:
    """Bytes that do not follow their hole alone are refused."""
    with pytest.raises(InvalidValueError, match="follow the holes"):
        Template.of(
            lambda low, high: FlowMod(table=TableId(low), priority=high if high < 0x300 else 1), {"low": 1, "high": 2}
        )


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"group": np.array([1])}, "holes are"),
        ({"group": np.array([1, 2]), "address": np.array([1]), "port": np.array([1])}, "rows"),
        ({"group": np.array([-1]), "address": np.array([1]), "port": np.array([1])}, "column group"),
        ({"group": np.array([1]), "address": np.array([1]), "port": np.array([65536])}, "16 bits are at hand"),
        ({"group": np.array([1.5]), "address": np.array([1]), "port": np.array([1])}, "give integers"),
        ({"group": np.array([1]), "address": np.zeros((1, 3), np.uint8), "port": np.array([1])}, "give 4 bytes"),
    ],
)
def test_a_column_that_does_not_fit_is_refused(columns: dict[str, np.ndarray], words: str) -> None:
    """A column that does not fit is refused."""
    template = Template.of(_group, {"group": 4, "address": 4, "port": 2})
    with pytest.raises(InvalidValueError, match=words):
        template.stamp(columns)


def test_a_bundle_holds_its_messages_in_order_with_transaction_ids_of_its_own() -> None:
    """A bundle holds its messages in order with transaction ids of its own."""
    template = Template.of(_group, {"group": 4, "address": 4, "port": 2})
    matrix = template.stamp({"group": np.array([1, 2]), "address": np.array([3, 4]), "port": np.array([5, 6])})
    single = _service(1, 2, 3)
    data = bundle([encode(single, xid=99), matrix, encode(single)], bundle_id=9, first_xid=100)
    frames, offset = [], 0
    for length in frame_lengths(data):
        frames.append(decode(data[offset : offset + length]))
        offset += length
    atomic = BundleFlags.ATOMIC | BundleFlags.ORDERED
    wanted: list[FlowMod | GroupMod] = [single, _group(1, 3, 5), _group(2, 4, 6), single]
    assert frames == [
        (BundleControl(bundle_id=9, type=BundleControlType.OPEN_REQUEST, flags=atomic), 100),
        *((BundleAdd(bundle_id=9, message=message), 101 + place) for place, message in enumerate(wanted)),
        (BundleControl(bundle_id=9, type=BundleControlType.CLOSE_REQUEST, flags=atomic), 105),
    ]


def test_single_messages_and_rows_are_wrapped_alike_with_the_outer_transaction_id_inside() -> None:
    """Single messages and rows are wrapped alike, with the outer transaction id inside (OpenFlow 1.5.1, 7.3.9.6)."""
    messages = [encode(_service(1, 2, 3), xid=99), encode(_service(4, 5, 6))]
    rows = np.stack([np.frombuffer(message, np.uint8) for message in messages])
    data = bundle(messages, bundle_id=9, first_xid=100)
    assert bundle([rows], bundle_id=9, first_xid=100) == data
    opening, length, *_ = frame_lengths(data)
    added = data[opening : opening + length]
    assert added[4:8] == added[20:24] == (101).to_bytes(4, "big")


def test_a_message_too_long_to_be_wrapped_is_refused() -> None:
    """A message too long to be wrapped is refused."""
    with pytest.raises(InvalidValueError, match="at most 65519 can be wrapped"):
        bundle([bytes(65520)], bundle_id=1)


def test_chunks_keep_the_order_and_the_limit() -> None:
    """Chunks keep the order and the limit."""
    matrix = np.arange(7, dtype=np.uint8).reshape(7, 1)
    messages: list[bytes | np.ndarray] = [b"a", matrix, b"b", matrix[:2], b"c"]
    chunks = list(in_chunks(messages, limit=3))
    assert [message_count(chunk) for chunk in chunks] == [3, 3, 3, 3]
    assert b"".join(part if isinstance(part, bytes) else part.tobytes() for chunk in chunks for part in chunk) == (
        b"a\0\1\2\3\4\5\6b\0\1c"
    )
    assert list(in_chunks([], limit=3)) == []


def test_frame_lengths_refuse_bytes_that_end_within_a_message() -> None:
    """Frame lengths refuse bytes that end within a message."""
    data = encode(FlowMod(table=TableId(1)))
    assert frame_lengths(data * 2) == [len(data)] * 2
    with pytest.raises(DecodeError, match="are left"):
        frame_lengths(data[:-1])
