"""Compiled flows and groups, indexed for a walk: flows of the same fields and masks are one hash table.

That is the switch's own tuple space search. Of a flow only the headers of its match are read here, and its actions
when a packet meets it, so that the index of 30,000 flows takes a fraction of a second.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.action_decoding import decode_buckets, decode_instructions, decode_selection_method
from antrea_proxy.openflow.actions import Action
from antrea_proxy.openflow.constants import Cookie, GroupId, GroupType
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.groups import Bucket
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.match_decoding import decode_conditions, read_field_header
from antrea_proxy.openflow.reading import rounded
from antrea_proxy.pipeline.units import FlowEntry, Owner, Unit

_TABLE: Final = 24
_PRIORITY: Final = slice(30, 32)
_MATCH_LENGTH: Final = slice(50, 52)
_MATCH: Final = 48
_CONDITIONS: Final = 52
"""Where these stand in a FlowMod (OpenFlow 1.5.1 section 7.3.4.2)."""

_GROUP_TYPE: Final = 10
_BUCKETS_LENGTH: Final = slice(16, 18)
_BUCKETS: Final = 24
_BUCKET: Final = struct.Struct("!HH")
_BUCKET_HEADER: Final = 8
"""Where these stand in a GroupMod (section 7.3.4.3)."""

_WIDE: Final[Mapping[Field, tuple[Field, ...]]] = {
    **{wide: fields.REGISTERS[2 * place : 2 * place + 2] for place, wide in enumerate(fields.XREGISTERS)},
    **{wide: fields.REGISTERS[4 * place : 4 * place + 4] for place, wide in enumerate(fields.XXREGISTERS)},
}
_KNOWN: Final = frozenset(fields.ALL)

DP_HASH: Final = "dp_hash"
"""The selection method by which the datapath hashes; also a select group's that names none (ovs-ofctl(8))."""


class CompiledFlow(NamedTuple):
    """A flow as it was compiled; its match and actions are decoded when asked for."""

    priority: int
    owner: Owner
    cookie: Cookie
    message: bytes

    @property
    def table(self) -> int:
        """The number of its table."""
        return self.message[_TABLE]

    @property
    def match_bytes(self) -> bytes:
        """The conditions of its match, encoded."""
        return self.message[_CONDITIONS : _match_end(self.message)]

    @property
    def instruction_bytes(self) -> bytes:
        """What it does, encoded."""
        return self.message[_MATCH + rounded(int.from_bytes(self.message[_MATCH_LENGTH], "big")) :]

    @property
    def match(self) -> Match:
        """What it matches. Raises DecodeError."""
        return decode_conditions(self.match_bytes)

    @property
    def actions(self) -> tuple[Action, ...]:
        """What it does; nothing if it drops. Raises DecodeError."""
        return decode_instructions(self.instruction_bytes)

    @classmethod
    def of(cls, owner: Owner, entry: FlowEntry) -> CompiledFlow:
        """Take a flow of a unit."""
        return cls(int.from_bytes(entry.message[_PRIORITY], "big"), owner, entry.cookie, entry.message)


