"""For any value: what is encoded decodes to it, and the batch encoder writes what the reference encoder writes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from antrea_proxy.openflow import actions, fields
from antrea_proxy.openflow.batch_encoding import Template, bundle, frame_lengths
from antrea_proxy.openflow.constants import Cookie, GroupId, NatKind, TableId
from antrea_proxy.openflow.decoding import decode
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.errors import OpenFlowError
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Bucket, BundleAdd, FlowMod, GroupMod
from properties import openflow_values as values


@given(values.flow_mods() | values.group_mods(), values.numbers(32))
def test_any_flow_or_group_that_is_encoded_decodes_to_itself(message: FlowMod | GroupMod, xid: int) -> None:
    """Any flow or group that is encoded decodes to itself."""
    assert decode(encode(message, xid=xid)) == (message, xid)


@given(st.binary(max_size=200), st.sampled_from([0, 1, 6, 10, 12, 13, 14, 15, 19, 33, 34]))
def test_any_bytes_are_a_message_or_a_decode_error(body: bytes, kind: int) -> None:
    """Any bytes are a message or a decode error."""
    data = bytes((6, kind)) + (8 + len(body)).to_bytes(2, "big") + bytes(4) + body
    try:
        decode(data)
    except OpenFlowError as error:
        assert str(error)  # noqa: PT017  # both outcomes are right; what counts is that there is no third


@st.composite
def _columns(draw: st.DrawFn, limits: dict[str, tuple[int, int]]) -> dict[str, list[int]]:
    rows = draw(st.integers(min_value=1, max_value=4))
    return {
        name: draw(st.lists(st.integers(min_value=low, max_value=high), min_size=rows, max_size=rows))
        for name, (low, high) in limits.items()
    }


def _stamp(template: Template, columns: dict[str, list[int]]) -> list[bytes]:
    arrays: dict[str, Any] = {
        name: np.array(column, dtype=np.uint64)
        if template.holes[name].width <= 8
        else np.frombuffer(b"".join(value.to_bytes(16, "big") for value in column), np.uint8).reshape(-1, 16)
        for name, column in columns.items()
    }
    return [row.tobytes() for row in template.stamp(arrays)]


_FLOW = {
    "table": (0, 254),
    "priority": (0, 0xFFFF),
    "cookie": (0, (1 << 64) - 1),
    "address": (0, (1 << 128) - 1),
    "port": (0, 0xFFFF),
    "register": (0, 0xFFFFFFFF),
    "xid": (0, 0xFFFFFFFF),
}
_FLOW_HOLES = {"table": 1, "priority": 2, "cookie": 8, "address": 16, "port": 2, "register": 4, "xid": 4}


@given(_columns(_FLOW), values.any_actions())
@settings(max_examples=60)
def test_stamped_flows_are_those_of_the_reference_encoder(
    columns: dict[str, list[int]], others: tuple[actions.Action, ...]
) -> None:
    """For holes of every width: in the header, the match, the actions, and the transaction id."""

    def build(*, table: int, priority: int, cookie: int, address: int, port: int, register: int) -> FlowMod:
        return FlowMod(
            table=TableId(table),
            priority=priority,
            cookie=Cookie(cookie),
            match=Match(
                (fields.ETH_TYPE, 0x86DD),
                (fields.IP_PROTO, 17),
                (fields.IPV6_DST, address),
                (fields.UDP_DST, port),
                (fields.REG5, register),
            ),
            actions=(actions.SetField(fields.REG6, register), *others, actions.SetField(fields.XXREG0, address)),
        )

    stamped = _stamp(Template.of(build, _FLOW_HOLES), columns)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert stamped == [
        encode(build(**{name: value for name, value in row.items() if name != "xid"}), xid=row["xid"]) for row in rows
    ]


@st.composite
def _groups(draw: st.DrawFn) -> tuple[int, bool, dict[str, list[int]]]:
    count, six = draw(st.integers(min_value=1, max_value=12)), draw(st.booleans())
    limits = {"group": (0, 0xFFFFFF00)}
    for number in range(count):
        limits[f"address{number}"] = (1, (1 << (128 if six else 32)) - 1)
        limits[f"port{number}"] = (1, 0xFFFF)
        limits[f"weight{number}"] = (0, 0xFFFF)
        limits[f"mark{number}"] = (0, 0xFFFFFFFF)
    return count, six, draw(_columns(limits))


@given(_groups())
@settings(max_examples=60)
def test_stamped_groups_are_those_of_the_reference_encoder(shape: tuple[int, bool, dict[str, list[int]]]) -> None:
    """For any number of buckets, with the address and port of a nat within a ct within each of them."""
    count, six, columns = shape

    def build(group: int, **numbers: int) -> GroupMod:
        return GroupMod(
            group_id=GroupId(group),
            buckets=tuple(
                Bucket(
                    bucket_id=number,
                    weight=numbers[f"weight{number}"],
                    actions=(
                        actions.Conntrack(
                            65520,
                            commit=True,
                            actions=(
                                actions.Nat(
                                    NatKind.DST,
                                    (IPv6Address if six else IPv4Address)(numbers[f"address{number}"]),
                                    port_min=numbers[f"port{number}"],
                                ),
                                actions.SetField(fields.CT_MARK, numbers[f"mark{number}"]),
                            ),
                        ),
                    ),
                )
                for number in range(count)
            ),
        )

    widths = {"group": 4, "address": 16 if six else 4, "port": 2, "weight": 2, "mark": 4}
    template = Template.of(build, {name: widths[name.rstrip("0123456789")] for name in columns})
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert _stamp(template, columns) == [encode(build(**row)) for row in rows]


@given(
    st.lists(values.flow_mods() | values.group_mods(), max_size=5),
    st.integers(min_value=1, max_value=0xFFFFFFFF),
    st.integers(min_value=0, max_value=0xFFFFFF00),
)
@settings(max_examples=60)
def test_a_bundle_is_what_the_reference_encoder_writes_for_its_parts(
    messages: list[FlowMod | GroupMod], bundle_id: int, first_xid: int
) -> None:
    """A bundle is what the reference encoder writes for its parts."""
    data = bundle([encode(message) for message in messages], bundle_id=bundle_id, first_xid=first_xid)
    lengths = frame_lengths(data)
    wanted = b"".join(
        encode(BundleAdd(bundle_id=bundle_id, message=message), xid=first_xid + place)
        for place, message in enumerate(messages, start=1)
    )
    assert data[lengths[0] : -lengths[-1]] == wanted


@given(values.matches())
def test_a_match_does_not_depend_on_the_order_of_its_conditions(match: Match) -> None:
    """A match does not depend on the order of its conditions."""
    again = Match(*reversed(match.conditions))
    assert again == match
    flow = FlowMod(table=TableId(0), match=match)
    assert encode(replace(flow, match=again)) == encode(flow)
