"""A list that is decoded while it arrives, so that neither its bytes nor its objects are ever in memory all at once.

It is cut where an API server ends an object and begins the next. In a string these bytes cannot stand (its quotes are
escaped), and if they stood within an object, what is before the cut would be no JSON array: then, as for a server that
writes otherwise, the list is decoded as a whole.
"""

from __future__ import annotations

from typing import Final, Generic

from antrea_proxy.kubernetes.decoding import DecodedItems, DecodedList, DecodingError, decode_items, decode_list
from antrea_proxy.kubernetes.kinds import Kind, ObjectT

PIECE_BYTES: Final = 1 << 18
"""How much is gathered before it is decoded: some seventy EndpointSlices of ten endpoints."""

_ITEMS: Final = b'"items":['
_CUT: Final = b'},{"metadata":'


class ListReader(Generic[ObjectT]):
    """Takes the bytes of one answer to a list request and gives objects as soon as there are some."""

    def __init__(self, kind: Kind[ObjectT], *, piece_bytes: int = PIECE_BYTES) -> None:
        self._kind = kind
        self._piece_bytes = piece_bytes
        self._head = b""
        self._rest = bytearray()
        """What was not given yet; once the head is known, behind a bracket that makes an array of it."""
        self._enough = piece_bytes
        self._whole = False

    def feed(self, data: bytes) -> DecodedItems[ObjectT]:
        """Take bytes; return the objects that are complete now, if enough of them are."""
        self._rest += data
        if self._whole or len(self._rest) < self._enough:
            return DecodedItems()
        try:
            return self._piece()
        except DecodingError:
            self._whole = True
            return DecodedItems()

    def end(self) -> DecodedList[ObjectT]:
        """Return the objects that were not given yet, and what the list says of itself.

        Raises DecodingError if the bytes were no list.
        """
        return decode_list(self._kind, self._head + self._rest)

    def _piece(self) -> DecodedItems[ObjectT]:
        if not self._head:
            self._find_head()
        comma = self._rest.rfind(_CUT) + 1
        if not comma:
            self._enough = 2 * len(self._rest)
            return DecodedItems()
        # In its place, as copies of all that arrives would cost as much as decoding it.
        self._rest[comma : comma + 1] = b"]"
        try:
            with memoryview(self._rest) as view:
                decoded = decode_items(self._kind, view[: comma + 1])
        except DecodingError:
            self._rest[comma : comma + 1] = b","
            raise
        del self._rest[:comma]
        self._rest[:1] = b"["
        self._enough = self._piece_bytes
        return decoded

    def _find_head(self) -> None:
        """Part the list's beginning from its objects: what is open between them is the list's own array."""
        start = self._rest.find(_ITEMS) + len(_ITEMS)
        if start >= len(_ITEMS):
            head = bytes(self._rest[: start - 1])
            decode_list(self._kind, head + b"[]}")
            self._head = head
            del self._rest[: start - 1]
