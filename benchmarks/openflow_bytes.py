"""The very bytes that the agent sends to the switch: recorded once, and replayed by something that only sends them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.sandbox import BenchmarkError
from benchmarks.switch import BRIDGE, Switch

_HEADER: Final = 8
_ERROR, _ECHO_REQUEST, _FEATURES_REQUEST, _MULTIPART_REQUEST, _BUNDLE_CONTROL = 1, 2, 5, 18, 33
_MULTIPART_REPLY: Final = 19
_BUNDLE_ADD: Final = 34
_OPEN_REQUEST, _CLOSE_REQUEST, _COMMIT_REQUEST = 0, 2, 4
_FLOW_MOD, _GROUP_MOD, _BARRIER_REQUEST = 14, 15, 20
_MORE: Final = 1
_BUFFER: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The bytes of one connection, from its first to its last."""

    data: bytes

    @property
    def messages(self) -> int:
        """How many flow and group changes there are in it."""
        return sum(frame[1] in {_BUNDLE_ADD, _FLOW_MOD, _GROUP_MOD} for frame in frames(self.data))

    @property
    def bundles(self) -> int:
        """How many bundles are committed in it, messages that go alone counted as such."""
        return sum(map(_ends_change, frames(self.data)))


def frames(data: bytes) -> Iterator[bytes]:
    """Split bytes into OpenFlow messages."""
    place = 0
    while place + _HEADER <= len(data):
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield data[place : place + length]
        place += length


@dataclass(slots=True)
class _Tap:
    """Passes bytes between the agent and the switch, and keeps those of the agent's last connection."""

    target: Path
    sent: bytearray = field(default_factory=bytearray)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sent = bytearray()
        switch_reader, switch_writer = await asyncio.open_unix_connection(str(self.target))
        back = asyncio.create_task(self._pass(switch_reader, writer, None))
        self.tasks.add(back)
        await self._pass(reader, switch_writer, self.sent)

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray | None) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_BUFFER):
                if kept is not None:
                    kept += data
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def tapped(switch: Switch, directory: Path) -> AsyncIterator[_Tap]:
    """Make `directory` look like the switch's run directory, with every byte sent to br-int recorded."""
    linked(switch, directory)
    tap = _Tap(switch.management)
    server = await asyncio.start_unix_server(tap.serve, str(directory / f"{BRIDGE}.mgmt"))
    try:
        yield tap
    finally:
        server.close()
        for task in tap.tasks:
            task.cancel()


def linked(switch: Switch, directory: Path) -> None:
    """Make a directory that looks like the switch's run directory, but for the socket of br-int."""
    directory.mkdir()
    for name in ("db.sock", "ovs-vswitchd.pid", f"ovs-vswitchd.{switch.daemon.pid}.ctl"):
        (directory / name).symlink_to(switch.directory / name)


def recording(tap: _Tap) -> Recording:
    """Return what was sent up to the last commit."""
    whole = list(frames(bytes(tap.sent)))
    return Recording(data=b"".join(whole[: _last(whole) + 1]))


def replay_in_step(switch: Switch, recorded: Recording) -> float:
    """Send the bytes, waiting where the agent waits: at the end of every bundle and for its commit. Seconds taken."""
    chunks = list(_chunks(recorded.data))
    with _connected(switch) as connection:
        answers = _Answers(connection)
        started = time.perf_counter()
        for chunk, xid in chunks:
            connection.sendall(chunk)
            answers.wait_for(xid)
        return time.perf_counter() - started


def replay_at_once(switch: Switch, recorded: Recording) -> float:
    """Send the bytes as fast as the switch takes them, without waiting for anything but the last answer."""
    last_xid = list(_chunks(recorded.data))[-1][1]
    with _connected(switch) as connection:
        answers = _Answers(connection)
        sending = threading.Thread(target=connection.sendall, args=(recorded.data,))
        started = time.perf_counter()
        sending.start()
        answers.wait_for(last_xid)
        sending.join()
        return time.perf_counter() - started


def replay_single_changes(switch: Switch, changes: list[bytes], *, pause: float) -> list[float]:
    """Send changes one at a time, `pause` seconds apart; return the seconds that each took until it was there."""
    taken: list[float] = []
    with _connected(switch) as connection:
        answers = _Answers(connection)
        connection.sendall(bytes((6, 0, 0, 8, 0, 0, 0, 0)))  # hello, OpenFlow 1.5
        for data in changes:
            chunks = list(_chunks(data))
            time.sleep(pause)
            started = time.perf_counter()
            for chunk, xid in chunks:
                connection.sendall(chunk)
                answers.wait_for(xid)
            taken.append(time.perf_counter() - started)
    return taken


def last_change(data: bytes) -> bytes:
    """Return the frames of the last change in the bytes: a bundle, or a message alone and its barrier."""
    whole = list(frames(data))
    end = _last(whole)
    if whole[end][1] == _BARRIER_REQUEST:
        return b"".join(whole[end - 1 : end + 1])
    start = max(place for place in range(end) if _is_control(whole[place], _OPEN_REQUEST))
    return b"".join(whole[start : end + 1])


def _last(whole: list[bytes]) -> int:
    return max(place for place, frame in enumerate(whole) if _ends_change(frame))


def _ends_change(frame: bytes) -> bool:
    return frame[1] == _BARRIER_REQUEST or _is_control(frame, _COMMIT_REQUEST)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Split bytes after each request whose answer the agent awaits; with it, its transaction id."""
    chunk: list[bytes] = []
    for frame in frames(data):
        chunk.append(frame)
        kind = frame[1]
        awaited = kind in {_FEATURES_REQUEST, _MULTIPART_REQUEST}
        if awaited or _is_control(frame, _CLOSE_REQUEST) or _ends_change(frame):
            yield b"".join(chunk), int.from_bytes(frame[4:8], "big")
            chunk = []


def _is_control(frame: bytes, kind: int) -> bool:
    return frame[1] == _BUNDLE_CONTROL and int.from_bytes(frame[12:14], "big") == kind


@contextlib.contextmanager
def _connected(switch: Switch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(120)
        connection.connect(str(switch.management))
        yield connection


class _Answers:
    """What the switch sends back, one message at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def wait_for(self, xid: int) -> None:
        """Return when the last part of the answer to that request is here. Raises BenchmarkError for an error."""
        while True:
            frame = self._next()
            kind, its_xid = frame[1], int.from_bytes(frame[4:8], "big")
            if kind == _ERROR:
                raise BenchmarkError(f"the switch refused a replayed message: {frame.hex()}")
            if kind == _ECHO_REQUEST:
                self._connection.sendall(frame[:1] + b"\x03" + frame[2:])
            more = kind == _MULTIPART_REPLY and frame[11] & _MORE
            if its_xid == xid and kind != _ECHO_REQUEST and not more:
                return

    def _next(self) -> bytes:
        while len(self._buffer) < _HEADER or len(self._buffer) < int.from_bytes(self._buffer[2:4], "big"):
            data = self._connection.recv(1 << 16)
            if not data:
                raise BenchmarkError("the switch closed the connection during a replay")
            self._buffer += data
        length = int.from_bytes(self._buffer[2:4], "big")
        frame, self._buffer = self._buffer[:length], self._buffer[length:]
        return frame
