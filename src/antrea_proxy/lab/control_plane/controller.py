"""A controller's loop: names of what changed go in, a plain function brings each in order, failures are tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

Key = tuple[str, str]
"""The namespace and name of an object; the namespace is empty outside of namespaces."""

_FIRST_RETRY: Final = 0.05
_LAST_RETRY: Final = 30.0
_LOG = logging.getLogger(__name__)


class Controller:
    """Runs `reconcile` for every enqueued key, one at a time; a key enqueued twice meanwhile runs once.

    `reconcile` is synchronous and works on the store as it is at that moment, so it needs no locks. It may return
    seconds after which it wants to see the key again.
    """

    def __init__(self, name: str, reconcile: Callable[[Key], float | None]) -> None:
        self.name = name
        self._reconcile = reconcile
        self._dirty: dict[Key, None] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def enqueue(self, key: Key) -> None:
        """Have a key looked at soon."""
        self._dirty[key] = None
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                key = next(iter(self._dirty))
                del self._dirty[key]
                self._run_one(key)
                await asyncio.sleep(0)  # requests are answered in between

    def _run_one(self, key: Key) -> None:
        try:
            again = self._reconcile(key)
        except Exception:  # noqa: BLE001 - one object must not stop the others; it is named and tried again
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(_FIRST_RETRY * 2**failures, _LAST_RETRY)
            _LOG.exception("%s: %s/%s failed, again in %.2f s", self.name, *key, delay)
            self._enqueue_later(key, delay)
        else:
            self._failures.pop(key, None)
            if again is not None:
                self._enqueue_later(key, again)

    def _enqueue_later(self, key: Key, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.enqueue, key)
