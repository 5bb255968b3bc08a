"""Says what is wrong with Services where their owners look: in the log, and in Kubernetes Events."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NoReturn

import structlog

from antrea_proxy.agent.announcements import Announcements
from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.kubernetes.kinds import SERVICES
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.problems import Problem
from antrea_proxy.sinks import create_event
from antrea_proxy.sources import ApiClient, RefusedError, SourceError

_log = structlog.get_logger(__name__)

LONGEST_RETRY_S: Final = 300.0

NEVER_TAKEN: Final = frozenset({400, 404, 409, 413, 422})
"""HTTP codes of a refusal that is about this one Event, and would be the same again: the namespace is gone, say."""


def retry_delays() -> Backoff:
    """The delays between attempts to write Events that the API server does not take, for want of rights, say."""
    return Backoff(first=1.0, limit=LONGEST_RETRY_S)


class EventRecorder:
    """Keeps the log and the Events of the agent on `node` up to date with Services' problems.

    `service` finds the object by its name. What cannot be written waits, and nobody waits for it.
    """

    def __init__(
        self,
        *,
        node: str,
        service: Callable[[NamespacedName], Service | None],
        retrying: Callable[[], Backoff] = retry_delays,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._service = service
        self._retrying = retrying
        self._clock = clock
        self._logged: dict[NamespacedName, frozenset[Problem]] = {}
        self._announcements = Announcements()
        self._woken = asyncio.Event()

    def consider(self, name: NamespacedName, problems: tuple[Problem, ...]) -> None:
        """Take all that is wrong with a Service now."""
        self._log(name, problems)
        service = self._service(name)
        if service is None:
            self._announcements.forget(name)
        else:
            self._announcements.want(service, problems, self._clock())
            self._woken.set()

    async def run(self, client: ApiClient) -> NoReturn:
        """Write Events for ever. A refusal, for want of rights, say, is logged once, until one is written again."""
        backoff = self._retrying()
        complaint: object = None
        while True:
            self._woken.clear()
            announcement = self._announcements.due(self._clock())
            if announcement is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._announcements.seconds_to_next(self._clock())):
                        await self._woken.wait()
                continue
            # `kubectl describe` does not show the Node that an Event's source names.
            text = replace(announcement.text, message=f"on {self._node}: {announcement.text.message}")
            try:
                await create_event(client, SERVICES, announcement.about, text, node=self._node)
            except SourceError as error:
                code = error.code if isinstance(error, RefusedError) else type(error)
                if code != complaint:
                    complaint = code
                    _log.warning("Events about Services cannot be written", error=str(error))
                if code in NEVER_TAKEN:
                    self._announcements.said(announcement, self._clock())
                else:
                    self._announcements.postpone(announcement)
                    asked = error.retry_after_s if isinstance(error, RefusedError) else None
                    await asyncio.sleep(max(backoff.next_delay(), asked or 0.0))
            else:
                complaint = None
                backoff.reset()
                self._announcements.said(announcement, self._clock())

    def _log(self, name: NamespacedName, problems: tuple[Problem, ...]) -> None:
        before = self._logged.pop(name, frozenset())
        if problems:
            self._logged[name] = frozenset(problems)
        for problem in problems:
            if problem not in before:
                _log.warning("a Service is not served wholly", problem=problem.text, reason=problem.reason.value)
        for problem in before.difference(problems):
            _log.info("a Service's problem is over", problem=problem.text, reason=problem.reason.value)
