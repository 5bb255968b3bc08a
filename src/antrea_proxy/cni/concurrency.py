"""Two tools of asyncio that the standard library lacks: a lock for each key, and work that a cancellation waits for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

_Outcome = TypeVar("_Outcome")


class KeyedLocks:
    """One lock a key, kept only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    def busy(self, key: str) -> bool:
        """Whether somebody holds the key's lock or waits for it."""
        return key in self._users

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the key's lock; those who wait get it in their order."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            async with lock:
                yield
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]


async def uninterrupted(work: Coroutine[object, object, _Outcome]) -> _Outcome:
    """Run work to its end also when the caller is cancelled meanwhile; the cancellation is raised after that."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # taken notice of: the cancellation comes first
        raise cancelled
    return task.result()
