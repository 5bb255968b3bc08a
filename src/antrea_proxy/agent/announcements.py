"""What is still to be said about Services' problems in Kubernetes Events, and when. Waits for nothing itself.

An agent says each problem once while it lasts, and once that it is over, however often it is looked at. Times are those
of a monotonic clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.problems import Problem
from antrea_proxy.sinks import EventText, Severity

EVENTS_PER_S: Final = 1.0
BURST: Final = 25
"""What one agent may write: 25 Events at once (as many as client-go's recorder lets pass), then one a second."""

SETTLE_S: Final = 1.0
"""A problem that is over before, such as a conflict while two Services exchange their addresses, is not told."""

FIRST_GAP_S: Final = 2.0
LONGEST_GAP_S: Final = 300.0
"""Between two turns of one Service, doubled from turn to turn: what comes and goes all the time is told of 12 times an
hour at last, as often as client-go's recorder would let it."""

SOLVED: Final = "ProblemSolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One Event that is due: `about` one Service; `told` are its problems that are known once it is written."""

    about: Service
    text: EventText
    told: frozenset[Problem]


@dataclass(slots=True, kw_only=True)
class _Subject:
    """A Service, its problems as they are, and those that were told."""

    service: Service
    problems: Sequence[Problem]
    told: frozenset[Problem] = frozenset()
    not_before: float = 0.0
    gap: float = 0.0

    @property
    def all_told(self) -> bool:
        return self.told == frozenset(self.problems)


class Announcements:
    """The Services of which something is to be said, those that wait longest first."""

    def __init__(self) -> None:
        self._subjects: dict[NamespacedName, _Subject] = {}
        self._waiting: dict[NamespacedName, None] = {}
        self._budget_full_at = 0.0

    def want(self, service: Service, problems: Sequence[Problem], now: float) -> None:
        """Note all that is wrong with a Service."""
        name = service.metadata.namespaced_name
        subject = self._subjects.get(name)
        if subject is None:
            subject = self._subjects[name] = _Subject(service=service, problems=problems)
        elif subject.service.metadata.uid != service.metadata.uid:
            subject.told = frozenset()  # another object, whose Events are its own
        subject.service, subject.problems = service, problems
        if subject.all_told:
            self._waiting.pop(name, None)
        elif name not in self._waiting:
            self._waiting[name] = None
            subject.not_before = max(subject.not_before, now + SETTLE_S)

    def forget(self, name: NamespacedName) -> None:
        """Note that a Service is no more: nobody would see what is said about it."""
        self._subjects.pop(name, None)
        self._waiting.pop(name, None)

    def due(self, now: float) -> Announcement | None:
        """Return what is to be said next, None if nothing may be said yet."""
        if now < self._next_allowed():
            return None
        name = next((name for name in self._waiting if self._subjects[name].not_before <= now), None)
        return None if name is None else _announcement(self._subjects[name])

    def seconds_to_next(self, now: float) -> float | None:
        """How long until something is due; None while nothing waits."""
        if not self._waiting:
            return None
        earliest = min(self._subjects[name].not_before for name in self._waiting)
        return max(0.0, earliest - now, self._next_allowed() - now)

    def said(self, announcement: Announcement, now: float) -> None:
        """Note that it was written, or never can be."""
        self._budget_full_at = max(self._budget_full_at, now) + 1 / EVENTS_PER_S
        metadata = announcement.about.metadata
        subject = self._subjects.get(metadata.namespaced_name)
        if subject is None or subject.service.metadata.uid != metadata.uid:
            return
        subject.told = announcement.told
        if subject.all_told:
            quiet = now - subject.not_before > LONGEST_GAP_S
            subject.gap = FIRST_GAP_S if quiet or not subject.gap else min(LONGEST_GAP_S, 2 * subject.gap)
            subject.not_before = now + subject.gap
            self._waiting.pop(metadata.namespaced_name, None)

    def postpone(self, announcement: Announcement) -> None:
        """Let others go first: this one could not be written just now."""
        name = announcement.about.metadata.namespaced_name
        if self._waiting.pop(name, self) is not self:
            self._waiting[name] = None

    def _next_allowed(self) -> float:
        return self._budget_full_at - (BURST - 1) / EVENTS_PER_S


def _announcement(subject: _Subject) -> Announcement:
    """New problems of one reason together, else all that are over."""
    new = [problem for problem in subject.problems if problem not in subject.told]
    if new:
        together = [problem for problem in new if problem.reason is new[0].reason]
        text = EventText(
            severity=Severity.WARNING, reason=new[0].reason.value, message=_sentences(subject.service, together)
        )
        return Announcement(about=subject.service, text=text, told=subject.told | frozenset(together))
    over = subject.told - frozenset(subject.problems)
    text = EventText(
        severity=Severity.NORMAL,
        reason=SOLVED,
        message=f"no longer: {_sentences(subject.service, sorted(over, key=str))}",
    )
    return Announcement(about=subject.service, text=text, told=subject.told - over)


def _sentences(service: Service, problems: Sequence[Problem]) -> str:
    """The problems' texts; that they are this Service's is said by the Event already."""
    own = f"Service {service.metadata.namespaced_name}: "
    return "; ".join(problem.text.removeprefix(own) for problem in problems)
