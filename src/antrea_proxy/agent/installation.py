"""What the switch is known to hold of every owner, what it refused, and when that is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.openflow.constants import Cookie, GroupId
from antrea_proxy.pipeline.changes import Step, difference
from antrea_proxy.pipeline.units import EMPTY, Owner, Unit

FIRST_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 60.0


def retry_delays() -> Backoff:
    """The delays between attempts at what the switch refused."""
    return Backoff(first=FIRST_RETRY_S, limit=LONGEST_RETRY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A change of an owner that the switch would not take.

    `wanted` is the unit that the owner was to have; `possible` is all that the switch may hold of it, as a large unit
    goes in several bundles. `since` is the Unix time of the change in seconds, `retry_at` a time of the monotonic
    clock.
    """

    error: str
    since: float
    wanted: Unit
    possible: Unit
    retry_at: float
    delays: Backoff


@dataclass(slots=True)
class Installation:
    """Units by owner as the switch confirmed them, and the refusals that are to be tried again."""

    delays: Callable[[], Backoff] = retry_delays
    clock: Callable[[], float] = time.monotonic
    units: dict[Owner, Unit] = field(default_factory=dict)
    refusals: dict[Owner, Refusal] = field(default_factory=dict)
    flows: int = 0
    groups: int = 0

    def concerns(self, owner: Owner) -> bool:
        """Whether the switch has, or may have, something of the owner."""
        return owner in self.units or owner in self.refusals

    def due(self) -> set[Owner]:
        """The refused owners whose next attempt is due."""
        now = self.clock()
        return {owner for owner, refusal in self.refusals.items() if refusal.retry_at <= now}

    def seconds_to_retry(self) -> float | None:
        """How long until an attempt is due; None while nothing is refused."""
        if not self.refusals:
            return None
        return max(0.0, min(refusal.retry_at for refusal in self.refusals.values()) - self.clock())

    def oldest_refusal(self) -> float | None:
        """The Unix time of the oldest change that was refused."""
        return min((refusal.since for refusal in self.refusals.values()), default=None)

    def worth_trying(self, desired: Mapping[Owner, Unit]) -> Mapping[Owner, Unit]:
        """Leave out what was refused just so, and is not due yet."""
        if not self.refusals:
            return desired
        due = self.due()
        return {
            owner: unit
            for owner, unit in desired.items()
            if (refusal := self.refusals.get(owner)) is None or owner in due or refusal.wanted != unit
        }

    def steps(self, desired: Mapping[Owner, Unit]) -> list[Step]:
        """The steps to the desired units; owners refused before come last, each in steps of its own."""
        doubtful = sorted(desired.keys() & self.refusals.keys())
        if not doubtful:
            return difference(self.units, desired)
        steps = difference(self.units, {owner: unit for owner, unit in desired.items() if owner not in self.refusals})
        for owner in doubtful:
            unit = desired[owner]
            steps += difference({owner: _to_be_removed(self.refusals[owner].possible, unit)}, {owner: unit})
        return steps

    def confirm(self, owner: Owner, unit: Unit) -> None:
        """Note that the switch holds exactly this of the owner."""
        self.refusals.pop(owner, None)
        self._hold(owner, unit)

    def still_held(self, owner: Owner, flows: Collection[Cookie], groups: Collection[GroupId]) -> Unit:
        """Reduce the owner's unit to what a switch, read back, still has of it; return that."""
        known = self.units.get(owner, EMPTY)
        unit = Unit(
            flows=tuple(entry for entry in known.flows if entry.cookie in flows),
            groups=tuple(group for group in known.groups if group.group_id in groups),
        )
        self._hold(owner, unit)
        return unit

    def refuse(self, owner: Owner, unit: Unit, error: str, *, since: float) -> None:
        """Note that the switch would not take this; what it confirmed before stays noted."""
        earlier = self.refusals.get(owner)
        delays = self.delays() if earlier is None else earlier.delays
        before = self.units.get(owner, EMPTY) if earlier is None else earlier.possible
        self.refusals[owner] = Refusal(
            error=error,
            since=since if earlier is None else earlier.since,
            wanted=unit,
            possible=_both(before, unit),
            retry_at=self.clock() + delays.next_delay(),
            delays=delays,
        )

    def keep_only(self, owners: Collection[Owner]) -> None:
        """Forget all other owners: the switch was swept of what was theirs."""
        for owner in [owner for owner in (*self.units, *self.refusals) if owner not in owners]:
            self.confirm(owner, EMPTY)

    def _hold(self, owner: Owner, unit: Unit) -> None:
        previous = self.units.pop(owner, EMPTY)
        if unit != EMPTY:
            self.units[owner] = unit
        self.flows += len(unit.flows) - len(previous.flows)
        self.groups += len(unit.groups) - len(previous.groups)


def _both(first: Unit, second: Unit) -> Unit:
    return Unit(
        flows=tuple({entry.cookie: entry for entry in (*first.flows, *second.flows)}.values()),
        groups=tuple(dict.fromkeys((*first.groups, *second.groups))),
    )


def _to_be_removed(possible: Unit, desired: Unit) -> Unit:
    """What is to be treated as known, so that all that is desired is written anew and the rest is removed.

    Both are harmless where they are not needed: an equal flow or group replaces itself, and the removal of what is not
    there is no error (OpenFlow 1.5.1 sections 6.4 and 6.5).
    """
    cookies = {entry.cookie for entry in desired.flows}
    return Unit(
        flows=tuple(entry for entry in possible.flows if entry.cookie not in cookies),
        groups=tuple(group for group in possible.groups if group not in desired.groups),
    )
