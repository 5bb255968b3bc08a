"""Bytes to actions, instructions and buckets. What this room has no value for becomes an UnknownAction."""

from __future__ import annotations

import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from antrea_proxy.openflow import actions
from antrea_proxy.openflow.actions import Action, UnknownAction
from antrea_proxy.openflow.constants import (
    NETRONOME,
    NICIRA,
    NO_RECIRCULATION,
    OFPP_MAX,
    ActionType,
    BucketProperty,
    ConntrackFlags,
    Cookie,
    GroupId,
    Instruction,
    LearnFlags,
    NatFlags,
    NatKind,
    NatRange,
    NiciraAction,
    TableId,
)
from antrea_proxy.openflow.errors import DecodeError, InvalidValueError
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.groups import Bucket, SelectionMethod
from antrea_proxy.openflow.match_decoding import read_condition, read_field_header
from antrea_proxy.openflow.reading import take, type_length_values, unpack

_OUTPUT: Final = struct.Struct("!4xIH6x")
_WORD_AT_4: Final = struct.Struct("!4xI")
_NICIRA: Final = struct.Struct("!4xIH")
_COPY: Final = struct.Struct("!4xHHH2x")
_OUTPUT_REGISTER: Final = struct.Struct("!10xH")
_RESUBMIT: Final = struct.Struct("!10xHB3x")
_CONNTRACK: Final = struct.Struct("!10xHIHB3xH")
_NAT: Final = struct.Struct("!12xHH")
_LEARN: Final = struct.Struct("!10xHHHQHBxHH")
_HALF: Final = struct.Struct("!H")
_BUCKET: Final = struct.Struct("!HHI")
_PROPERTY_HALF: Final = struct.Struct("!4xH")
_SELECTION: Final = struct.Struct("!4xIII")

_RESERVED_PORT_OF_16_BITS: Final = 0xFF00
_NO_CHANGE_BITS: Final = 0x1F
_MAX_NESTING: Final = 4


def decode_actions(data: bytes, *, depth: int = 0) -> tuple[Action, ...]:
    """Return the actions of `data`.

    Raises DecodeError for bytes that are no list of actions.
    """
    return tuple(_decode_action(kind, element, depth) for kind, element in type_length_values("actions", data))


def _decode_action(kind: int, data: bytes, depth: int) -> Action:
    """One action. What it holds may be of a form that this room does not write: then it stays as it is."""
    try:
        if kind == ActionType.EXPERIMENTER:
            experimenter, subtype = unpack("experimenter action", _NICIRA, data)
            decoder = _NICIRA_DECODERS.get(subtype) if experimenter == NICIRA else None
            if subtype == NiciraAction.CT and experimenter == NICIRA:
                return _conntrack(data, depth)
        else:
            decoder = _STANDARD_DECODERS.get(kind)
        return UnknownAction(data) if decoder is None else decoder(data)
    except InvalidValueError:
        return UnknownAction(data)


def _output(data: bytes) -> Action:
    port, max_len = unpack("output", _OUTPUT, data)
    return actions.Output(port, max_len)


def _group(data: bytes) -> Action:
    (group_id,) = unpack("group", _WORD_AT_4, data)
    return actions.Group(GroupId(group_id))


def _decrement_ttl(_data: bytes) -> Action:
    return actions.DecrementTtl()


def _set_field(data: bytes) -> Action:
    field, value, mask, _end = read_condition(data, 4)
    return actions.SetField(field, value, mask)


def _copy_field(data: bytes) -> Action:
    n_bits, src_offset, dst_offset = unpack("copy_field", _COPY, data)
    src = read_field_header(data, _COPY.size, with_value=False)
    dst = read_field_header(data, src.end, with_value=False)
    return actions.CopyField(src.field, dst.field, n_bits, src_offset, dst_offset)


def _output_register(data: bytes) -> Action:
    (slice_bits,) = unpack("output to a register", _OUTPUT_REGISTER, data)
    field = read_field_header(data, _OUTPUT_REGISTER.size, with_value=False).field
    offset, n_bits = slice_bits >> 6, (slice_bits & 0x3F) + 1
    return actions.OutputRegister(field, offset=offset, n_bits=None if offset + n_bits == field.bits else n_bits)


