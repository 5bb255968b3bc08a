"""The API's sockets: `api.sock` beside the CNI socket, for root alone, and a port of 127.0.0.1 that only reads."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiohttp import web

from antrea_proxy.http_api.routes import ApiSources, application

SOCKET_NAME: Final = "api.sock"
SOCKET_MODE: Final = 0o600
LOOPBACK: Final = "127.0.0.1"
SHUTDOWN_SECONDS: Final = 0.5
"""How long an answer under way may go on when the agent ends; watches never end by themselves."""


class ApiServerError(Exception):
    """A socket of the API cannot be opened; names it and says what to do."""


@contextlib.asynccontextmanager
async def serving(sources: ApiSources, run_dir: Path) -> AsyncIterator[None]:
    """Serve the API in `run_dir`, and on settings.api_port of loopback unless that is 0.

    Raises ApiServerError for a socket that somebody else has.
    """
    path = run_dir / SOCKET_NAME
    async with contextlib.AsyncExitStack() as stack:
        runner = await _running(stack, application(sources, may_trace=True))
        _remove_stale(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            listener = _listen(path)
        except OSError as error:
            raise ApiServerError(f"{path}: {error.strerror}; the agent's API needs this socket (cniSocket)") from error
        stack.callback(path.unlink, missing_ok=True)
        await web.SockSite(runner, listener).start()
        port = sources.settings.api_port
        if port:
            runner = await _running(stack, application(sources, may_trace=False))
            try:
                await web.TCPSite(runner, LOOPBACK, port).start()
            except OSError as error:
                raise ApiServerError(
                    f"{LOOPBACK}:{port}: {error.strerror}; give apiPort a free port, or end what uses this one"
                ) from error
        yield


async def _running(stack: contextlib.AsyncExitStack, app: web.Application) -> web.AppRunner:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True)
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    return runner


def _listen(path: Path) -> socket.socket:
    """Bind with the final mode: there is no moment at which another user could connect."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    listener.settimeout(0)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of an agent that is no more; one that answers is another agent's."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ApiServerError(f"{path}: another agent answers there; end it first")
