"""Thousands of messages at once: columns of values are stamped into what the reference encoder wrote once.

There is one encoding, not two: a Template is made by encoding a message with probe values in its holes, finding the
bytes that follow them, and comparing what it stamps with what the reference encoder writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from antrea_proxy.openflow.constants import (
    HEADER_LENGTH,
    MAX_MESSAGE_LENGTH,
    VERSION,
    BundleControlType,
    BundleFlags,
    MessageType,
)
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.errors import DecodeError, InvalidValueError
from antrea_proxy.openflow.messages import BarrierRequest, BundleControl, Message

Bytes: TypeAlias = npt.NDArray[np.uint8]
Column: TypeAlias = npt.NDArray[np.unsignedinteger[Any]] | npt.NDArray[np.signedinteger[Any]]
Messages: TypeAlias = Sequence[bytes | Bytes]
"""Encoded messages in order: single ones as bytes, and matrices with one message of equal length in each row."""

XID: Final = "xid"
"""The hole that is the message's transaction id and no argument of the message."""

ATOMIC_AND_ORDERED: Final = BundleFlags.ATOMIC | BundleFlags.ORDERED
MAX_BUNDLE: Final = 500
"""Messages in a bundle; a commit of so many stops the switch's forwarding for less than 10 ms."""

_FIRST_PROBE, _SECOND_PROBE, _PROOF = 1, 2, 3
_ADD_HEADER: Final = struct.Struct("!BBHII2xH")
"""Of a BundleAdd: version, type, length, transaction id, bundle id, padding, flags."""


@dataclass(frozen=True, slots=True)
class Hole:
    """A place of `width` bytes for a number of at most `bits` bits (by default, all of them)."""

    width: int
    bits: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 16 or not 8 * self.width - 7 <= self.n_bits <= 8 * self.width:  # noqa: PLR2004  # the widest field has 16 bytes
            raise InvalidValueError(
                f"hole: {self.n_bits} bits in {self.width} bytes; a hole is 1 to 16 bytes and as narrow as its values"
            )

    @property
    def n_bits(self) -> int:
        """The number of bits that values may have."""
        return 8 * self.width if self.bits is None else self.bits

    def probe(self, byte: int, step: int = 0) -> int:
        """Return a value that fits and whose bytes are `byte`, `byte + step`, and so on, as far as its bits go."""
        value = int.from_bytes(bytes((byte + step * place) % 256 for place in range(self.width)), "big")
        return value & ((1 << self.n_bits) - 1)


@dataclass(frozen=True, slots=True, init=False)
class Template:
    """A message with holes.

    `template` are the bytes with which a row starts, `places` the offsets at which each hole's value stands.
    """

    template: Bytes
    holes: Mapping[str, Hole]
    places: Mapping[str, tuple[int, ...]]

    def __init__(self, template: Bytes, holes: Mapping[str, Hole], places: Mapping[str, tuple[int, ...]]) -> None:
        object.__setattr__(self, "template", template)
        object.__setattr__(self, "holes", holes)
        object.__setattr__(self, "places", places)

    @classmethod
    def of(cls, build: Callable[..., Message], holes: Mapping[str, int | Hole]) -> Template:
        """Make the template of the message that `build` returns for a number for each of `holes`, given by name.

        A hole is given as its width in bytes, or as a Hole where its values have fewer bits (for a small number within
        a wider field: the width of the number alone). The hole `xid` is the message's own transaction id. A value may
        stand in several places. Making a template takes about log2(number of holes) + 3 encodings: keep it, one for
        each shape of message (for a group: each number of buckets).

        Raises InvalidValueError if a hole is not found in the bytes, or as something else than the number itself in
        network order, or if the message's length depends on it.
        """
        shapes = {name: hole if isinstance(hole, Hole) else Hole(hole) for name, hole in holes.items()}
        first = {name: hole.probe(_FIRST_PROBE) for name, hole in shapes.items()}
        second = {name: hole.probe(_SECOND_PROBE) for name, hole in shapes.items()}
        base = _encoded(build, first)
        codes = np.zeros(base.size, dtype=np.int64)
        names = list(shapes)
        for bit in range(len(names).bit_length()):
            values = {
                name: (second if number >> bit & 1 else first)[name] for number, name in enumerate(names, start=1)
            }
            probed = _encoded(build, values)
            if probed.size != base.size:
                raise InvalidValueError(
                    f"template: the message has {base.size} or {probed.size} bytes, depending on its holes {names}"
                )
            codes |= (probed != base).astype(np.int64) << bit
        places = {
            name: _places(name, np.flatnonzero(codes == number), shapes[name])
            for number, name in enumerate(names, start=1)
        }
        template = cls(base, shapes, places)
        template._prove(build)
        return template

    def _prove(self, build: Callable[..., Message]) -> None:
        """Compare a stamped message with the reference encoder's, for values whose bytes all differ."""
        values = {name: hole.probe(_PROOF + number, step=1) for number, (name, hole) in enumerate(self.holes.items())}
        columns = {
            name: np.frombuffer(values[name].to_bytes(hole.width, "big"), dtype=np.uint8)[np.newaxis]
            for name, hole in self.holes.items()
        }
        if not np.array_equal(self.stamp(columns, rows=1)[0], _encoded(build, values)):
            raise InvalidValueError(
                f"template: the bytes do not follow the holes {list(self.holes)} alone; a hole must be the very number"
            )

    def __len__(self) -> int:
        """Bytes of one message."""
        return int(self.template.size)

    def stamp(self, columns: Mapping[str, Column], *, rows: int | None = None) -> Bytes:
        """Return the messages as rows of bytes, one for each row of `columns`.

        A column is of integers, or of bytes in network order, shaped (rows, width of the hole). `rows` is needed only
        for a template without holes.

        Raises InvalidValueError for a column that is missing, unknown, of another length, or holds a value too large.
        """
        if columns.keys() != self.holes.keys():
            raise InvalidValueError(f"template: columns {sorted(columns)} given, holes are {sorted(self.holes)}")
        counts = {len(column) for column in columns.values()} | ({rows} if rows is not None else set())
        if len(counts) != 1:
            raise InvalidValueError(f"template: columns of {sorted(counts)} rows; give all of them as many")
        messages = np.empty((counts.pop(), self.template.size), dtype=np.uint8)
        messages[:] = self.template
        for name, column in columns.items():
            content = _network_order(name, column, self.holes[name])
            for offset in self.places[name]:
                messages[:, offset : offset + self.holes[name].width] = content
        return messages


