"""A stream of bytes to whole messages."""

from __future__ import annotations

from collections.abc import Iterator

from antrea_proxy.openflow.constants import HEADER_LENGTH
from antrea_proxy.openflow.errors import DecodeError


class FrameBuffer:
    """Collects bytes as they come and gives each message once it is whole, in time linear in the bytes."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take `data` and yield the messages that are whole now. Exhaust it before the next call.

        Raises DecodeError for a message whose header says that it is shorter than that header.
        """
        self._pending += data
        offset = 0
        try:
            while len(self._pending) - offset >= HEADER_LENGTH:
                length = int.from_bytes(self._pending[offset + 2 : offset + 4], "big")
                if length < HEADER_LENGTH:
                    raise DecodeError(f"message: its header says {length} bytes, a header alone has {HEADER_LENGTH}")
                if len(self._pending) - offset < length:
                    break
                end = offset + length
                message = bytes(memoryview(self._pending)[offset:end])
                offset = end
                yield message
        finally:
            del self._pending[:offset]
