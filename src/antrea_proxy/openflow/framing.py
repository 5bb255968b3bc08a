"""A stream of bytes to whole messages."""

from __future__ import annotations

from collections.abc import Iterator

from antrea_proxy.openflow.constants import HEADER_LENGTH, VERSION, MessageType
from antrea_proxy.openflow.errors import DecodeError


class FrameBuffer:
    """Collects bytes as they come and gives each message once it is whole, in time linear in the bytes."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take `data` and yield the messages that are whole now. Exhaust it before the next call.

        Raises DecodeError as soon as a header is not of OpenFlow 1.5 (but for a Hello, which may be of any version) or
        says that its message is shorter than itself, so that another protocol's bytes are not waited for.
        """
        self._pending += data
        offset = 0
        try:
            while len(self._pending) - offset >= HEADER_LENGTH:
                version, kind = self._pending[offset : offset + 2]
                if version != VERSION and kind != MessageType.HELLO:
                    raise DecodeError(f"message of type {kind}: version {version} is not {VERSION} (OpenFlow 1.5)")
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