def _encoded(build: Callable[..., Message], values: Mapping[str, int]) -> Bytes:
    arguments = {name: value for name, value in values.items() if name != XID}
    return np.frombuffer(encode(build(**arguments), xid=values.get(XID, 0)), dtype=np.uint8)


def _places(name: str, changed: npt.NDArray[np.int64], hole: Hole) -> tuple[int, ...]:
    """Return the offsets of `name`, whose bytes are at `changed`, ascending."""
    if not changed.size or changed.size % hole.width:
        raise InvalidValueError(f"template: hole {name} shows in {changed.size} bytes; a multiple of {hole.width} fits")
    windows = changed.reshape(-1, hole.width)
    if not np.array_equal(windows, windows[:, :1] + np.arange(hole.width)):
        raise InvalidValueError(f"template: hole {name} is in bytes {changed.tolist()}, not in runs of {hole.width}")
    return tuple(windows[:, 0].tolist())


def _network_order(name: str, column: Column, hole: Hole) -> Bytes:
    """Return the column as rows of `hole.width` bytes."""
    if column.ndim == 2:  # noqa: PLR2004  # rows and bytes
        if column.dtype != np.uint8 or column.shape[1] != hole.width:
            raise InvalidValueError(
                f"template: column {name} is {column.dtype} of {column.shape[1]}; give {hole.width} bytes (uint8) a row"
            )
        return column.astype(np.uint8, copy=False)
    if column.ndim != 1 or column.dtype.kind not in "ui":
        raise InvalidValueError(
            f"template: column {name} is of {column.dtype}, {column.ndim}-dimensional; give integers"
        )
    if column.dtype.kind == "u" and column.dtype.itemsize == hole.width and hole.n_bits == 8 * hole.width:
        # The usual one: every value fits, and a group of ten endpoints has twenty.
        return column.astype(column.dtype.newbyteorder(">")).view(np.uint8).reshape(len(column), hole.width)
    if len(column) and (int(column.max()) >> hole.n_bits or int(column.min()) < 0):
        raise InvalidValueError(
            f"template: column {name} has values {column.min()} to {column.max()}; {hole.n_bits} bits are at hand"
        )
    wide = column.astype(">u8").view(np.uint8).reshape(len(column), 8)
    if hole.width <= 8:  # noqa: PLR2004  # bytes of the widest integer
        return wide[:, 8 - hole.width :]
    return np.concatenate((np.zeros((len(column), hole.width - 8), dtype=np.uint8), wide), axis=1)


def message_count(messages: Messages) -> int:
    """Return how many messages there are, rows of matrices counted."""
    return sum(1 if isinstance(part, bytes) else len(part) for part in messages)


