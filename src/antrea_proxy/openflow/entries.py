"""What the switch lists: flows, groups, ports, counters.

The parts of a flow or group are decoded when they are asked for: a dump of 100,000 flows is split into entries at once,
and of most of them nobody needs more than their bytes, to compare.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from antrea_proxy.openflow.action_decoding import decode_buckets, decode_instructions, decode_selection_method
from antrea_proxy.openflow.actions import Action
from antrea_proxy.openflow.constants import (
    Cookie,
    FlowModFlags,
    GroupId,
    GroupType,
    PortConfig,
    PortState,
    TableId,
)
from antrea_proxy.openflow.groups import Bucket, SelectionMethod
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.match_decoding import decode_conditions
from antrea_proxy.openflow.reading import take, unpack

_OXS_HEADER: Final = struct.Struct("!HBB")
_OXS_CLASS: Final = 0x8002
_DURATION, _IDLE_TIME, _FLOW_COUNT, _PACKET_COUNT, _BYTE_COUNT = 0, 1, 3, 4, 5


class FlowStats(NamedTuple):
    """A flow's counters (OpenFlow 1.5.1 section 7.2.4); times in seconds. What the switch does not tell is None."""

    packet_count: int | None
    byte_count: int | None
    flow_count: int | None
    duration: float | None
    idle_time: float | None


def decode_stats(data: bytes) -> FlowStats:
    """Return the counters whose OXS fields, without header and padding, are `data`.

    Raises DecodeError for bytes that are no such fields.
    """
    found: dict[int, int] = {}
    offset = 0
    while offset < len(data):
        oxs_class, number, length = unpack("statistics", _OXS_HEADER, data, offset)
        offset += _OXS_HEADER.size
        value = take("statistics", data, offset, length)
        offset += length
        if oxs_class == _OXS_CLASS:
            found[number >> 1] = int.from_bytes(value, "big")
    return FlowStats(
        packet_count=found.get(_PACKET_COUNT),
        byte_count=found.get(_BYTE_COUNT),
        flow_count=found.get(_FLOW_COUNT),
        duration=_seconds(found.get(_DURATION)),
        idle_time=_seconds(found.get(_IDLE_TIME)),
    )


def _seconds(value: int | None) -> float | None:
    """Seconds in the upper half, nanoseconds in the lower."""
    return None if value is None else (value >> 32) + (value & 0xFFFFFFFF) / 1e9


class FlowDesc(NamedTuple):
    """A flow as the switch holds it. `match_bytes` equals encoding.match_bytes of the match with which it was written.

    `instruction_bytes` equals encoding.encode_instructions of its actions, as long as the switch keeps them as written.
    """

    table: TableId
    priority: int
    cookie: Cookie
    idle_timeout: int
    hard_timeout: int
    flags: FlowModFlags
    importance: int
    match_bytes: bytes
    stats_bytes: bytes
    instruction_bytes: bytes

    @property
    def match(self) -> Match:
        """Return what it matches. Raises DecodeError."""
        return decode_conditions(self.match_bytes)

    @property
    def actions(self) -> tuple[Action, ...]:
        """Return what it does. Raises DecodeError."""
        return decode_instructions(self.instruction_bytes)

    @property
    def stats(self) -> FlowStats:
        """Its counters. Raises DecodeError."""
        return decode_stats(self.stats_bytes)


class GroupDesc(NamedTuple):
    """A group as the switch holds it; `bucket_bytes` and `property_bytes` are those of the GroupMod that wrote it."""

    group_id: GroupId
    type: GroupType
    bucket_bytes: bytes
    property_bytes: bytes

    @property
    def raw(self) -> bytes:
        """Buckets and properties, to compare with."""
        return self.bucket_bytes + self.property_bytes

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Its buckets. Raises DecodeError."""
        return decode_buckets(self.bucket_bytes)

    @property
    def selection_method(self) -> SelectionMethod | None:
        """How it chooses. Raises DecodeError."""
        return decode_selection_method(self.property_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Packets and bytes."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStats:
    """A group's counters; `duration` in seconds, `references` the flows and groups that point to it."""

    group_id: GroupId
    references: int
    total: Counters
    duration: float
    buckets: tuple[Counters, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDesc:
    """A port of the switch."""

    port: int
    name: str
    hardware_address: bytes
    config: PortConfig
    state: PortState
