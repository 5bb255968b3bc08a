"""The agent's API on a real socket, from a status that a test publishes: without an agent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.http_api.board import StatusBoard
from antrea_proxy.http_api.routes import ApiSources
from antrea_proxy.http_api.server import SOCKET_NAME, serving
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.settings import Settings


@dataclass(slots=True, kw_only=True)
class RunningApi:
    """The API, served from a thread of its own."""

    run_dir: Path
    port: int
    board: StatusBoard
    loop: asyncio.AbstractEventLoop
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def socket_path(self) -> Path:
        """Where it listens."""
        return self.run_dir / SOCKET_NAME

    def publish(self, status: AgentStatus) -> None:
        """Publish another status, and return when it is."""

        async def publish() -> None:
            self.board.publish(status)

        asyncio.run_coroutine_threadsafe(publish(), self.loop).result(timeout=10)


@contextlib.contextmanager
def running_api(
    run_dir: Path,
    status: AgentStatus,
    *,
    settings: Settings | None = None,
    trace_in_switch: Callable[[Packet], Awaitable[str]] | None = None,
) -> Iterator[RunningApi]:
    """Serve a status in `run_dir` and on a free port of loopback."""
    ready = threading.Event()
    holder: list[RunningApi] = []
    settings = settings or Settings(api_port=free_port())

    async def serve() -> None:
        board = StatusBoard(status)
        api = RunningApi(run_dir=run_dir, port=settings.api_port, board=board, loop=asyncio.get_running_loop())
        sources = ApiSources(
            status=lambda: board.status, changed=board.changed, settings=settings, trace_in_switch=trace_in_switch
        )
        async with serving(sources, run_dir):
            holder.append(api)
            ready.set()
            await api.ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(timeout=20), "the API did not start"
        yield holder[0]
    finally:
        if holder:
            holder[0].loop.call_soon_threadsafe(holder[0].ended.set)
        thread.join(timeout=20)
        assert not thread.is_alive(), "the API did not end"


def free_port() -> int:
    """Return a TCP port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