class CompiledGroup(NamedTuple):
    """A group as it was compiled."""

    group_id: GroupId
    owner: Owner
    message: bytes

    @property
    def type(self) -> GroupType:
        """How it uses its buckets."""
        return GroupType(self.message[_GROUP_TYPE])

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Its buckets. Raises DecodeError."""
        return decode_buckets(self.message[_BUCKETS : self._buckets_end])

    @property
    def hashes(self) -> bool:
        """Whether the datapath hashes the packet for it: a recirculation, unless the packet was hashed before."""
        return self.type is GroupType.SELECT and self.method == DP_HASH

    @property
    def method(self) -> str:
        """How a select group chooses. Raises DecodeError."""
        method = decode_selection_method(self.message[self._buckets_end :])
        return DP_HASH if method is None else method.name

    @property
    def bucket_actions(self) -> Iterator[bytes]:
        """The actions of each bucket, encoded (section 7.3.4.3.1)."""
        offset, end = _BUCKETS, self._buckets_end
        while offset < end:
            length, actions_length = _BUCKET.unpack_from(self.message, offset)
            start = offset + _BUCKET_HEADER
            yield self.message[start : start + actions_length]
            offset += length

    @property
    def _buckets_end(self) -> int:
        return _BUCKETS + int.from_bytes(self.message[_BUCKETS_LENGTH], "big")


class Found(NamedTuple):
    """The answer of a table.

    `rivals` match with the same priority: which of them wins is not defined (OpenFlow 1.5.1 section 5.3). `unjudged`
    would win or be rivals, but match a field that no virtual packet has.
    """

    flow: CompiledFlow | None
    rivals: tuple[CompiledFlow, ...] = ()
    unjudged: tuple[CompiledFlow, ...] = ()


def value_of(field: Field, packet: Mapping[Field, int]) -> int:
    """Return the value of a field; what a packet lacks is 0, and a wide register is made of its parts."""
    parts = _WIDE.get(field)
    if parts is None:
        return packet.get(field, 0)
    value = 0
    for part in parts:
        value = value << part.bits | packet.get(part, 0)
    return value


def write(field: Field, value: int, mask: int, packet: dict[Field, int]) -> None:
    """Write the bits of `mask` of a field, or of the registers that a wide one is made of."""
    for part in reversed(_WIDE.get(field, (field,))):
        part_mask = mask & part.all_ones
        packet[part] = packet.get(part, 0) & ~part_mask | value & part_mask
        value, mask = value >> part.bits, mask >> part.bits


@dataclass(slots=True, kw_only=True)
class _Shape:
    """Matches on the same fields with the same masks: `fixed` selects the bits of their headers and masks."""

    fixed: int
    pattern: int
    values: int
    places: tuple[tuple[Field, int, int], ...]
    """Field, mask, and how many bits are to the right of its value."""
    unknown: bool
    flows: dict[int, dict[int, list[CompiledFlow]]] = field(default_factory=dict)
    """By table, then by the values."""

    def key_for(self, packet: Mapping[Field, int]) -> int:
        key = 0
        for place, mask, shift in self.places:
            key |= (value_of(place, packet) & mask) << shift
        return key

    @classmethod
    def of(cls, conditions: bytes) -> _Shape:
        """Read the shape of an encoded match."""
        fixed, values, offset, unknown = bytearray(b"\xff" * len(conditions)), bytearray(len(conditions)), 0, False
        places: list[tuple[Field, int, int]] = []
        while offset < len(conditions):
            header = read_field_header(conditions, offset, with_value=True)
            length = header.payload_length // 2 if header.masked else header.payload_length
            offset = header.end + header.payload_length
            value_end = header.end + length
            mask = int.from_bytes(conditions[value_end:offset], "big") if header.masked else header.field.all_ones
            fixed[header.end : value_end] = bytes(length)
            if header.field in _KNOWN:
                values[header.end : value_end] = b"\xff" * length
                places.append((header.field, mask, 8 * (len(conditions) - value_end)))
            else:
                unknown = True
        fixed_bits = int.from_bytes(fixed, "big")
        return cls(
            fixed=fixed_bits,
            pattern=int.from_bytes(conditions, "big") & fixed_bits,
            values=int.from_bytes(values, "big"),
            places=tuple(places),
            unknown=unknown,
        )


class CompiledTables:
    """All flows and groups of these units, to be looked up by packets. Units are not looked at again later."""

    def __init__(self, units: Mapping[Owner, Unit]) -> None:
        self._units = dict(units)

    def plus(self, owner: Owner, unit: Unit) -> CompiledTables:
        """These tables with one more unit."""
        return CompiledTables(self._units | {owner: unit})

    @cached_property
    def _shapes(self) -> tuple[_Shape, ...]:
        by_length: dict[int, list[_Shape]] = {}
        for owner, unit in self._units.items():
            for entry in unit.flows:
                flow = CompiledFlow.of(owner, entry)
                conditions = flow.match_bytes
                bits = int.from_bytes(conditions, "big")
                shapes = by_length.setdefault(len(conditions), [])
                for shape in shapes:
                    if bits & shape.fixed == shape.pattern:
                        break
                else:
                    shape = _Shape.of(conditions)
                    shapes.append(shape)
                shape.flows.setdefault(flow.table, {}).setdefault(bits & shape.values, []).append(flow)
        return tuple(shape for shapes in by_length.values() for shape in shapes)

    @cached_property
    def groups(self) -> Mapping[GroupId, CompiledGroup]:
        """The groups by number."""
        return {
            group.group_id: CompiledGroup(group.group_id, owner, group.message)
            for owner, unit in self._units.items()
            for group in unit.groups
        }

    def look_up(self, table: int, packet: Mapping[Field, int]) -> Found:
        """Find the flow of `table` with the highest priority that the packet's fields match."""
        matching: list[CompiledFlow] = []
        unjudged: list[CompiledFlow] = []
        for shape in self._shapes:
            by_values = shape.flows.get(table)
            if by_values is not None:
                (unjudged if shape.unknown else matching).extend(by_values.get(shape.key_for(packet), ()))
        best = max((flow.priority for flow in matching), default=-1)
        winners = [flow for flow in matching if flow.priority == best]
        return Found(
            winners[-1] if winners else None,
            tuple(winners[:-1]),
            tuple(flow for flow in unjudged if flow.priority >= best),
        )


def all_flows(units: Mapping[Owner, Unit]) -> Iterable[CompiledFlow]:
    """Every flow of the units, with its owner."""
    for owner, unit in units.items():
        for entry in unit.flows:
            yield CompiledFlow.of(owner, entry)


def _match_end(message: bytes) -> int:
    return _MATCH + int.from_bytes(message[_MATCH_LENGTH], "big")
