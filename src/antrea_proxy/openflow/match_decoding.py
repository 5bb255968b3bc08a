"""Bytes to matches (OpenFlow 1.5.1 section 7.2.3)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.errors import DecodeError, InvalidValueError
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.reading import rounded, take, unpack

_OXM_HEADER: Final = struct.Struct("!HBB")
_WORD: Final = struct.Struct("!I")
_MATCH_HEADER: Final = struct.Struct("!HH")
OXM_MATCH: Final = 1
"""The only type of match of OpenFlow 1.5."""
_DEFAULT_PACKET_TYPE: Final = bytes.fromhex("8000580400000000")
"""packet_type=(0,0), Ethernet: Open vSwitch puts it first in a match that says nothing else of Ethernet."""


class FieldHeader(NamedTuple):
    """An OXM header: the field, whether a mask follows, the bytes of what follows, and where that starts."""

    field: Field
    masked: bool
    payload_length: int
    end: int


def read_field_header(data: bytes, offset: int, *, with_value: bool) -> FieldHeader:
    """Return the OXM header at `offset`; a field that this room does not know gets a Field named by its numbers.

    Raises DecodeError for bytes that end before, or a length that the field cannot have.
    """
    oxm_class, number_and_mask, length = unpack("field", _OXM_HEADER, data, offset)
    masked = bool(number_and_mask & 1) and with_value
    end = offset + _OXM_HEADER.size
    experimenter = None
    if oxm_class == fields.EXPERIMENTER_CLASS:
        (experimenter,) = unpack("experimenter field", _WORD, data, end)
        end += _WORD.size
        length -= _WORD.size
    number = number_and_mask >> 1
    value_length = length // 2 if masked else length
    if value_length < 1 or (masked and length % 2):
        raise DecodeError(f"field {oxm_class:#06x}:{number} at offset {offset}: {length} bytes are no value")
    known = fields.BY_HEADER.get((oxm_class, number)) if experimenter is None else None
    if known is not None and known.length != value_length and with_value:
        raise DecodeError(f"{known} at offset {offset}: a value of {value_length} bytes, {known.length} expected")
    return FieldHeader(known or _unknown_field(oxm_class, number, experimenter, value_length), masked, length, end)


def _unknown_field(oxm_class: int, number: int, experimenter: int | None, length: int) -> Field:
    name = f"field {oxm_class:#06x}:{number}" + ("" if experimenter is None else f":{experimenter:#010x}")
    return Field(name=name, oxm_class=oxm_class, number=number, bits=8 * length, experimenter=experimenter)


def read_condition(data: bytes, offset: int) -> tuple[Field, int, int | None, int]:
    """Return the condition at `offset`: its field, value, mask, and the offset after it.

    Raises DecodeError as read_field_header does.
    """
    field, masked, length, start = read_field_header(data, offset, with_value=True)
    payload = take(field.name, data, start, length)
    if not masked:
        return field, int.from_bytes(payload, "big"), None, start + length
    half = length // 2
    mask = int.from_bytes(payload[half:], "big")
    return field, int.from_bytes(payload[:half], "big"), mask & field.all_ones, start + length


def decode_conditions(data: bytes) -> Match:
    """Return the match whose conditions, without header and padding, are `data`.

    Raises DecodeError for bytes that are no conditions or contradict each other.
    """
    found: list[tuple[Field, int, int | None]] = []
    offset = 0
    while offset < len(data):
        field, value, mask, offset = read_condition(data, offset)
        if mask != 0:
            found.append((field, value, mask))
    try:
        return Match(*found)
    except InvalidValueError as error:
        raise DecodeError(f"match {data.hex()}: {error}") from error


def split_match(data: bytes, offset: int) -> tuple[bytes, int]:
    """Return the conditions of the match at `offset`, and the offset after its padding.

    The packet_type that the switch puts before conditions that say nothing of Ethernet is left out.

    Raises DecodeError for another type of match, and for bytes that end before.
    """
    kind, length = unpack("match", _MATCH_HEADER, data, offset)
    if kind != OXM_MATCH or length < _MATCH_HEADER.size:
        raise DecodeError(f"match at offset {offset}: type {kind} of {length} bytes; only OXM, type 1, is known")
    conditions = take("match", data, offset + _MATCH_HEADER.size, length - _MATCH_HEADER.size)
    end = offset + rounded(length)
    if end > len(data):
        raise DecodeError(f"match at offset {offset}: its padding ends at {end}, the bytes at {len(data)}")
    return without_packet_type(conditions), end


def without_packet_type(conditions: bytes) -> bytes:
    """Leave out the packet_type that the switch puts before conditions that say nothing of Ethernet."""
    return conditions.removeprefix(_DEFAULT_PACKET_TYPE)
