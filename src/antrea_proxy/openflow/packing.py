"""Packing numbers so that what does not fit names its place."""

from __future__ import annotations

import struct

from antrea_proxy.openflow.errors import InvalidValueError, require_bits


def pack(owner: object, layout: str, **values: int) -> bytes:
    """`struct.pack` of named values.

    Raises InvalidValueError, naming the type of `owner` and the value's name, if one does not fit.
    """
    try:
        return struct.pack(layout, *values.values())
    except struct.error as error:
        codes = [code for code in layout if code in "BHIQ"]
        for (name, value), code in zip(values.items(), codes, strict=True):
            require_bits(type(owner).__name__, name, value, 8 * struct.calcsize(f"!{code}"))
        raise InvalidValueError(f"{type(owner).__name__}: {values} does not fit {layout}") from error


def padded(data: bytes) -> bytes:
    """Return `data` with zeros up to a multiple of 8 bytes."""
    return data + bytes(-len(data) % 8)
