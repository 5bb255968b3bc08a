"""Reading numbers and slices out of bytes that may lie."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from antrea_proxy.openflow.errors import DecodeError

_PROPERTY_HEADER: Final = 4


def unpack(what: str, layout: struct.Struct, data: bytes, offset: int = 0) -> tuple[int, ...]:
    """Return the numbers of `layout` at `offset`.

    Raises DecodeError, naming `what`, if `data` ends before.
    """
    if offset + layout.size > len(data):
        raise DecodeError(f"{what}: {layout.size} bytes expected at offset {offset}, {len(data) - offset} are left")
    return layout.unpack_from(data, offset)


def take(what: str, data: bytes, offset: int, length: int) -> bytes:
    """Return the `length` bytes at `offset`.

    Raises DecodeError, naming `what`, if `data` ends before.
    """
    if length < 0 or offset + length > len(data):
        raise DecodeError(f"{what}: {length} bytes expected at offset {offset}, {len(data) - offset} are left")
    return data[offset : offset + length]


def rounded(length: int) -> int:
    """`length` up to a multiple of 8."""
    return (length + 7) // 8 * 8


_HEADER = struct.Struct("!HH")


def type_length_values(what: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Properties, actions or instructions, all of which start with a type and a length: each type with its whole bytes.

    What pads an element to 8 bytes is skipped, and need not be there for the last.
    Raises DecodeError for a length that is shorter than its own header or longer than the bytes.
    """
    offset = 0
    while offset < len(data):
        kind, length = unpack(what, _HEADER, data, offset)
        if length < _PROPERTY_HEADER:
            raise DecodeError(f"{what}: an element at offset {offset} claims {length} bytes, less than its own header")
        yield kind, take(what, data, offset, length)
        offset += rounded(length)
