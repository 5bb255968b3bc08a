"""All controllers of the lab together, and what a new cluster holds from the start."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from antrea_proxy.lab.addressing import AddressPlan
from antrea_proxy.lab.api_server.resources import SERVICES
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane import kubernetes_service
from antrea_proxy.lab.control_plane.controller import Controller
from antrea_proxy.lab.control_plane.deployments import DeploymentController
from antrea_proxy.lab.control_plane.endpoint_slice_controller import EndpointSliceController
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.control_plane.load_balancers import LoadBalancerController
from antrea_proxy.lab.control_plane.replica_sets import ReplicaSetController
from antrea_proxy.lab.control_plane.scheduler import Scheduler
from antrea_proxy.lab.control_plane.service_allocation import ServiceAllocator


class ControlPlane:
    """Attach to a store before the first object is written; `run` works until it is cancelled."""

    def __init__(self, store: Store, plan: AddressPlan) -> None:
        self.store = store
        self.events = EventRecorder(store)
        self._plan = plan
        allocator = ServiceAllocator(plan.services)
        store.add_admission(SERVICES, allocator.admit)
        store.add_observer(SERVICES, allocator.observe)
        self._controllers: tuple[Controller, ...] = (
            Scheduler(store, self.events).controller,
            EndpointSliceController(store).controller,
            LoadBalancerController(store, self.events, plan.load_balancers).controller,
            ReplicaSetController(store, self.events).controller,
            DeploymentController(store, self.events).controller,
        )

    def begin(self, *, api_addresses: Sequence[str], api_port: int) -> None:
        """Write what a new cluster holds: the Service `kubernetes` and its endpoints."""
        kubernetes_service.create(
            self.store, service_ranges=self._plan.services, addresses=api_addresses, port=api_port
        )

    async def run(self) -> None:
        """Run all controllers."""
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run(), name=controller.name)
