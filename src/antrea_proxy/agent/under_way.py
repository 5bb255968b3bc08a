"""Work that has begun and is not awaited yet: the switch does one part while the next is prepared."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, Self

from antrea_proxy.kubernetes.names import NamespacedName

AT_ONCE: Final = 160
"""Services that are decided and compiled together, in some 6 ms: of ordinary ones (three messages each) one bundle."""

AHEAD: Final = 16
"""Parts that may be under way, some 3 MB: so many that a switch which has to wait for a processor stops nobody else."""

_TURNS: Final = 2
"""Turns of the event loop: in the first, work that has begun sends; in the second, answers that have come are read."""


def portions(names: list[NamespacedName]) -> list[list[NamespacedName]]:
    """Cut names into portions of AT_ONCE."""
    return [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]


class UnderWay:
    """Tasks in the order in which they began. As a context manager: whatever ends the block, none of them goes on."""

    def __init__(self) -> None:
        self._tasks: deque[asyncio.Task[None]] = deque()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin some work, and wait for the oldest if too much is under way. Raises what that raised."""
        self._tasks.append(asyncio.create_task(work))
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if len(self._tasks) > AHEAD:
            await self._tasks.popleft()

    async def done(self) -> None:
        """Wait for all. Raises what the first of them raised."""
        while self._tasks:
            await self._tasks.popleft()
