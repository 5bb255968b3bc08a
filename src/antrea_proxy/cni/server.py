"""The agent's side of the CNI plugin: a Unix socket, one request and one answer a connection."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import structlog

from antrea_proxy.cni.codes import MAXIMUM_REQUEST, ErrorCode
from antrea_proxy.cni.errors import CniError
from antrea_proxy.cni.pods import PodWiring
from antrea_proxy.cni.protocol import Command, Request, answer_version, encode_error, encode_result, parse_request

REQUEST_TIMEOUT_S = 10.0
"""How long a plugin may take to send its request."""

GRACE_S = 10.0
"""How long `close` lets operations that are under way go on before it cancels, and so undoes, them."""

_log = structlog.get_logger(__name__)


class SocketTakenError(Exception):
    """The socket's path belongs to something else: a live server, or a file that is no socket."""


class _Message(msgspec.Struct, frozen=True):
    environment: dict[str, str]
    configuration: str


class CniServer:
    """Serves CNI requests from `socket_path`, which only the agent's own user may open, between `start` and `close`."""

    def __init__(self, socket_path: Path, wiring: PodWiring) -> None:
        self._path = socket_path
        self._wiring = wiring
        self._server: asyncio.Server | None = None
        self._inode: int | None = None
        self._requests: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen. A socket that a dead server left is replaced.

        Raises SocketTakenError, and OSError when the path cannot be used.
        """
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_dead_socket(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(listener.fileno(), 0o600)  # Linux makes the file with this mode: it is never open to others
            listener.bind(str(self._path))
            self._inode = self._path.stat().st_ino
            self._server = await asyncio.start_unix_server(
                self._serve, sock=listener, limit=MAXIMUM_REQUEST, backlog=128
            )
        except BaseException:
            listener.close()
            raise

    async def close(self) -> None:
        """Stop listening, let requests that are under way end, and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        if self._requests:
            _, late = await asyncio.wait(self._requests, timeout=GRACE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def answer(self, text: bytes) -> tuple[int, str]:
        """Perform one request; returns the plugin's exit code and what it prints."""
        began = time.monotonic()
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.MsgspecError as error:
            malformed = CniError(ErrorCode.DECODING_FAILURE, f"the request to the agent is malformed: {error}")
            return 1, encode_error(malformed, answer_version(""))
        log = _log.bind(
            command=message.environment.get("CNI_COMMAND"),
            container=message.environment.get("CNI_CONTAINERID"),
            arguments=message.environment.get("CNI_ARGS"),
        )
        try:
            request = parse_request(message.environment, message.configuration)
            output = await self._perform(request)
        except CniError as error:
            log.warning("CNI request failed", code=error.code.name, error=error.message)
            return 1, encode_error(error, answer_version(message.configuration))
        except Exception as error:
            log.exception("CNI request failed unexpectedly")
            unexpected = CniError(ErrorCode.UNEXPECTED, f"the antrea-proxy agent failed: {error!r}; its log has more")
            return 1, encode_error(unexpected, answer_version(message.configuration))
        log.info("CNI request served", milliseconds=round((time.monotonic() - began) * 1000, 1))
        return 0, output

    async def _perform(self, request: Request) -> str:
        wiring, key = self._wiring, request.key
        match request.command:
            case Command.STATUS:
                await wiring.status()
            case Command.GC:
                await wiring.collect_garbage(request.valid_attachments)
            case Command.ADD if key is not None and request.pod is not None:
                result = await wiring.add(key=key, netns=request.netns, pod=request.pod, dns=request.dns)
                return encode_result(result.following(request.previous_result), request.version)
            case Command.DEL if key is not None:
                await wiring.delete(key=key)
            case Command.CHECK if key is not None and request.previous_result is not None:
                await wiring.check(key=key, netns=request.netns, expected=request.previous_result)
        return ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                text = await reader.read(MAXIMUM_REQUEST + 1)
                while not reader.at_eof() and len(text) <= MAXIMUM_REQUEST:
                    text += await reader.read(MAXIMUM_REQUEST + 1 - len(text))
            if not text:
                return
            status, output = await self.answer(text)
            writer.write(msgspec.json.encode({"status": status, "output": output}))
            await writer.drain()
        except (TimeoutError, ConnectionError) as error:
            _log.warning("a CNI plugin went away before its answer", error=str(error) or "no request came in time")
        finally:
            writer.close()


def _remove_dead_socket(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketTakenError(f"{path} is not a socket: remove it, or set another cniSocket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise SocketTakenError(f"{path} is served by another agent: stop it, or set another cniSocket")
