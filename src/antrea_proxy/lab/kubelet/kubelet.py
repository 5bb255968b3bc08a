"""The kubelet of one Node: one worker for each Pod that is bound to it."""

from __future__ import annotations

import asyncio
import logging

from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import PODS
from antrea_proxy.lab.kubelet.pod_worker import NodeContext, PodWorker

_LOG = logging.getLogger(__name__)


class Kubelet:
    """Follows the store; `run` must be running before Pods are bound to the Node."""

    def __init__(self, context: NodeContext) -> None:
        self._context = context
        self._workers: dict[str, PodWorker] = {}
        self._halted: list[PodWorker] = []
        self._changes: asyncio.Queue[Event] = asyncio.Queue()
        context.store.add_observer(PODS, self._changes.put_nowait)

    async def run(self) -> None:
        """Serve until cancelled; the workers end with it, without a graceful end for their Pods."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._apply(await self._changes.get(), group)

    async def check_wiring(self) -> list[str]:
        """Ask the CNI plugin about every Pod of the Node (CHECK); gives what is wrong."""
        answers = await asyncio.gather(*(worker.check_wiring() for worker in [*self._workers.values()]))
        return [answer for answer in answers if answer]

    async def halt(self) -> None:
        """Lose all Pods' processes and networks, as with the Node's power; the API server hears nothing of it."""
        self._halted = [*self._workers.values()]
        await asyncio.gather(*(worker.halt() for worker in self._halted))

    async def boot(self) -> None:
        """Begin the Pods anew that `halt` has ended; those bound to the Node since then have begun by themselves."""
        halted, self._halted = self._halted, []
        await asyncio.gather(*(worker.boot() for worker in halted))

    def _apply(self, event: Event, group: asyncio.TaskGroup) -> None:
        uid = event.record.uid
        worker = self._workers.get(uid)
        if event.type is EventType.DELETED:
            if worker is not None:
                worker.abandon()
            return
        if worker is None:
            pod = event.object
            if pod["spec"].get("nodeName") == self._context.node and event.type is not EventType.BOOKMARK:
                self._begin(uid, PodWorker(self._context, pod), group)
                worker = self._workers[uid]
        if worker is not None and b'"deletionTimestamp"' in event.record.encoded:
            grace = event.object["metadata"].get("deletionGracePeriodSeconds")
            worker.end(0.0 if grace is None else float(grace))

    def _begin(self, uid: str, worker: PodWorker, group: asyncio.TaskGroup) -> None:
        self._workers[uid] = worker
        task = group.create_task(self._run(worker))
        task.add_done_callback(lambda _done: self._workers.pop(uid, None))

    async def _run(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        except Exception:  # noqa: BLE001 - one Pod's trouble must not end the others
            _LOG.exception("a Pod of %s was given up", self._context.node)
