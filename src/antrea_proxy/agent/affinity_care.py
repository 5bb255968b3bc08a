"""Session affinity in time: when clients are to be chosen afresh, and what the switch has learned, kept right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.pipeline.affinity import epoch, next_epoch, upkeep
from antrea_proxy.pipeline.changes import BUNDLE_MESSAGES
from antrea_proxy.proxy.load_balancers import LoadBalancerName

LOOK_EVERY_S: Final = 1.0
"""The least time between two looks: with many clients, one of them is due at any moment."""

Commit = Callable[[Sequence[bytes]], Awaitable[None]]


class AffinityCare:
    """Knows which load balancers remember clients, `timeouts` in seconds by name. Times are Unix times in seconds."""

    def __init__(self, timeouts: Mapping[LoadBalancerName, int]) -> None:
        self._timeouts = timeouts
        self._known: dict[LoadBalancerName, int] = {}
        self._turned_at = 0.0
        self._next_turn: float | None = None
        self._look_at: float | None = None

    def due(self) -> float | None:
        """When something is to be done next; None if nothing ever is."""
        times = [time for time in (self._next_turn, self._look_at) if time is not None]
        return min(times, default=None)

    def note(self, now: float) -> None:
        """Take up what was decided: other time-outs call for a look at what was learned."""
        if self._timeouts != self._known:
            self._known = dict(self._timeouts)
            self._look_at = now
            self._next_turn = min((next_epoch(seconds, now) for seconds in set(self._known.values())), default=None)
            self._turned_at = now

    def turned(self, now: float) -> set[NamespacedName]:
        """The Services of which clients without an entry are chosen by a new epoch from now on."""
        if self._next_turn is None or now < self._next_turn:
            return set()
        turns = {
            seconds for seconds in set(self._known.values()) if epoch(seconds, now) != epoch(seconds, self._turned_at)
        }
        self._turned_at = now
        self._next_turn = min(next_epoch(seconds, now) for seconds in set(self._known.values()))
        return {name.port.service for name, seconds in self._known.items() if seconds in turns}

    def must_look(self, now: float) -> bool:
        """Whether what was learned is to be compared with the time-outs."""
        return self._look_at is not None and now >= self._look_at

    async def tend(
        self,
        learned: Iterable[FlowDesc],
        numbers: Callable[[LoadBalancerName], GroupId | None],
        commit: Commit,
        now: float,
    ) -> None:
        """Put right what was learned. Raises what `commit` raises, and is due again then."""
        timeouts = {number: seconds for name, seconds in self._known.items() if (number := numbers(name)) is not None}
        result = upkeep(learned, timeouts)
        self._look_at = now + LOOK_EVERY_S
        for start in range(0, len(result.messages), BUNDLE_MESSAGES):
            await commit(result.messages[start : start + BUNDLE_MESSAGES])
        self._look_at = None if result.again_in is None else now + max(result.again_in, LOOK_EVERY_S)
