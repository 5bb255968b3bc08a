"""What has changed and is not in the switch yet: since when, and who waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from antrea_proxy.agent.status import ChangesReport
from antrea_proxy.kubernetes.cluster import Dirty, Trigger
from antrea_proxy.kubernetes.names import NamespacedName


@dataclass(slots=True)
class Marks:
    """Changes first wait, then are under way, then have arrived. `woken` is set while any wait.

    `counted` is all that was marked since the start.
    """

    network: bool = True
    counted: ChangesReport = field(default_factory=ChangesReport)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    _services: set[NamespacedName] = field(default_factory=set)
    _nodes: bool = False
    _triggers: list[Trigger] = field(default_factory=list)
    _triggers_under_way: list[Trigger] = field(default_factory=list)
    _since: float | None = None
    _under_way_since: float | None = None
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)
    _arriving: list[asyncio.Future[None]] = field(default_factory=list)

    @property
    def pending_since(self) -> float | None:
        """The Unix time of the oldest change that has not arrived, None when all have."""
        return self._since if self._under_way_since is None else self._under_way_since

    def mark(self, dirty: Dirty, *, network: bool = False) -> None:
        """Note a change."""
        self._services |= dirty.services
        self._nodes |= dirty.nodes
        self.network |= network or dirty.nodes
        self._triggers += dirty.triggers
        now = time.time()
        if self._since is None:
            self._since = now
        self.counted = replace(
            self.counted,
            services=self.counted.services + dirty.service_changes,
            endpoint_slices=self.counted.endpoint_slices + dirty.endpoint_slice_changes,
            last_at=now,
        )
        self.woken.set()

    def arrival(self) -> asyncio.Future[None]:
        """Return what is done once everything that is marked by now has arrived."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self.woken.set()
        return future

    def take(self) -> tuple[Dirty, bool]:
        """Give all that waits, and whether the network is concerned; it is under way from now on.

        What was under way already, and never arrived because the switch was lost, arrives with it.
        """
        taken = Dirty(services=frozenset(self._services), nodes=self._nodes), self.network
        self._services, self._nodes, self.network = set(), False, False
        self._under_way_since, self._since = self.pending_since, None
        self._triggers_under_way += self._triggers
        self._triggers = []
        self._arriving += self._waiting
        self._waiting = []
        self.woken.clear()
        return taken

    def arrived(self, *, balanced: Collection[NamespacedName], refused: Collection[NamespacedName]) -> None:
        """Note that all that was taken is in the switch, or was refused by it.

        Of Services that are balanced here it is counted how long that took; of those refused when they arrive.
        """
        self._under_way_since = None
        if self._triggers_under_way:
            now = time.time()
            arrived = [moment for name, moment in self._triggers_under_way if name in balanced and name not in refused]
            self._triggers_under_way = [trigger for trigger in self._triggers_under_way if trigger[0] in refused]
            programming = self.counted.programming.with_more(*(max(0.0, now - moment) for moment in arrived))
            self.counted = replace(self.counted, programming=programming)
        for future in self._arriving:
            if not future.done():
                future.set_result(None)
        self._arriving = []
