"""JSON-RPC 1.0 over a Unix socket, as ovsdb-server and every `ovs-appctl` target speak it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from antrea_proxy.ovsdb.errors import OvsdbError, OvsdbProtocolError, OvsdbRefused, OvsdbUnavailable
from antrea_proxy.ovsdb.json_stream import JsonStream

_READ_BYTES = 64 * 1024

Notify = Callable[[str, list[Any]], None]


class Channel:
    """One connection. `run` reads until it ends; `call` may be used while `run` is running."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, notify: Notify) -> None:
        self._path = path
        self._reader = reader
        self._writer = writer
        self._notify = notify
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 0

    @classmethod
    async def open(cls, path: Path, notify: Notify) -> Channel:
        """Connect; `notify(method, params)` gets each notification in order.

        Raises OvsdbUnavailable.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise OvsdbUnavailable(
                f"{path}: {error.strerror}; is Open vSwitch running, with ovsRunDir set to its run directory?"
            ) from error
        return cls(path, reader, writer, notify)

    async def run(self) -> None:
        """Read messages until the connection ends; then fail every call that still waits, and raise why it ended.

        Raises OvsdbUnavailable when the other side is gone, OvsdbProtocolError when it does not make sense.
        """
        stream = JsonStream()
        ended: Exception = OvsdbUnavailable(f"{self._path}: the connection was closed")
        try:
            while data := await self._reader.read(_READ_BYTES):
                for message in stream.receive(data):
                    self._handle(message)
        except OSError as error:
            ended = OvsdbUnavailable(f"{self._path}: {error}")
        except OvsdbProtocolError as error:
            ended = error
        finally:
            self.close()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(ended)
                    future.exception()
            self._pending.clear()
        raise ended

    async def call(self, method: str, *params: object) -> Any:  # noqa: ANN401 - each method has its own result
        """Send a request, return its result.

        Raises OvsdbRefused with the other side's words, OvsdbUnavailable when the connection ends first.
        """
        if self._writer.is_closing():
            raise OvsdbUnavailable(f"{self._path}: the connection is closed")
        identity = self._next_id = self._next_id + 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._pending[identity] = future
        try:
            self._writer.write(msgspec.json.encode({"id": identity, "method": method, "params": params}))
            return await future
        finally:
            self._pending.pop(identity, None)

    def close(self) -> None:
        """End the connection; `run` returns soon after."""
        self._writer.close()

    def _handle(self, message: dict[str, Any]) -> None:
        match message:
            case {"method": "echo", "params": params, "id": identity}:
                self._writer.write(msgspec.json.encode({"id": identity, "result": params, "error": None}))
            case {"method": str(method), "params": list(params)}:
                self._notify(method, params)
            case {"id": int(identity), **answer} if "result" in answer or "error" in answer:
                future = self._pending.get(identity)
                if future is None or future.done():
                    return
                # ovs-vswitchd's control socket leaves the one out that is null.
                if answer.get("error") is None:
                    future.set_result(answer.get("result"))
                else:
                    future.set_exception(OvsdbRefused(f"{self._path}: {_words(answer['error'])}"))
            case _:
                raise OvsdbProtocolError(f"{self._path}: unexpected message {message!r}")


async def end(reading: asyncio.Task[None]) -> None:
    """End a task that runs a channel, whatever its connection came to, and wait until it has ended.

    Who is cancelled while waiting is told so: a plain `await` would not tell the two cancellations apart.
    """
    reading.cancel()
    await asyncio.wait({reading})
    if not reading.cancelled():
        with contextlib.suppress(OvsdbError):
            reading.result()


def _words(error: object) -> str:
    match error:
        case {"error": str(kind), "details": str(details)}:
            return f"{kind}: {details}"
        case _:
            return str(error).strip()
