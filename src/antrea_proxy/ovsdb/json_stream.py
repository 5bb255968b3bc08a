"""Cuts a stream of bytes into JSON objects. Sans-IO.

OVSDB sends objects one after another with nothing in between (RFC 7047 section 4), so a message ends only where its
braces balance. Each byte is looked at once, however the stream is cut into pieces.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from antrea_proxy.ovsdb.errors import OvsdbProtocolError

_OUTSIDE_STRING = re.compile(rb'["{}]')
_INSIDE_STRING = re.compile(rb'["\\]')


class JsonStream:
    """Receives bytes, returns the objects that they complete."""

    __slots__ = ("_buffer", "_depth", "_in_string", "_position")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._depth = 0
        self._in_string = False

    def receive(self, data: bytes) -> list[dict[str, Any]]:
        """Add `data`; return every object that is now complete.

        Raises OvsdbProtocolError for bytes that are no JSON object.
        """
        self._buffer += data
        messages = []
        while (end := self._end_of_object()) is not None:
            try:
                message = msgspec.json.decode(self._buffer[:end])
            except msgspec.DecodeError as error:
                raise OvsdbProtocolError(f"not JSON: {bytes(self._buffer[: min(end, 80)])!r}: {error}") from error
            if not isinstance(message, dict):
                raise OvsdbProtocolError(f"not a JSON-RPC message: {message!r}")
            messages.append(message)
            del self._buffer[:end]
            self._position = 0
        return messages

    def _end_of_object(self) -> int | None:
        while True:
            pattern = _INSIDE_STRING if self._in_string else _OUTSIDE_STRING
            match = pattern.search(self._buffer, self._position)
            if match is None:
                self._position = max(self._position, len(self._buffer))
                return None
            self._position = match.end()
            match match.group():
                case b'"':
                    self._in_string = not self._in_string
                case b"\\":
                    self._position += 1
                case b"{":
                    self._depth += 1
                case _:
                    self._depth -= 1
                    if self._depth <= 0:
                        self._depth = 0
                        return self._position
