"""Sends a watch: events as lines of JSON, as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from antrea_proxy.lab.api_server.errors import ApiError, JsonObject
from antrea_proxy.lab.api_server.negotiation import Form
from antrea_proxy.lab.api_server.records import Event, encode
from antrea_proxy.lab.api_server.replies import WatchReply, shown
from antrea_proxy.lab.api_server.selectors import select_event
from antrea_proxy.lab.api_server.store import Store

BOOKMARK_SECONDS = 15.0
"""How often a watch that allows bookmarks is told the moment up to which it has seen everything."""
_EVENTS_AT_ONCE = 256
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class WatchLines:
    """Turns one watch into the lines to send."""

    def __init__(self, store: Store, reply: WatchReply) -> None:
        self._store = store
        self._reply = reply

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the lines, several at once where several events are due, until the time-out; never an empty chunk."""
        reply = self._reply
        if reply.refusal is not None:
            yield _error_line(reply.refusal)
            return
        for start in range(0, len(reply.first), _EVENTS_AT_ONCE):
            yield b"".join(self._line(event) for event in reply.first[start : start + _EVENTS_AT_ONCE])
        if reply.list_ends_at is not None:
            yield self._bookmark(reply.list_ends_at, annotations={_INITIAL_EVENTS_END: "true"})
        loop = asyncio.get_running_loop()
        end = None if reply.timeout_seconds is None else loop.time() + reply.timeout_seconds
        history = self._store.history(reply.resource)
        position = reply.position
        while True:
            try:
                events = history.read(position)
            except ApiError as error:
                yield _error_line(error)
                return
            position += len(events)
            moment = self._store.resource_version
            selected = [found for event in events if (found := select_event(event, reply.selection)) is not None]
            for start in range(0, len(selected), _EVENTS_AT_ONCE):
                yield b"".join(self._line(event) for event in selected[start : start + _EVENTS_AT_ONCE])
            wait = BOOKMARK_SECONDS if end is None else min(BOOKMARK_SECONDS, end - loop.time())
            try:
                async with asyncio.timeout(max(wait, 0)):
                    await history.wait(position)
            except TimeoutError:
                if reply.bookmarks and history.end == position:
                    yield self._bookmark(max(moment, self._store.resource_version))
                if end is not None and loop.time() >= end:
                    return

    def _line(self, event: Event) -> bytes:
        if self._reply.accepted.form is Form.OBJECT:
            return event.line
        reply = self._reply
        obj = shown(
            reply.resource,
            event.object,
            reply.accepted,
            now=self._store.now(),
            include_object=reply.include_object,
        )
        return b'{"type":"%b","object":%b}\n' % (event.type.encode(), obj)

    def _bookmark(self, moment: int, **metadata: JsonObject) -> bytes:
        resource = self._reply.resource
        obj: JsonObject = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": str(moment), "creationTimestamp": None, **metadata},
        }
        return encode({"type": "BOOKMARK", "object": obj}) + b"\n"


def _error_line(error: ApiError) -> bytes:
    return encode({"type": "ERROR", "object": error.to_status()}) + b"\n"
