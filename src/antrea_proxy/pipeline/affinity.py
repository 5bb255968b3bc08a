"""Session affinity: a client's choice, the flow that remembers it, and what time does to these flows.

A client without an entry is given an endpoint by a hash of its address alone, so that any number of first connections
at once go to one endpoint, and the flow that the switch then learns says the same. The hash has the epoch as its
parameter, which changes at least once within the time-out: a client whose time is over is chosen afresh.

A learned flow's idle time is the time since the client's last new connection, since only these meet it. Up to
IDLE_TIMEOUT_MAX the switch ends it by itself; beyond, `upkeep` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from antrea_proxy.openflow.constants import Cookie, FlowModCommand, GroupId
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.units import COOKIE_MARK, OwnerKind

IDLE_TIMEOUT_MAX: Final = 0xFFFF
"""Seconds: what 16 bits hold (OpenFlow 1.5.1 section 7.3.4.2)."""

GRACE_S: Final = 1
"""The switch counts a flow's packets every half second, so that an entry lives a second longer, never shorter."""

IDS: Final = 0xFFFF_FF00
"""An endpoint's number, also its bucket's, is 1 to this less one (OpenFlow 1.5.1, OFPG_BUCKET_MAX)."""

MOST_IN_GROUP: Final = 512
"""Endpoints of one hash group: a message holds 1,023 buckets, and equal scores of 16 bits are rare among so many."""


def endpoint_ids(endpoints: Iterable[bytes]) -> list[int]:
    """A number for each endpoint, by its key: what it is depends on the key, but for a clash, which the order decides.

    So a learned flow means the same endpoint whatever else comes and goes, and after a restart.
    """
    taken: set[int] = set()
    numbers: list[int] = []
    for key in endpoints:
        number = int.from_bytes(blake2b(key, digest_size=4).digest(), "big") % (IDS - 1) + 1
        while number in taken:
            number = number % (IDS - 1) + 1
        taken.add(number)
        numbers.append(number)
    return numbers


def parts(numbers: Sequence[int]) -> list[list[int]]:
    """Spread endpoints over hash groups, by their numbers alone: a change of one changes one group.

    Returns places in `numbers`; a single list where one group is enough.
    """
    count = 1
    while len(numbers) > count * MOST_IN_GROUP:
        count *= 2
    if count == 1:
        return [list(range(len(numbers)))]
    found: list[list[int]] = [[] for _ in range(count)]
    for place, number in enumerate(numbers):
        found[number % count].append(place)
    return [part for part in found if part]


def epoch(timeout: int, now: float) -> int:
    """The number of the time-out's turn, `now` being the Unix time in seconds."""
    return int(now // timeout)


def next_epoch(timeout: int, now: float) -> float:
    """The Unix time at which the next turn begins."""
    return float((epoch(timeout, now) + 1) * timeout)


def idle_timeout(timeout: int) -> int:
    """The idle time-out of the learned flows, 0 where the switch cannot end them."""
    return timeout + GRACE_S if timeout + GRACE_S <= IDLE_TIMEOUT_MAX else 0


def learned_cookie(balancer: GroupId) -> Cookie:
    """The cookie of what is learned for a load balancer."""
    return Cookie(COOKIE_MARK << 56 | OwnerKind.AFFINITY << 48 | balancer)


def balancer_of(cookie: int) -> GroupId | None:
    """The load balancer whose clients a flow remembers; None if it is no such flow."""
    if cookie >> 48 != COOKIE_MARK << 8 | OwnerKind.AFFINITY:
        return None
    return GroupId(cookie & 0xFFFF_FFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """Messages that put learned flows right, and in how many seconds to look again; None if that is not needed."""

    messages: tuple[bytes, ...]
    again_in: float | None


def upkeep(learned: Iterable[FlowDesc], timeouts: Mapping[GroupId, int]) -> Upkeep:
    """Compare learned flows with the time-outs, in seconds, of the load balancers that have session affinity.

    A flow of no such load balancer goes, and one that is over. One with the idle time-out of an earlier setting is
    written anew, so that it counts from now at most once. What the switch cannot end by itself is due when it is over.
    """
    messages: list[bytes] = []
    # Who comes after this look is due no earlier than that.
    again_in: float | None = min(
        (timeout + GRACE_S for timeout in timeouts.values() if not idle_timeout(timeout)), default=None
    )
    for entry in learned:
        balancer = balancer_of(entry.cookie)
        timeout = timeouts.get(balancer) if balancer is not None else None
        remaining = -1.0 if timeout is None else timeout + GRACE_S - (entry.stats.idle_time or 0.0)
        if timeout is None or remaining <= 0:
            messages.append(encode(_strictly(entry, FlowModCommand.DELETE_STRICT)))
            continue
        wanted = idle_timeout(timeout)
        if entry.idle_timeout != wanted:
            messages.append(encode(_strictly(entry, FlowModCommand.ADD, idle_timeout=wanted)))
        if not wanted:
            again_in = min(again_in or remaining, remaining)
    return Upkeep(messages=tuple(messages), again_in=again_in)


def _strictly(entry: FlowDesc, command: FlowModCommand, *, idle_timeout: int = 0) -> FlowMod:
    return FlowMod(
        command=command,
        table=entry.table,
        priority=entry.priority,
        match=entry.match,
        cookie=entry.cookie if command is FlowModCommand.ADD else Cookie(0),
        actions=entry.actions if command is FlowModCommand.ADD else (),
        idle_timeout=idle_timeout,
    )
