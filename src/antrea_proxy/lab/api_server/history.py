"""The events of one kind, kept for watchers that are a little behind, and no further."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice

from antrea_proxy.lab.api_server.errors import expired
from antrea_proxy.lab.api_server.records import Event


class History:
    """The last `limit` events of one kind, and those who wait for the next."""

    __slots__ = ("_compacted", "_dropped", "_events", "_limit", "_waiting")

    def __init__(self, *, limit: int, start: int) -> None:
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._compacted = start
        self._limit = limit
        self._waiting: set[asyncio.Event] = set()

    @property
    def end(self) -> int:
        """The position after the last event; positions count from the first event ever."""
        return self._dropped + len(self._events)

    def append(self, event: Event) -> None:
        """Keep an event and wake whoever waits."""
        self._events.append(event)
        while len(self._events) > self._limit:
            self._drop_oldest()
        for waiting in self._waiting:
            waiting.set()

    def compact(self, resource_version: int) -> None:
        """Forget all events up to and including this moment."""
        while self._events and self._events[0].resource_version <= resource_version:
            self._drop_oldest()
        self._compacted = max(self._compacted, resource_version)
        for waiting in self._waiting:
            waiting.set()

    def _drop_oldest(self) -> None:
        self._compacted = self._events.popleft().resource_version
        self._dropped += 1

    def position_after(self, resource_version: int) -> int:
        """Find where a watch begins that has seen everything up to this moment.

        Raises ApiError (410 Expired) where events after it are already forgotten.
        """
        if resource_version < self._compacted:
            raise expired(f"too old resource version: {resource_version} ({self._compacted})")
        position = self.end
        for event in reversed(self._events):
            if event.resource_version <= resource_version:
                break
            position -= 1
        return position

    def read(self, position: int) -> list[Event]:
        """Give all events from a position on.

        Raises ApiError (410 Expired) where a reader was so slow that events it has not seen are forgotten.
        """
        if position < self._dropped:
            raise expired(f"too old resource version: the watch fell behind the events kept ({self._limit})")
        return list(islice(self._events, position - self._dropped, None))

    async def wait(self, position: int) -> None:
        """Return when there is an event at the position."""
        signal = asyncio.Event()
        self._waiting.add(signal)
        try:
            while self.end <= position:
                signal.clear()
                await signal.wait()
        finally:
            self._waiting.discard(signal)
