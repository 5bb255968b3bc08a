"""The daemon's side of the spawner: start a process in a namespace, wait for its end, signal it, run a command.

The processes are the spawner's children; see spawner.py for why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.spawner import MAX_MESSAGE, Start

_SEND_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended; a negative `status` is the signal that ended it."""

    status: int
    stdout: bytes
    stderr: bytes


class Process:
    """A process that the spawner started."""

    def __init__(self, spawner: Spawner, key: int) -> None:
        loop = asyncio.get_running_loop()
        self._spawner = spawner
        self._key = key
        self.pid = 0
        self.started: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()

    @property
    def running(self) -> bool:
        """Whether its end has not been seen yet."""
        return not self.exited.done()

    async def wait(self) -> int:
        """Wait for the end; a negative number is the signal that ended it."""
        return await asyncio.shield(self.exited)

    def signal(self, number: int) -> None:
        """Signal the process and the others of its session's first group; one that has ended is left in peace."""
        if self.running:
            self._spawner.signal(self._key, number)

    async def stop(self, *, grace: float) -> int:
        """SIGTERM, then SIGKILL after `grace` seconds; returns how it ended."""
        self.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.wait(), grace)
        self.signal(signal.SIGKILL)
        return await self.wait()


class Spawner:
    """One connection to one spawner process, which ends, with all it started, when this is closed."""

    def __init__(self, log: IO[bytes]) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._channel, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * MAX_MESSAGE)
        self._channel.settimeout(_SEND_SECONDS)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "antrea_proxy.lab.spawner", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._keys = itertools.count(1)
        self._processes: dict[int, Process] = {}
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._channel, self._receive)

    @property
    def pid(self) -> int:
        """The spawner's own process id."""
        return self._process.pid

    async def close(self) -> None:
        """End the spawner and everything that it started, and wait for that."""
        asyncio.get_running_loop().remove_reader(self._channel)
        self._channel.close()
        await asyncio.to_thread(self._process.wait)

    async def start(self, start: Start, *, stdin: int | None = None, output: int | None = None) -> Process:
        """Start a process; returns once its program runs, or once the built-in server listens.

        `stdin` and `output` (both for standard output and error) are descriptors, which stay the caller's.

        Raises LabError where the program cannot be started.
        """
        null = os.open(os.devnull, os.O_RDWR)
        try:
            process = self._send(start, [null if stdin is None else stdin, *[null if output is None else output] * 2])
        finally:
            os.close(null)
        await process.started
        return process

    async def run(
        self,
        argv: Sequence[str],
        *,
        netns: Path | str = "",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        seconds: float = 30.0,
    ) -> Finished:
        """Run a command to its end and give what it wrote.

        Raises LabError where it cannot be started or takes more than `seconds` (it is killed then).
        """
        loop = asyncio.get_running_loop()
        readers: list[asyncio.Task[bytes]] = []
        pipes = [os.pipe() for _ in range(3)]
        (stdin_reader, stdin_writer), *outputs = pipes
        start = Start(argv=tuple(argv), netns=str(netns), environment=dict(environment or os.environ))
        try:
            process = self._send(start, [stdin_reader, outputs[0][1], outputs[1][1]])
        finally:
            for fd in (stdin_reader, outputs[0][1], outputs[1][1]):
                os.close(fd)
        readers = [loop.create_task(_read_all(reader)) for reader, _ in outputs]
        try:
            async with asyncio.timeout(seconds):
                await _write_all(stdin_writer, stdin)
                await process.started
                status = await process.wait()
                stdout, stderr = [await reader for reader in readers]
        except TimeoutError:
            raise LabError(f"{' '.join(argv)} did not end within {seconds:g} s and was killed") from None
        finally:
            process.signal(signal.SIGKILL)  # which leaves one that has ended in peace
            for reader in readers:
                reader.cancel()
        return Finished(status=status, stdout=stdout, stderr=stderr)

    def signal(self, key: int, number: int) -> None:
        """Signal what was started under `key`."""
        self._transmit({"id": key, "signal": int(number)}, [])

    def _send(self, start: Start, fds: list[int]) -> Process:
        key = next(self._keys)
        process = self._processes[key] = Process(self, key)
        self._transmit({"id": key, "start": start.as_json()}, fds)
        return process

    def _transmit(self, message: Mapping[str, Any], fds: list[int]) -> None:
        data = json.dumps(message).encode()
        if len(data) > MAX_MESSAGE:
            raise LabError(f"a command with its environment may have {MAX_MESSAGE} bytes, this one has {len(data)}")
        try:
            socket.send_fds(self._channel, [data], fds)
        except OSError as error:
            raise LabError(f"the lab's spawner (process {self.pid}) is gone: {error}") from error

    def _receive(self) -> None:
        try:
            data = self._channel.recv(MAX_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._lose()
            return
        message = json.loads(data)
        process = self._processes[message["id"]]
        if "exited" in message:
            del self._processes[message["id"]]
            if not process.started.done():
                process.started.set_result(None)
            process.exited.set_result(message["exited"])
        elif process.started.done():
            return
        elif "error" in message:
            process.started.set_exception(LabError(f"cannot start: {message['error']}"))
        else:
            process.pid = message["pid"]
            process.started.set_result(None)

    def _lose(self) -> None:
        for process in self._processes.values():
            if not process.started.done():
                process.started.set_exception(LabError("the lab's spawner ended"))
            process.exited.set_result(-signal.SIGKILL)
        self._processes.clear()
        if not self.lost.done():
            self.lost.set_result(None)


async def _read_all(fd: int) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


async def _write_all(fd: int, data: bytes) -> None:
    # At most a pipe's buffer (64 KiB, pipe(7)) is written in these uses; more waits in a thread.
    def write() -> None:
        with os.fdopen(fd, "wb") as pipe, contextlib.suppress(BrokenPipeError):
            pipe.write(data)

    await asyncio.to_thread(write)