def _resubmit(data: bytes) -> Action:
    port, table = unpack("resubmit", _RESUBMIT, data)
    reserved = port >= _RESERVED_PORT_OF_16_BITS
    return actions.Resubmit(TableId(table), port | OFPP_MAX & 0xFFFF0000 if reserved else port)


def _conntrack_clear(_data: bytes) -> Action:
    return actions.ConntrackClear()


_NAT_KINDS: Final = {0: NatKind.RESTORE, 1: NatKind.SRC, 2: NatKind.DST}


def _nat(data: bytes) -> Action:
    flags, present = unpack("nat", _NAT, data)
    kind = _NAT_KINDS.get(flags & 3)
    if kind is None or flags & ~_NO_CHANGE_BITS:
        return UnknownAction(data)
    offset = _NAT.size
    addresses: list[IPv4Address | IPv6Address | None] = [None, None]
    for place, (four, six) in enumerate(
        ((NatRange.IPV4_MIN, NatRange.IPV6_MIN), (NatRange.IPV4_MAX, NatRange.IPV6_MAX))
    ):
        if present & four:
            addresses[place] = IPv4Address(take("nat", data, offset, 4))
            offset += 4
        elif present & six:
            addresses[place] = IPv6Address(take("nat", data, offset, 16))
            offset += 16
    ports: list[int | None] = [None, None]
    for place, bit in enumerate((NatRange.PORT_MIN, NatRange.PORT_MAX)):
        if present & bit:
            (ports[place],) = unpack("nat", _HALF, data, offset)
            offset += _HALF.size
    return actions.Nat(
        kind=kind,
        address_min=addresses[0],
        address_max=addresses[1],
        port_min=ports[0],
        port_max=ports[1],
        flags=NatFlags(flags & ~3),
    )


def _conntrack(data: bytes, depth: int) -> Action:
    flags, zone_source, zone, table, helper = unpack("ct", _CONNTRACK, data)
    if zone_source or helper or flags & ~3 or depth >= _MAX_NESTING:
        return UnknownAction(data)
    within: list[actions.SetField | actions.CopyField | actions.Nat] = []
    for action in decode_actions(data[_CONNTRACK.size :], depth=depth + 1):
        if not isinstance(action, actions.SetField | actions.CopyField | actions.Nat):
            return UnknownAction(data)
        within.append(action)
    return actions.Conntrack(
        zone,
        None if table == NO_RECIRCULATION else TableId(table),
        commit=bool(flags & ConntrackFlags.COMMIT),
        force=bool(flags & ConntrackFlags.FORCE),
        actions=tuple(within),
    )


def _learn(data: bytes) -> Action:
    idle, hard, priority, cookie, flags, table, fin_idle, fin_hard = unpack("learn", _LEARN, data)
    specs: list[actions.LearnSpec] = []
    offset = _LEARN.size
    while offset + _HALF.size <= len(data):
        (header,) = unpack("learn", _HALF, data, offset)
        if not header:
            break
        spec, offset = _learn_spec(header, data, offset + _HALF.size)
        if spec is None:
            return UnknownAction(data)
        specs.append(spec)
    return actions.Learn(
        table=TableId(table),
        priority=priority,
        specs=tuple(specs),
        cookie=Cookie(cookie),
        idle_timeout=idle,
        hard_timeout=hard,
        fin_idle_timeout=fin_idle,
        fin_hard_timeout=fin_hard,
        flags=LearnFlags(flags),
    )


def _subfield(data: bytes, offset: int) -> tuple[Field, int, int]:
    header = read_field_header(data, offset, with_value=False)
    (bit,) = unpack("learn", _HALF, data, header.end)
    return header.field, bit, header.end + _HALF.size


_LEARN_KINDS: Final[dict[int, type[actions.LearnMatch | actions.LearnLoad]]] = {
    0: actions.LearnMatch,
    1: actions.LearnLoad,
}


def _learn_spec(header: int, data: bytes, offset: int) -> tuple[actions.LearnSpec | None, int]:
    """One flow_mod_spec (nicira-ext.h): bit 13 tells whether the source is a number, bits 12 and 11 what is made."""
    n_bits, destination = header & 0x3FF, header >> 11 & 3
    source: int | Field
    source_offset = 0
    if header >> 13 & 1:
        length = (n_bits + 15) // 16 * 2
        source = int.from_bytes(take("learn", data, offset, length), "big")
        offset += length
    else:
        source, source_offset, offset = _subfield(data, offset)
    if destination == 2:  # noqa: PLR2004  # the number of an output
        if isinstance(source, int):
            return None, offset
        width = None if source_offset + n_bits == source.bits else n_bits
        return actions.LearnOutput(source, n_bits=width, source_offset=source_offset), offset
    field, field_offset, offset = _subfield(data, offset)
    width = None if field_offset + n_bits == field.bits else n_bits
    if destination not in _LEARN_KINDS:
        return None, offset
    kind = _LEARN_KINDS[destination]
    return kind(field, source, n_bits=width, offset=field_offset, source_offset=source_offset), offset


