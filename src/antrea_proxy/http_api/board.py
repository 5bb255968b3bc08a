"""Where the agent's status is put up, and where those who show it wait for the next."""

from __future__ import annotations

import asyncio

from antrea_proxy.agent.status import AgentStatus


class StatusBoard:
    """Holds the status published last. Its methods belong to one event loop."""

    def __init__(self, status: AgentStatus) -> None:
        self._status = status
        self._next: asyncio.Event = asyncio.Event()

    def publish(self, status: AgentStatus) -> None:
        """Replace the status, and wake those who wait."""
        self._status = status
        self._next.set()
        self._next = asyncio.Event()

    @property
    def status(self) -> AgentStatus:
        """The status published last."""
        return self._status

    async def changed(self) -> None:
        """Wait until a status is published after this call."""
        await self._next.wait()
