"""All controllers of the lab together, and what a new cluster holds from the start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antrea_proxy.lab.addressing import AddressPlan
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.control_plane.scheduler import Scheduler


class ControlPlane:
    """Attach to a store before the first object is written; `run` works until it is cancelled."""

    def __init__(self, store: Store, plan: AddressPlan) -> None:
        self.store = store
        self.events = EventRecorder(store)
        self._plan = plan
        self._scheduler = Scheduler(store, self.events)

    def begin(self, *, api_addresses: Sequence[str], api_port: int) -> None:
        """Write what a new cluster holds: the Service `kubernetes` and its endpoints."""

    async def run(self) -> None:
        """Run all controllers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._scheduler.controller.run(), name="scheduler")
