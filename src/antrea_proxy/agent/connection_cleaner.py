"""Lets the switch forget connections that a change has made stale, beside the one loop.

The datapath's own flows follow the flow tables a moment later, and a packet of that moment makes a stale entry anew.
So the switch is asked three times: at once, and twice more when the datapath has followed, each time only for what is
still stale then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Sequence
from enum import Enum
from itertools import islice
from typing import Final

import structlog

from antrea_proxy.agent.errors import FlushRefused, SwitchLost
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.openflow.messages import ConntrackFlush
from antrea_proxy.ovsdb import OvsdbError
from antrea_proxy.pipeline.conntrack_dump import flushes, read_dump
from antrea_proxy.pipeline.service_flows import service_owner
from antrea_proxy.pipeline.stale_connections import Course, Endpoint, Serving, at_each_address, made_stale, served_by
from antrea_proxy.pipeline.units import Owner
from antrea_proxy.proxy.frontends import Protocol
from antrea_proxy.proxy.load_balancers import LoadBalancers
from antrea_proxy.proxy.selection import IPAddress

_log = structlog.get_logger(__name__)

ROUNDS: Final = 2
"""How often the datapath is waited for: a round of its own that ends first may have begun before the change."""

MOST_WALKS: Final = 10
"""For more courses than this, all entries are listed and the stale ones named one by one.

A flush of a course walks all entries: 6 to 9 ms for 32,000; to list them costs the switch 80 ms, and to forget one that
is named 0.02 ms.
"""

AT_ONCE: Final = 250
"""So many named entries are forgotten, in some 5 ms, before the switch may do something else."""


class _Everything(Enum):
    """The courses of all entries that there are, known or not."""

    EVERYTHING = "everything"


_EVERYTHING: Final = _Everything.EVERYTHING
_Asked = Course | _Everything


class ConnectionCleaner:
    """Knows what the Services serve, and what of it the switch has confirmed.

    Only connections of `protocols` are forgotten; with none, nothing is. `flush` and `dump` reach the switch,
    `followed` returns when the datapath has ended a round, `asked` is given the number of messages sent.
    """

    def __init__(
        self,
        *,
        protocols: Collection[Protocol],
        flush: Callable[[Sequence[ConntrackFlush]], Awaitable[None]],
        dump: Callable[[], Awaitable[str]],
        followed: Callable[[], Awaitable[None]],
        asked: Callable[[int], None],
    ) -> None:
        self._protocols = protocols
        self._flush = flush
        self._dump = dump
        self._followed = followed
        self._asked = asked
        self._wanted = Serving()
        self._installed = Serving()
        self._unconfirmed: set[NamespacedName] = set()
        self._new: set[_Asked] = set()
        self._due: dict[_Asked, int] = {}
        self._woken = asyncio.Event()
        self._pending = asyncio.Event()

    def node_ports_at(self, addresses: Iterable[IPAddress]) -> None:
        """Note the Node's own addresses at which NodePorts are served."""
        known = frozenset(addresses)
        for serving in (self._wanted, self._installed):
            serving.node_port_addresses = known

    def decided(self, table: LoadBalancers) -> None:
        """Note decisions that the switch is about to be told."""
        found = served_by(table, self._protocols)
        self._wanted.put(found)
        self._unconfirmed |= found.keys()

    def confirmed(self, refused: Container[Owner], *, resynchronised: bool = False) -> None:
        """Note that the switch holds what was decided, but for refused owners; have stale connections forgotten.

        When it was `resynchronised`, what it held before is not known, and all its connections are looked at.
        """
        names = {name for name in self._unconfirmed if service_owner(name) not in refused}
        self._unconfirmed -= names
        if resynchronised:
            self._ask([_EVERYTHING] if self._protocols else [])
        else:
            before = {key: value for name in names for key, value in self._installed.of(name).items()}
            after = {key: value for name in names for key, value in self._wanted.of(name).items()}
            self._ask(made_stale(before, after))
        self._installed.put({name: self._wanted.of(name) for name in names})

    async def run(self) -> None:
        """Go on for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._clean_at_once(), name="stale connections, at once")
            tasks.create_task(self._clean_again(), name="stale connections, once more")

    def _ask(self, what: Iterable[_Asked]) -> None:
        self._new.update(what)
        self._due |= dict.fromkeys(self._new, ROUNDS)
        if self._new:
            self._woken.set()
            self._pending.set()

    async def _clean_at_once(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            asked, self._new = self._new, set()
            await self._clean(asked)

    async def _clean_again(self) -> None:
        while True:
            await self._pending.wait()
            asked, self._due = self._due, {}
            await self._followed()
            await self._clean(asked)
            for one, rounds in asked.items():
                if rounds > 1:
                    self._due.setdefault(one, rounds - 1)
            if not self._due:
                self._pending.clear()

    async def _clean(self, asked: Iterable[_Asked]) -> None:
        """A switch that is lost is compared as a whole when it is back."""
        courses = {one for one in asked if not isinstance(one, _Everything) and self._is_stale(one)}
        try:
            if _EVERYTHING in asked or len(courses) > MOST_WALKS:
                await self._compare()
                return
            for course in courses:
                if self._is_stale(course):  # it may be wanted again by now
                    own = self._wanted.node_port_addresses
                    await self._send([one.flush() for one in at_each_address(course, own)])
        except SwitchLost:
            return
        except (FlushRefused, OvsdbError) as error:
            _log.error("stale connections are not forgotten", error=str(error), courses=len(courses))

    async def _compare(self) -> None:
        entries = await asyncio.to_thread(read_dump, await self._dump())
        stale = flushes(entries, self._is_stale)
        while some := list(islice(stale, AT_ONCE)):
            await self._send(some)

    async def _send(self, wanted: Sequence[ConntrackFlush]) -> None:
        self._asked(len(wanted))
        await self._flush(wanted)

    def _is_stale(self, course: Course) -> bool:
        """An endpoint that is to come back, or whose removal the switch has refused, keeps its connections."""
        wanted = self._wanted.endpoints(course.destination)
        installed = self._installed.endpoints(course.destination)
        if course.translated:
            return course.endpoint not in (wanted or _NONE) | (installed or _NONE)
        return wanted is not None and installed is not None


_NONE: Final[frozenset[Endpoint]] = frozenset()