def in_chunks(messages: Messages, limit: int = MAX_BUNDLE) -> Iterator[list[bytes | Bytes]]:
    """Split messages, in their order, into lists of at most `limit` messages."""
    chunk: list[bytes | Bytes] = []
    room = limit
    for part in messages:
        if isinstance(part, bytes):
            chunk.append(part)
            room -= 1
        else:
            rest = part
            while len(rest) >= room:
                chunk.append(rest[:room])
                rest = rest[room:]
                yield chunk
                chunk, room = [], limit
            if len(rest):
                chunk.append(rest)
                room -= len(rest)
        if not room:
            yield chunk
            chunk, room = [], limit
    if chunk:
        yield chunk


def bundle(messages: Messages, *, bundle_id: int, first_xid: int = 0, flags: BundleFlags = ATOMIC_AND_ORDERED) -> bytes:
    """Return the opening of a bundle, its messages in order, and its closing; committing it is another message.

    Open vSwitch leaves a message out of a bundle that it cannot decode, and would commit the others: so the bundle is
    closed, and committed only when the answer to that came without an error before it (`commit_request`).

    The opening has the transaction id `first_xid`, the messages the ids that follow, whatever they had, and the closing
    the one after them. Raises InvalidValueError for a message that is too long to be wrapped.
    """
    count = message_count(messages)
    opening = encode(
        BundleControl(bundle_id=bundle_id, type=BundleControlType.OPEN_REQUEST, flags=flags), xid=first_xid
    )
    closing = encode(
        BundleControl(bundle_id=bundle_id, type=BundleControlType.CLOSE_REQUEST, flags=flags),
        xid=first_xid + 1 + count,
    )
    additions = [opening]
    xid = first_xid + 1
    for part in messages:
        if isinstance(part, bytes):
            additions.append(_addition(part, bundle_id, xid, flags))
            xid += 1
        else:
            additions.append(_additions(part, bundle_id, xid, flags))
            xid += len(part)
    additions.append(closing)
    return b"".join(additions)


def alone(message: bytes, *, xid: int) -> bytes:
    """Return one message with the transaction id `xid`, and a barrier with the next, whose answer says it is done."""
    return b"".join((message[:4], xid.to_bytes(4, "big"), message[8:], encode(BarrierRequest(), xid=xid + 1)))


def _addition(message: bytes, bundle_id: int, xid: int, flags: BundleFlags) -> bytes:
    """A message in a BundleAdd; inner and outer transaction ids are equal (OpenFlow 1.5.1 section 7.3.9.6)."""
    length = _wrapped_length(len(message))
    header = _ADD_HEADER.pack(VERSION, MessageType.BUNDLE_ADD_MESSAGE, length, xid, bundle_id, flags)
    return b"".join((header, message[:4], header[4:8], message[8:]))


def _additions(rows: Bytes, bundle_id: int, first_xid: int, flags: BundleFlags) -> bytes:
    """Each row wrapped as `_addition` does."""
    count, length = rows.shape
    wrapped = np.empty((count, _wrapped_length(length)), dtype=np.uint8)
    header = _ADD_HEADER.pack(VERSION, MessageType.BUNDLE_ADD_MESSAGE, wrapped.shape[1], 0, bundle_id, flags)
    wrapped[:, : _ADD_HEADER.size] = np.frombuffer(header, dtype=np.uint8)
    wrapped[:, _ADD_HEADER.size :] = rows
    xids = np.arange(first_xid, first_xid + count, dtype=np.uint32).astype(">u4").view(np.uint8).reshape(count, 4)
    wrapped[:, 4:8] = xids
    wrapped[:, _ADD_HEADER.size + 4 : _ADD_HEADER.size + 8] = xids
    return wrapped.tobytes()


def _wrapped_length(length: int) -> int:
    if length + _ADD_HEADER.size > MAX_MESSAGE_LENGTH:
        raise InvalidValueError(
            f"bundle: a message of {length} bytes; at most {MAX_MESSAGE_LENGTH - _ADD_HEADER.size} can be wrapped"
        )
    return length + _ADD_HEADER.size


def commit_request(*, bundle_id: int, xid: int, flags: BundleFlags = ATOMIC_AND_ORDERED) -> bytes:
    """Return the message that commits a bundle; its flags must be those of its opening."""
    return encode(BundleControl(bundle_id=bundle_id, type=BundleControlType.COMMIT_REQUEST, flags=flags), xid=xid)


def frame_lengths(data: bytes) -> list[int]:
    """Return the lengths of the messages that `data` is made of.

    Raises DecodeError if it does not end with a message's end.
    """
    lengths: list[int] = []
    offset = 0
    while offset < len(data):
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        if length < HEADER_LENGTH or offset + length > len(data):
            raise DecodeError(f"message at offset {offset}: {length} bytes claimed, {len(data) - offset} are left")
        lengths.append(length)
        offset += length
    return lengths
