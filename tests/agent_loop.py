"""The agent's loop on a switch in memory: a cluster to change, and what became of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

import msgspec

from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.connection_cleaner import ConnectionCleaner
from antrea_proxy.agent.reconciler import Reconciler
from antrea_proxy.agent.reports import Reports
from antrea_proxy.agent.status import AgentStatus
from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.objects import EndpointSlice, Service
from antrea_proxy.network.values import Network
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.messages import FlowMod, Message
from antrea_proxy.pipeline.service_templates import PORT_PRIORITY
from antrea_proxy.pipeline.stale_connections import WITHOUT_AN_END
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.proxy.frontends import Protocol, Rules
from model_switch_async import AsyncModelSwitch
from model_tracker import ModelTracker
from worlds import network

Json = dict[str, Any]


async def admit_all(_: SwitchContents) -> None:
    """Let the agent have the switch."""


@dataclass
class Loop:
    """A Reconciler of node-1, its switch, and the statuses that it published.

    What the switch refused is tried again after `retry` seconds.
    """

    switch: AsyncModelSwitch = field(default_factory=AsyncModelSwitch)
    cluster: ClusterState = field(default_factory=ClusterState)
    net: Network | str = field(default_factory=network)
    admit: Callable[[SwitchContents], Awaitable[None]] = admit_all
    rules: Rules = field(default_factory=Rules)
    published: list[AgentStatus] = field(default_factory=list)
    retry: float = 0.02
    tracker: ModelTracker = field(default_factory=ModelTracker)
    cleaned_protocols: Collection[Protocol] = WITHOUT_AN_END
    reports: Reports = field(init=False)
    cleaner: ConnectionCleaner = field(init=False)
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        self.reports = Reports(
            AgentStatus(node_name="node-1", version="0", started_at=0.0),
            publish=self.published.append,
            claimants=self.cluster.claimants,
        )
        self.cleaner = ConnectionCleaner(
            protocols=self.cleaned_protocols,
            flush=self.tracker.flush,
            dump=self.tracker.dump,
            followed=self.tracker.followed,
            asked=self.reports.count_flushes,
        )
        self.reconciler = Reconciler(
            cluster=self.cluster,
            node_name="node-1",
            reports=self.reports,
            switch=self.switch,
            network=lambda _: self.net,
            admit=lambda contents: self.admit(contents),  # noqa: PLW0108 - a test may replace it
            cleaner=self.cleaner,
            rules=self.rules,
            reconnecting=lambda: Backoff(first=0.001, limit=0.001),
            retrying=lambda: Backoff(first=self.retry, limit=self.retry),
        )

    def last(self) -> AgentStatus:
        """The status published last."""
        return self.published[-1]

    def list(self, services: Sequence[Json] = (), slices: Sequence[Json] = ()) -> None:
        """Let the cluster be these objects, and no others."""
        self.reconciler.mark(self.cluster.list_services(msgspec.convert(list(services), list[Service])))
        self.reconciler.mark(self.cluster.list_slices(msgspec.convert(list(slices), list[EndpointSlice])))

    def put(self, service: Json | None = None, *slices: Json) -> None:
        """Add or change objects."""
        if service is not None:
            self.reconciler.mark(self.cluster.put_service(msgspec.convert(service, Service)))
        if slices:
            self.reconciler.mark(self.cluster.put_slices(msgspec.convert(list(slices), list[EndpointSlice])))

    def remove(self, service: Json) -> None:
        """Remove a Service."""
        name = msgspec.convert(service, Service).metadata.namespaced_name
        self.reconciler.mark(self.cluster.remove_service(name))

    async def settled(self) -> None:
        """Wait for all that was marked."""
        async with asyncio.timeout(5):
            await self.reconciler.settled()

    async def cleaned(self) -> None:
        """Wait for all that was marked, and until no stale connection is to be forgotten any more."""
        await self.settled()
        await self.until(lambda: not self.cleaner._pending.is_set())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something."""
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - the condition may be anything
                await asyncio.sleep(0.001)

    @contextlib.asynccontextmanager
    async def running(self, *, settle: bool = True) -> AsyncIterator[None]:
        """Run it, from its start on with all kinds listed."""
        tasks = [asyncio.create_task(self.reconciler.run()), asyncio.create_task(self.cleaner.run())]
        self.reconciler.begin()
        try:
            if settle:
                await self.settled()
            yield
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def serves(self, address: str) -> bool:
        """Whether the switch has a flow for a Service's address and port that does something."""
        return any(_leads_to(flow, address) for flow in self.switch.model.flows.values())


def _leads_to(flow: FlowMod, address: str) -> bool:
    port_flow = flow.table == Table.SERVICE_LB.id and flow.priority == PORT_PRIORITY
    return port_flow and address_of(flow) == address


def address_of(message: Message) -> str | None:
    """The IPv4 destination that a flow matches."""
    if not isinstance(message, FlowMod):
        return None
    values = {condition.field: condition.value for condition in message.match.conditions}
    return str(IPv4Address(values[fields.IPV4_DST])) if fields.IPV4_DST in values else None


def refuse_address(address: str) -> Callable[[Message], bool]:
    """Refuse flows for an address."""
    return lambda message: address_of(message) == address
