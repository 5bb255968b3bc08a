"""The one loop: from what the sources tell to what the switch holds.

A change goes out at once; only while a commit is under way do more of them gather. A start, a restart, a reconnect and
a commit whose outcome is not known are one path: the switch is read back, and what differs is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

import structlog

from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.errors import CommitRefused, NetworkUnknown, SwitchLost
from antrea_proxy.agent.restoration import restored_group_ids
from antrea_proxy.agent.status import AgentStatus, Phase, SourceReport
from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.kubernetes.cluster import ClusterState, Dirty
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.values import Network
from antrea_proxy.pipeline.changes import Step, difference, resynchronisation
from antrea_proxy.pipeline.compilation import compile_network
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.service_flows import compile_services
from antrea_proxy.pipeline.units import EMPTY, Owner, OwnerKind, Unit
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancerName, LoadBalancers, desired_load_balancers
from antrea_proxy.proxy.service_ports import Protocol as ServiceProtocol
from antrea_proxy.proxy.service_ports import why_left_alone

_log = structlog.get_logger(__name__)

_NETWORK_KINDS: Final = frozenset({OwnerKind.BASE, OwnerKind.NODE, OwnerKind.POD})


class Switch(Protocol):
    """What the loop asks of the switch."""

    async def connect(self) -> None:
        """Reach it. Raises SwitchLost."""

    async def contents(self) -> SwitchContents:
        """Read back what it holds. Raises SwitchLost."""

    async def commit(self, messages: Sequence[bytes]) -> None:
        """Let messages take effect together. Raises CommitRefused or SwitchLost."""

    async def wait_lost(self) -> None:
        """Return when the connection has ended."""


@dataclass(slots=True)
class _Decided:
    """What was decided last for every Service, as the status shows it."""

    load_balancers: dict[LoadBalancerName, LoadBalancer] = field(default_factory=dict)
    names: dict[NamespacedName, tuple[LoadBalancerName, ...]] = field(default_factory=dict)
    left_alone: dict[NamespacedName, str] = field(default_factory=dict)
    problems: dict[NamespacedName, tuple[str, ...]] = field(default_factory=dict)

    def take(self, table: LoadBalancers, cluster: ClusterState) -> set[LoadBalancerName]:
        """Note new decisions; return the load balancers that are no more."""
        gone: set[LoadBalancerName] = set()
        for name, ports in table.services.items():
            gone.update(self.names.pop(name, ()))
            self.left_alone.pop(name, None)
            self.problems.pop(name, None)
            service = cluster.services.get(name)
            if service is not None and (reason := why_left_alone(service)) is not None:
                self.left_alone[name] = reason
            problems = ports.problems + tuple(text for item in cluster.slices_of(name) for text in item.problems)
            if problems:
                self.problems[name] = problems
        present: dict[NamespacedName, list[LoadBalancerName]] = {}
        for load_balancer in table:
            self.load_balancers[load_balancer.name] = load_balancer
            present.setdefault(load_balancer.name.port.service, []).append(load_balancer.name)
        self.names |= {name: tuple(names) for name, names in present.items()}
        gone -= {name for names in present.values() for name in names}
        for lost in gone:
            del self.load_balancers[lost]
        return gone


class Reconciler:
    """Brings the switch to what the cluster and the network ask for, and keeps it there.

    `network` computes the Node's network from the cluster, or says why it cannot; `admit` raises if what a switch holds
    must not be touched; `publish` is given the new status after every step forward. All methods belong to the event
    loop's thread.
    """

    def __init__(
        self,
        *,
        cluster: ClusterState,
        status: AgentStatus,
        switch: Switch,
        network: Callable[[ClusterState], Network | str],
        admit: Callable[[SwitchContents], Awaitable[None]],
        publish: Callable[[AgentStatus], None],
        unsupported: Mapping[ServiceProtocol, str],
    ) -> None:
        self._cluster = cluster
        self._switch = switch
        self._compute_network = network
        self._admit = admit
        self._publish = publish
        self._unsupported = unsupported
        self._ids: GroupIds[LoadBalancerName] = GroupIds()
        self._decided = _Decided()
        self._installed: dict[Owner, Unit] = {}
        self._failed: dict[Owner, str] = {}
        self._network: Network | None = None
        self._dirty = Dirty()
        self._network_dirty = True
        self._pending_since: float | None = None
        self._wake = asyncio.Event()
        self._begin = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._arriving: list[asyncio.Future[None]] = []
        self._messages = 0
        self.synchronised = False
        self.status = replace(
            status,
            load_balancers=MappingProxyType(self._decided.load_balancers),
            left_alone=MappingProxyType(self._decided.left_alone),
            service_problems=MappingProxyType(self._decided.problems),
            installed=MappingProxyType(self._installed),
        )

    def mark(self, dirty: Dirty) -> None:
        """Note that these Services, or the Nodes, may have changed."""
        if dirty:
            self._dirty |= dirty
            self._touch()

    def mark_network(self) -> None:
        """Note that Pods' interfaces, or the Node's own, may have changed."""
        self._network_dirty = True
        self._touch()

    def begin(self) -> None:
        """Allow the first step: every kind has been listed once."""
        self._begin.set()

    async def settled(self) -> None:
        """Wait until the switch holds everything that is marked by now."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        await future

    def raise_failure(self, owner: Owner) -> None:
        """Raise CommitRefused if the switch would not take this owner's flows."""
        if owner in self._failed:
            raise CommitRefused({0: self._failed[owner]})

    def show_sources(self, sources: tuple[SourceReport, ...]) -> None:
        """Publish how the sources are doing."""
        self.status = replace(self.status, sources=sources)
        self._publish(self.status)

    def describe_switch(self, *, bridge: str, datapath_type: str, ovs_version: str) -> None:
        """Say which switch it is, for the status."""
        report = replace(self.status.switch, bridge=bridge, datapath_type=datapath_type, ovs_version=ovs_version)
        self.status = replace(self.status, switch=report)

    async def run(self) -> None:
        """Go on for ever. Raises what `admit` raises."""
        await self._begin.wait()
        backoff = Backoff()
        while True:
            try:
                await self._synchronise()
                backoff.reset()
                await self._follow()
            except NetworkUnknown as error:
                self._show(Phase.STARTING, str(error))
                _log.warning("the Node has no Pod network yet", reason=str(error))
                self._wake.clear()
                await self._wake.wait()
            except SwitchLost as error:
                self._report_switch(connected=False)
                self._show(Phase.RETRYING, str(error))
                delay = backoff.next_delay()
                _log.warning("the switch is out of reach", error=str(error), retry_in_seconds=round(delay, 2))
                await asyncio.sleep(delay)

    async def _synchronise(self) -> None:
        """Read the switch back and write what differs; what does not belong goes last.

        Without the network nothing is touched: what the switch holds may be all that keeps its Pods connected.
        """
        await self._switch.connect()
        contents = await self._switch.contents()
        await self._admit(contents)
        table = self._decide(self._cluster.services.keys() | self._decided.names.keys())
        self._ids.restore(restored_group_ids(contents, table), present=contents.groups)
        self._take_marks()
        units = self._network_units()
        if self._network is None:
            raise NetworkUnknown("; ".join(self.status.network_problems))
        units |= compile_services(table, self._ids)
        started = time.monotonic()
        steps = resynchronisation(contents.flows.keys(), contents.groups, units)
        self._installed.clear()
        await self._commit(steps, units)
        self.synchronised = True
        self._report_switch(connected=True, resynchronised=True, seconds=time.monotonic() - started)
        _log.info(
            "the switch is synchronised",
            services=len(table.services),
            steps=len(steps),
            messages=sum(len(step.messages) for step in steps),
            seconds=round(time.monotonic() - started, 3),
        )
        self._arrived()

    async def _follow(self) -> None:
        """Carry single changes to the switch until it is lost."""
        lost = asyncio.ensure_future(self._switch.wait_lost())
        try:
            while True:
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({lost, waking}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                if lost.done():
                    raise SwitchLost("the connection to the switch ended")
                self._wake.clear()
                await self._step()
        finally:
            lost.cancel()

    async def _step(self) -> None:
        dirty, network_dirty = self._take_marks()
        units: dict[Owner, Unit] = {}
        gone: set[LoadBalancerName] = set()
        if network_dirty:
            units |= self._network_units()
        if dirty.services:
            table = self._table(dirty.services)
            gone = self._decided.take(table, self._cluster)
            units |= compile_services(table, self._ids)
        started = time.monotonic()
        steps = difference(self._installed, units)
        await self._commit(steps, units)
        self._ids.release(gone)
        if steps:
            self._report_switch(connected=True, seconds=time.monotonic() - started)
        self._arrived()

    def _decide(self, names: Iterable[NamespacedName]) -> LoadBalancers:
        table = self._table(names)
        self._decided.take(table, self._cluster)
        return table

    def _table(self, names: Iterable[NamespacedName]) -> LoadBalancers:
        return desired_load_balancers(
            self._cluster, names, node_name=self.status.node_name, unsupported=self._unsupported
        )

    def _network_units(self) -> dict[Owner, Unit]:
        """The network's units; owners that are no more get an empty one. What cannot be read stays as it was."""
        found = self._compute_network(self._cluster)
        if isinstance(found, Network):
            self._network = found
            problems = tuple(map(str, found.problems))
        else:
            problems = (found,)
        network = self._network
        self.status = replace(self.status, network=network, network_problems=problems)
        if network is None:
            return {}
        units = compile_network(network)
        gone = [owner for owner in self._installed if owner.kind in _NETWORK_KINDS and owner not in units]
        return units | dict.fromkeys(gone, EMPTY)

    async def _commit(self, steps: Sequence[Step], units: Mapping[Owner, Unit]) -> None:
        """Send the steps in order.

        What the switch refuses is sent again by owner, so that one bad unit harms no other.
        """
        refused: dict[Owner, str] = {}
        for step in steps:
            try:
                await self._switch.commit(step.messages)
            except CommitRefused as error:
                if len(step.parts) == 1:
                    refused[step.parts[0].owner] = str(error)
                    continue
                for part in step.parts:
                    try:
                        await self._switch.commit(part.messages)
                    except CommitRefused as single:
                        refused[part.owner] = str(single)
        for owner, unit in units.items():
            if owner in refused:
                self._failed[owner] = refused[owner]
                _log.error("the switch refused a change", owner=str(owner), error=refused[owner])
            else:
                self._failed.pop(owner, None)
                if unit == EMPTY:
                    self._installed.pop(owner, None)
                else:
                    self._installed[owner] = unit
        self._messages = sum(len(step.messages) for step in steps)

    def _take_marks(self) -> tuple[Dirty, bool]:
        dirty, network_dirty = self._dirty, self._network_dirty or self._dirty.nodes
        self._dirty, self._network_dirty = Dirty(), False
        self._arriving, self._waiting = self._waiting, []
        return dirty, network_dirty

    def _touch(self) -> None:
        if self._pending_since is None:
            self._pending_since = time.time()
        self._wake.set()

    def _arrived(self) -> None:
        if not (self._dirty or self._network_dirty):
            self._pending_since = None
        problem = "; ".join(f"{owner}: {error}" for owner, error in self._failed.items())
        self._show(Phase.RETRYING if problem else Phase.RUNNING, problem)
        for future in self._arriving:
            if not future.done():
                future.set_result(None)

    def _report_switch(self, *, connected: bool, resynchronised: bool = False, seconds: float | None = None) -> None:
        report = self.status.switch
        if seconds is None:
            report = replace(report, connected=connected)
        else:
            report = replace(
                report,
                connected=connected,
                flows=sum(len(unit.flows) for unit in self._installed.values()),
                groups=sum(len(unit.groups) for unit in self._installed.values()),
                commits=report.commits + 1,
                failed_commits=report.failed_commits + bool(self._failed),
                messages=report.messages + self._messages,
                resynchronisations=report.resynchronisations + resynchronised,
                last_commit_seconds=seconds,
                last_commit_at=time.time(),
            )
        self.status = replace(self.status, switch=report)

    def _show(self, phase: Phase, problem: str) -> None:
        self.status = replace(self.status, phase=phase, problem=problem, pending_since=self._pending_since)
        self._publish(self.status)