_STANDARD_DECODERS: Final[dict[int, Callable[[bytes], Action]]] = {
    ActionType.OUTPUT: _output,
    ActionType.GROUP: _group,
    ActionType.DEC_NW_TTL: _decrement_ttl,
    ActionType.SET_FIELD: _set_field,
    ActionType.COPY_FIELD: _copy_field,
}
_NICIRA_DECODERS: Final[dict[int, Callable[[bytes], Action]]] = {
    NiciraAction.RESUBMIT_TABLE: _resubmit,
    NiciraAction.OUTPUT_REG: _output_register,
    NiciraAction.LEARN: _learn,
    NiciraAction.NAT: _nat,
    NiciraAction.CT_CLEAR: _conntrack_clear,
}


def decode_instructions(data: bytes) -> tuple[Action, ...]:
    """Return the actions of the apply-actions instruction; any other instruction as an UnknownAction of all its bytes.

    Raises DecodeError for bytes that are no instructions.
    """
    found: list[Action] = []
    for kind, element in type_length_values("instructions", data):
        if kind == Instruction.APPLY_ACTIONS:
            found.extend(decode_actions(element[8:]))
        else:
            found.append(UnknownAction(element))
    return tuple(found)


def decode_buckets(data: bytes) -> tuple[Bucket, ...]:
    """Return a group's buckets; properties that this room does not know are left out.

    Raises DecodeError for bytes that are no buckets.
    """
    buckets: list[Bucket] = []
    offset = 0
    while offset < len(data):
        length, actions_length, bucket_id = unpack("bucket", _BUCKET, data, offset)
        if length < _BUCKET.size + actions_length:
            raise DecodeError(f"bucket {bucket_id}: {length} bytes cannot hold {actions_length} bytes of actions")
        body = take(f"bucket {bucket_id}", data, offset + _BUCKET.size, length - _BUCKET.size)
        found = dict(type_length_values(f"bucket {bucket_id}'s properties", body[actions_length:]))
        group = _property_word(found, BucketProperty.WATCH_GROUP)
        buckets.append(
            Bucket(
                bucket_id=bucket_id,
                actions=decode_actions(body[:actions_length]),
                weight=_property_half(found, BucketProperty.WEIGHT),
                watch_port=_property_word(found, BucketProperty.WATCH_PORT),
                watch_group=None if group is None else GroupId(group),
            )
        )
        offset += length
    return tuple(buckets)


def _property_half(found: dict[int, bytes], kind: BucketProperty) -> int | None:
    return unpack(f"bucket property {kind.name}", _PROPERTY_HALF, found[kind])[0] if kind in found else None


def _property_word(found: dict[int, bytes], kind: BucketProperty) -> int | None:
    return unpack(f"bucket property {kind.name}", _WORD_AT_4, found[kind])[0] if kind in found else None


def decode_selection_method(properties: bytes) -> SelectionMethod | None:
    """Return the selection method among a group's properties, or None.

    Raises DecodeError for bytes that are no properties.
    """
    for kind, element in type_length_values("group properties", properties):
        if kind != ActionType.EXPERIMENTER:
            continue
        experimenter, subtype, _pad = unpack("group property", _SELECTION, element)
        if experimenter == NETRONOME and subtype == 1:
            return _selection_method(element)
    return None


def _selection_method(data: bytes) -> SelectionMethod:
    name = take("selection method", data, 16, 16).rstrip(b"\0").decode("ascii", "backslashreplace")
    parameter = int.from_bytes(take("selection method", data, 32, 8), "big")
    chosen: list[tuple[Field, int]] = []
    offset = 40
    while offset < len(data):
        field, mask, _none, offset = read_condition(data, offset)
        chosen.append((field, mask))
    return SelectionMethod(name=name, parameter=parameter, fields=tuple(chosen))
