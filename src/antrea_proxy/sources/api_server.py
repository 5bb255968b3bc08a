"""List and watch against a Kubernetes API server (Kubernetes API concepts, "Efficient detection of changes").

One life of a kind: list; watch from the list's resourceVersion; a watch that ends is resumed from the last version that
it told, and only where the server does not have that any more (410 Gone) everything is listed anew. Where the server
offers it, the watch itself begins with the list (KEP 3157, "Streaming lists"), which the server then need not hold in
memory as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from typing import Final, Generic

import aiohttp

from antrea_proxy.kubernetes.decoding import DecodingError, decode_watch_events
from antrea_proxy.kubernetes.events import (
    Bookmark,
    Deleted,
    ErrorEvent,
    Event,
    Listed,
    Listing,
    Undecodable,
    WatchEvent,
)
from antrea_proxy.kubernetes.kinds import AnyKind, Kind, ObjectT
from antrea_proxy.kubernetes.list_reader import ListReader
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.sources.backoff import CAP_S, FIRST_S, Backoff
from antrea_proxy.sources.client import ApiClient, Request
from antrea_proxy.sources.errors import RefusedError, SourceError, UnreachableError
from antrea_proxy.sources.lines import Lines
from antrea_proxy.sources.status import SourceStatus, StatusListener
from antrea_proxy.sources.streamed_list import StreamedList

GONE: Final = 410
_LIST_ANEW: Final = frozenset({400, 404, GONE, 504})
"""Answers to a watch that no later try of the same resourceVersion can mend: 504 also means "too large" a version."""
_NO_STREAMING: Final = frozenset({400, 422})
"""How servers without streaming lists refuse one."""
_FAILURES_BEFORE_LIST: Final = 5
_LASTING_S: Final = 60.0
"""How long what was listed must have been followed, for the next list to be no repetition of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds. A watch is asked to end after a random time between the two bounds (client-go: 5 to 10 minutes).

    `answer_s` is the longest wait for the start of an answer; a watch that outlives its time by `grace_s` is dropped.
    A watch that ends sooner than `too_short_s` without a word counts as a failure.
    """

    shortest_watch_s: float = 300.0
    longest_watch_s: float = 600.0
    grace_s: float = 30.0
    answer_s: float = 60.0
    too_short_s: float = 1.0


class _WatchEnded(Exception):  # noqa: N818  # the usual end, not an error
    """The server ended the watch in good order."""


@dataclass(slots=True)
class _Life(Generic[ObjectT]):
    """What one kind's loop remembers: the version to resume from (None: list first), and its faults.

    `streams` says whether the next list is to be the beginning of a watch: not where one has just broken off.
    `backoff` counts failures in a row; `relisting` lists that nothing lasting came of, however many events each of them
    was followed by: a server that has every version expire would otherwise be asked for everything without a pause.
    """

    kind: Kind[ObjectT]
    backoff: Backoff
    relisting: Backoff
    status: SourceStatus
    version: str | None = None
    streams: bool = True
    listed_at: float = -math.inf
    """When the last list was complete, in seconds of the monotonic clock."""


@dataclass(slots=True, kw_only=True)
class ApiServerSource:
    """A Source that follows an API server.

    With `streaming_lists`, they are asked for until the server says that it has none. `page_size` asks for other lists
    in chunks of so many objects; 0: in one piece.
    """

    client: ApiClient
    on_status: StatusListener
    timings: Timings = field(default_factory=Timings)
    first_backoff_s: float = FIRST_S
    streaming_lists: bool = True
    page_size: int = 0
    random: random.Random = field(default_factory=random.SystemRandom)

    async def watch(self, kind: Kind[ObjectT]) -> AsyncGenerator[list[Event[ObjectT]], None]:
        """Follow one kind for ever: see Source."""
        life = _Life(
            kind=kind,
            backoff=Backoff(first_s=self.first_backoff_s, random=self.random),
            relisting=Backoff(first_s=self.first_backoff_s, random=self.random),
            status=SourceStatus(kind=kind.name),
        )
        while True:
            streams = life.version is None and life.streams and self.streaming_lists
            try:
                if life.version is None and not streams:
                    async with contextlib.aclosing(self._list(life)) as pieces:
                        async for piece in pieces:
                            yield [piece]
                async with contextlib.aclosing(self._follow(life)) as batches:
                    async for batch in batches:
                        yield batch
            except _WatchEnded:
                life.backoff.succeeded()
            except (SourceError, DecodingError) as error:
                code = error.code if isinstance(error, RefusedError) and streams and life.version is None else None
                if code in _NO_STREAMING:
                    self.streaming_lists = False
                    continue
                life.streams = life.streams and code not in _LIST_ANEW
                await self._pause(life, error)

    async def _list(self, life: _Life[ObjectT]) -> AsyncGenerator[Listing[ObjectT] | Listed[ObjectT], None]:
        told: set[NamespacedName] = set()
        undecodable: list[Undecodable] = []
        query = {"limit": str(self.page_size)} if self.page_size else {}
        last = None
        while last is None or last.continue_token:
            if last is not None:
                told.update(item.metadata.namespaced_name for item in last.items)
                yield Listing(kind=life.kind, objects=last.items)
                query["continue"] = last.continue_token
            reader = ListReader(life.kind)
            request = Request(path=life.kind.path, query=query, silence_s=self.timings.answer_s)
            async with self.client.open(request) as response:
                while data := await self.client.read_some(response):
                    piece = reader.feed(data)
                    undecodable += piece.undecodable
                    if piece.items:
                        told.update(item.metadata.namespaced_name for item in piece.items)
                        yield Listing(kind=life.kind, objects=piece.items)
            last = reader.end()
            undecodable += last.undecodable
        yield self._listed(
            life,
            Listed(
                kind=life.kind,
                objects=last.items,
                resource_version=last.resource_version,
                told_before=frozenset(told),
                undecodable=tuple(undecodable),
            ),
        )

    def _listed(self, life: _Life[ObjectT], end: Listed[ObjectT]) -> Listed[ObjectT]:
        life.version, life.listed_at = end.resource_version, time.monotonic()
        life.streams = True
        self._publish(life, replace(life.status, lists=life.status.lists + 1, undecodable=end.undecodable))
        return end

    async def _follow(self, life: _Life[ObjectT]) -> AsyncGenerator[list[Event[ObjectT]], None]:
        duration = self.random.uniform(self.timings.shortest_watch_s, self.timings.longest_watch_s)
        started = time.monotonic()
        lines, heard = Lines(), False
        beginning = StreamedList(life.kind) if life.version is None else None
        async with contextlib.AsyncExitStack() as stack:
            response = await self._open_watch(life, duration, stack)
            life.streams = beginning is None
            self._publish(life, replace(life.status, connected_since=time.time()))
            until = started + duration + self.timings.grace_s
            while data := await self._read(life, response, until=until):
                events = decode_watch_events(life.kind, lines.split(data))
                heard = heard or bool(events)
                if beginning is not None:
                    told, events = beginning.take(events)
                    if told:
                        yield told
                    if beginning.end is not None:
                        yield [self._listed(life, beginning.end)]
                        beginning = None
                batch, ended = self._take(life, events)
                if batch:
                    yield batch
                if ended is not None:
                    raise _as_error(ended)
        if lines.incomplete:
            raise UnreachableError(f"{self.client.server}: the watch of {life.kind.plural} ended in mid-object")
        if beginning is not None:
            raise UnreachableError(f"{self.client.server}: the watch of {life.kind.plural} ended in mid-list")
        if not heard and time.monotonic() - started < self.timings.too_short_s:
            raise UnreachableError(f"{self.client.server}: the watch of {life.kind.plural} was ended as it began")
        raise _WatchEnded

    async def _open_watch(
        self, life: _Life[ObjectT], duration: float, stack: contextlib.AsyncExitStack
    ) -> aiohttp.ClientResponse:
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": life.version or "",
            "timeoutSeconds": str(max(1, round(duration))),
        }
        if life.version is None:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        request = Request(path=life.kind.path, query=query, silence_s=None)
        try:
            async with asyncio.timeout(self.timings.answer_s):
                response = await stack.enter_async_context(self.client.open(request))
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.client.server}: no answer to a watch of {life.kind.plural} in {self.timings.answer_s:.0f} s"
            ) from error
        return response

    async def _read(self, life: _Life[ObjectT], response: aiohttp.ClientResponse, *, until: float) -> bytes:
        """A list does not fall silent; a watch may, until its time is over."""
        patience = self.timings.answer_s if life.version is None else until - time.monotonic()
        try:
            async with asyncio.timeout(patience):
                return await self.client.read_some(response)
        except TimeoutError as error:
            if life.version is None:
                raise UnreachableError(
                    f"{self.client.server}: nothing more of the list of {life.kind.plural} in {patience:.0f} s"
                ) from error
            raise _WatchEnded from error

    def _take(
        self, life: _Life[ObjectT], events: list[WatchEvent[ObjectT]]
    ) -> tuple[list[Event[ObjectT]], ErrorEvent | None]:
        batch: list[Event[ObjectT]] = []
        for event in events:
            if isinstance(event, ErrorEvent):
                return batch, event
            life.backoff.succeeded()
            if isinstance(event, Bookmark | Deleted | Undecodable):
                life.version = event.resource_version or life.version
            else:
                life.version = event.object.metadata.resource_version
            if not isinstance(event, Bookmark):
                batch.append(event)
        self._note_undecodable(life, batch)
        return batch, None

    def _note_undecodable(self, life: _Life[ObjectT], batch: list[Event[ObjectT]]) -> None:
        now = {item.name: item for item in life.status.undecodable}
        for event in batch:
            if isinstance(event, Undecodable):
                now[event.name] = event
            elif now and not isinstance(event, Listed | Listing):
                now.pop(event.name if isinstance(event, Deleted) else event.object.metadata.namespaced_name, None)
        if tuple(now.values()) != life.status.undecodable:
            self._publish(life, replace(life.status, undecodable=tuple(now.values())))

    async def _pause(self, life: _Life[ObjectT], error: SourceError | DecodingError) -> None:
        since = life.status.connected_since
        if since is not None and time.time() - since > CAP_S:
            life.backoff.succeeded()
        asked_for = error.retry_after_s if isinstance(error, RefusedError) else None
        wait_s = life.backoff.failed(at_least_s=asked_for)
        if (
            isinstance(error, DecodingError)
            or (isinstance(error, RefusedError) and error.code in _LIST_ANEW)
            or life.backoff.failures % _FAILURES_BEFORE_LIST == 0
        ):
            life.version = None
            if time.monotonic() - life.listed_at > _LASTING_S:
                life.relisting.succeeded()
            wait_s = max(wait_s, life.relisting.failed())
        status = replace(life.status, connected_since=None, last_error=str(error), last_error_at=time.time())
        self._publish(life, status)
        await asyncio.sleep(wait_s)

    def _publish(self, life: _Life[ObjectT], status: SourceStatus) -> None:
        life.status = status
        self.on_status(status)


def _as_error(event: ErrorEvent) -> RefusedError:
    kind: AnyKind = event.kind
    return RefusedError(
        f"the API server ended the watch of {kind.plural} with {event.code} {event.reason}: {event.message}",
        code=event.code,
        reason=event.reason,
    )
