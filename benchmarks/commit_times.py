"""When the switch confirmed what: a tap between agent and switch that notes each bundle's messages and commit."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.openflow_bytes import linked
from benchmarks.sandbox import BenchmarkError
from benchmarks.switch import BRIDGE, Switch

_HEADER: Final = 8
_FLOW_MOD, _GROUP_MOD, _BARRIER_REPLY = 14, 15, 21
_BUNDLE_CONTROL, _BUNDLE_ADD = 33, 34
_COMMIT_REPLY: Final = 5
_BUFFER: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Commit:
    """What took effect together: when that was answered (Unix time), and its messages."""

    at: float
    data: bytes
    messages: int


@dataclass(slots=True)
class CommitTimes:
    """All commits of the connections that were made through the tap, in their order."""

    target: Path
    commits: list[Commit] = field(default_factory=list)
    _open: dict[bytes, list[bytes]] = field(default_factory=dict)
    _alone: dict[int, bytes] = field(default_factory=dict)
    """Messages without a bundle, by the transaction id of the barrier behind each."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection's bytes both ways."""
        from_switch, to_switch = await asyncio.open_unix_connection(str(self.target))
        back = asyncio.create_task(self._pass(from_switch, writer))
        self._tasks.add(back)
        await self._pass(reader, to_switch)

    def end(self) -> None:
        """Pass nothing more."""
        for task in self._tasks:
            task.cancel()

    def first_with(self, content: bytes, *, since: float) -> Commit | None:
        """Return the first commit after `since` that holds these bytes."""
        return next((commit for commit in self.commits if commit.at >= since and content in commit.data), None)

    async def until_with(self, content: bytes, *, since: float, patience: float = 30.0) -> Commit:
        """Wait for that commit. Raises BenchmarkError after so many seconds."""
        deadline = time.monotonic() + patience
        while (found := self.first_with(content, since=since)) is None:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"no bundle with {content.hex()} was committed within {patience:.0f} s")
            await asyncio.sleep(0.02)
        return found

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rest = b""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_BUFFER):
                writer.write(data)
                rest = self._note(rest + data, time.time())
                await writer.drain()
        writer.close()

    def _note(self, data: bytes, now: float) -> bytes:
        """Note the messages that are whole; return the rest."""
        place = 0
        while place + _HEADER <= len(data):
            end = place + int.from_bytes(data[place + 2 : place + 4], "big")
            if end > len(data):
                break
            frame, place = data[place:end], end
            bundle = frame[8:12]
            xid = int.from_bytes(frame[4:8], "big")
            if frame[1] in {_FLOW_MOD, _GROUP_MOD}:
                self._alone[xid + 1] = frame
            elif frame[1] == _BARRIER_REPLY and xid in self._alone:
                self.commits.append(Commit(now, self._alone.pop(xid), 1))
            elif frame[1] == _BUNDLE_ADD:
                self._open.setdefault(bundle, []).append(frame)
            elif frame[1] == _BUNDLE_CONTROL and int.from_bytes(frame[12:14], "big") == _COMMIT_REPLY:
                messages = self._open.pop(bundle, [])
                self.commits.append(Commit(now, b"".join(messages), len(messages)))
        return data[place:]


@contextlib.asynccontextmanager
async def commits_noted(switch: Switch, directory: Path) -> AsyncIterator[CommitTimes]:
    """Make `directory` look like the switch's run directory, with every commit on br-int noted."""
    linked(switch, directory)
    times = CommitTimes(switch.management)
    server = await asyncio.start_unix_server(times.serve, str(directory / f"{BRIDGE}.mgmt"))
    try:
        yield times
    finally:
        server.close()
        times.end()
