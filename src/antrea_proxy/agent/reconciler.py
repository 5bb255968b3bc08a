"""The one loop: from what the sources tell to what the switch holds.

A change goes out at once; only while a commit is under way do more of them gather. A start, a restart, a reconnect and
a commit whose outcome is not known are one path: the switch is read back, and what differs is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from antrea_proxy.agent.affinity_care import AffinityCare
from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.connection_cleaner import ConnectionCleaner
from antrea_proxy.agent.decisions import Decisions
from antrea_proxy.agent.errors import CommitRefused, NetworkUnknown, SwitchLost
from antrea_proxy.agent.installation import Installation, retry_delays
from antrea_proxy.agent.marks import Marks
from antrea_proxy.agent.reports import Reports
from antrea_proxy.agent.restoration import Restoration
from antrea_proxy.agent.status import Phase
from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.agent.under_way import UnderWay, portions
from antrea_proxy.host.services import Demands, HostServices
from antrea_proxy.kubernetes.cluster import ClusterState, Dirty
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.values import Network
from antrea_proxy.openflow.entries import FlowDesc
from antrea_proxy.pipeline.changes import SWEEP, Step, completion, sweep
from antrea_proxy.pipeline.compilation import compile_network
from antrea_proxy.pipeline.direct_slots import Histories
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.service_flows import compile_services, service_owner
from antrea_proxy.pipeline.units import EMPTY, Owner, OwnerKind, Unit
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers, desired_load_balancers

_log = structlog.get_logger(__name__)

LONGEST_RECONNECT_S: Final = 2.0
"""The switch is on this machine: asking for it costs next to nothing, and Pods wait for it."""


def reconnect_delays() -> Backoff:
    """The delays between attempts to reach the switch."""
    return Backoff(limit=LONGEST_RECONNECT_S)


class Switch(Protocol):
    """What the loop asks of the switch."""

    async def connect(self) -> None:
        """Reach it. Raises SwitchLost."""

    async def contents(self) -> SwitchContents:
        """Read back what it holds. Raises SwitchLost."""

    async def learned(self) -> Sequence[FlowDesc]:
        """Read back what it has learned of clients. Raises SwitchLost."""

    async def commit(self, messages: Sequence[bytes]) -> None:
        """Let messages take effect together. Raises CommitRefused or SwitchLost."""

    async def wait_lost(self) -> None:
        """Return when the connection has ended."""


@dataclass(slots=True)
class _Written:
    """What one pass has sent so far: for whom it was, who was refused, and how much it was."""

    units: dict[Owner, Unit] = field(default_factory=dict)
    refused: set[Owner] = field(default_factory=set)
    steps: int = 0
    messages: int = 0


class Reconciler:
    """Brings the switch to what the cluster and the network ask for, and keeps it there.

    `reports` is told of every step forward, and `cleaner` what was decided, and what of it the switch has confirmed.
    `network` computes the Node's network from the cluster, or says why it cannot; `admit` raises if what a switch holds
    must not be touched; `serve` is given what Services ask of the Node's own stack, once the switch is ready for it.
    `chooses_ports` is what pipeline.capabilities says of the switch's tracker. `reconnecting` and `retrying` make the
    delays between attempts to reach the switch, and at what it refused. All methods belong to the event loop's thread.
    """

    def __init__(
        self,
        *,
        cluster: ClusterState,
        node_name: str,
        reports: Reports,
        switch: Switch,
        network: Callable[[ClusterState], Network | str],
        admit: Callable[[SwitchContents], Awaitable[None]],
        cleaner: ConnectionCleaner,
        rules: Rules,
        chooses_ports: bool = False,
        serve: Callable[[HostServices], None] = lambda _: None,
        reconnecting: Callable[[], Backoff] = reconnect_delays,
        retrying: Callable[[], Backoff] = retry_delays,
    ) -> None:
        self._cluster = cluster
        self._node_name = node_name
        self._reports = reports
        self._switch = switch
        self._compute_network = network
        self._admit = admit
        self._cleaner = cleaner
        self._serve = serve
        self._demands = Demands(proxy_all=rules.proxy_all)
        self._rules = rules
        self._chooses_ports = chooses_ports
        self._reconnecting = reconnecting
        self._ids: GroupIds[LoadBalancerName] = GroupIds()
        self._histories: Histories[LoadBalancerName] = Histories()
        self._numbers_to_release: set[LoadBalancerName] = set()
        self._decisions = Decisions(problems=reports.problems)
        self._affinity = AffinityCare(self._decisions.affinities)
        self._installation = Installation(delays=retrying)
        self._network: Network | None = None
        self._network_owners: frozenset[Owner] = frozenset()
        self._marks = Marks()
        self._begin = asyncio.Event()
        self.synchronised = False
        reports.follow(self._decisions, self._installation)

    def mark(self, dirty: Dirty) -> None:
        """Note that these Services, or the Nodes, may have changed."""
        if dirty:
            self._mark(dirty)

    def mark_network(self) -> None:
        """Note that Pods' interfaces, or the Node's own, may have changed."""
        self._mark(Dirty(), network=True)

    def begin(self) -> None:
        """Allow the first step: every kind has been listed once."""
        self._begin.set()

    async def settled(self) -> None:
        """Wait until the switch holds, or has refused, everything that is marked by now."""
        await self._marks.arrival()

    def raise_failure(self, owner: Owner) -> None:
        """Raise CommitRefused if the switch would not take this owner's flows."""
        refusal = self._installation.refusals.get(owner)
        if refusal is not None:
            raise CommitRefused({0: refusal.error})

    async def run(self) -> None:
        """Go on for ever. Raises what `admit` raises."""
        await self._begin.wait()
        backoff = self._reconnecting()
        while True:
            try:
                await self._synchronise()
                backoff.reset()
                await self._follow()
            except NetworkUnknown:
                await self._network_known()
            except SwitchLost as error:
                status = self._reports.status
                known = not status.switch.connected and status.problem == str(error)
                self._reports.note_disconnected()
                self._show(Phase.RETRYING, str(error))
                delay = backoff.next_delay()
                if not known:
                    _log.warning("the switch is out of reach", error=str(error), retry_in_seconds=round(delay, 2))
                await asyncio.sleep(delay)

    async def _network_known(self) -> None:
        """Wait until the Node's network can be computed; what is marked meanwhile stays marked."""
        told = None
        while isinstance(reason := self._compute_network(self._cluster), str):
            if reason != told:
                self._reports.note_network(self._network, (reason,))
                self._show(Phase.STARTING, reason)
                _log.warning("the Node has no Pod network yet", reason=reason)
                told = reason
            self._marks.woken.clear()
            await self._marks.woken.wait()

    async def _synchronise(self) -> None:
        """Read the switch back and write what differs; what does not belong goes last.

        Without the network nothing is touched: what the switch holds may be all that keeps its Pods connected.
        """
        await self._switch.connect()
        contents = await self._switch.contents()
        await self._admit(contents)
        if self._network is None and isinstance(reason := self._compute_network(self._cluster), str):
            raise NetworkUnknown(reason)
        started = time.monotonic()
        dirty, _ = self._marks.take()
        names = self._cluster.services.keys() | self._decisions.balanced | dirty.services
        written = await self._complete(contents, names)
        units, refused = written.units, written.refused
        if refused:
            units |= {owner: self._installation.still_held(owner, contents.flows, contents.groups) for owner in refused}
        self._serve(self._demands.wanted)
        steps = sweep(contents.flows.keys(), contents.groups.keys(), units)
        await self._commit(steps, {SWEEP: EMPTY}, written)
        self._cleaner.confirmed(self._installation.refusals, resynchronised=True)
        self._affinity.note(time.time())
        await self._tend(contents.learned, time.time())
        self._installation.keep_only(units.keys() | {SWEEP})
        self.synchronised = True
        self._reports.note_commit(
            self._installation,
            resynchronised=True,
            failed=bool(refused),
            messages=written.messages,
            seconds=time.monotonic() - started,
        )
        _log.info(
            "the switch is synchronised",
            services=len(names),
            steps=written.steps,
            messages=written.messages,
            seconds=round(time.monotonic() - started, 3),
        )
        self._arrived()

    async def _complete(self, contents: SwitchContents, names: Collection[NamespacedName]) -> _Written:
        """Write what a switch lacks: the network first, then the Services, some of them while the next are compiled."""
        written = _Written()
        earlier = Restoration(contents, self._cluster.nodes)
        self._ids.restore(earlier.taken)
        self._histories = Histories()
        self._numbers_to_release.clear()
        await self._add(contents, self._network_units(), written)
        now = time.time()
        async with UnderWay() as under_way:
            for some in portions(list(names)):
                table = self._table(some)
                self._decisions.take(table, self._cluster)
                self._cleaner.decided(table)
                self._demands.take(table.services)
                known = earlier.numbers(table)
                self._ids.adopt(known)
                self._histories.restore(earlier.histories(known))
                units = compile_services(table, self._ids, self._histories, now=now)
                await under_way.begin(self._add(contents, units, written))
            await under_way.done()
        return written

    async def _add(self, contents: SwitchContents, units: Mapping[Owner, Unit], written: _Written) -> None:
        written.units |= units
        await self._commit(completion(contents.flows.keys(), contents.groups, units), units, written)

    async def _follow(self) -> None:
        """Carry single changes to the switch until it is lost, or has to be read back."""
        lost = asyncio.ensure_future(self._switch.wait_lost())
        waking = asyncio.ensure_future(self._marks.woken.wait())
        try:
            while SWEEP not in self._installation.due():
                await asyncio.wait(
                    {lost, waking},
                    timeout=self._seconds_to_wait(),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if lost.done():
                    raise SwitchLost("the connection to the switch ended")
                await self._step()
                if waking.done():
                    waking = asyncio.ensure_future(self._marks.woken.wait())
        finally:
            lost.cancel()
            waking.cancel()

    def _seconds_to_wait(self) -> float | None:
        """How long until something is due by itself; None if only a mark calls for a step."""
        retry, due = self._installation.seconds_to_retry(), self._affinity.due()
        waits = [] if retry is None else [retry]
        if due is not None:
            waits.append(max(0.0, due - time.time()))
        return min(waits, default=None)

    async def _tend(self, learned: Sequence[FlowDesc], now: float) -> None:
        """Put right what the switch has learned of clients."""
        try:
            await self._affinity.tend(learned, self._ids.known, self._switch.commit, now)
        except CommitRefused as error:
            _log.error("the switch refused a change of what it has learned of clients", error=str(error))

    async def _step(self) -> None:
        now = time.time()
        dirty, network_dirty = self._marks.take()
        due = self._installation.due()
        names = dirty.services | self._affinity.turned(now)
        if dirty.nodes:
            names |= self._decisions.direct
        names |= {NamespacedName.parse(owner.name) for owner in due if owner.kind is OwnerKind.SERVICE}
        units: dict[Owner, Unit] = {}
        if network_dirty or any(owner.kind is not OwnerKind.SERVICE for owner in due):
            units |= self._network_units()
        if names:
            table = self._table(names)
            self._numbers_to_release |= self._decisions.take(table, self._cluster)
            self._cleaner.decided(table)
            units |= compile_services(table, self._ids, self._histories, now=now)
        started = time.monotonic()
        wanted = self._installation.worth_trying(units)
        steps = self._installation.steps(wanted)
        written = _Written()
        await self._commit(steps, wanted, written)
        self._cleaner.confirmed(self._installation.refusals)
        if names and self._demands.take(table.services):
            self._serve(self._demands.wanted)
        self._affinity.note(now)
        if self._affinity.must_look(now):
            await self._tend(await self._switch.learned(), now)
        self._release_numbers()
        if steps:
            self._reports.note_commit(
                self._installation,
                failed=bool(written.refused),
                messages=written.messages,
                seconds=time.monotonic() - started,
            )
        self._arrived()

    def _release_numbers(self) -> None:
        """Numbers of load balancers that are no more, and whose groups the switch has forgotten, are free again."""
        if not self._numbers_to_release:
            return
        free = {
            name
            for name in self._numbers_to_release
            if service_owner(name.port.service) not in self._installation.refusals
        }
        self._numbers_to_release -= free
        self._ids.release(free - self._decisions.load_balancers.keys())
        self._histories.forget(free - self._decisions.load_balancers.keys())

    def _table(self, names: Iterable[NamespacedName]) -> LoadBalancers:
        return desired_load_balancers(self._cluster, names, node_name=self._node_name, rules=self._rules)

    def _network_units(self) -> dict[Owner, Unit]:
        """The network's units; owners that are no more get an empty one. What cannot be read stays as it was."""
        found = self._compute_network(self._cluster)
        if isinstance(found, Network):
            self._network = found
            entry = found.service_entry
            self._cleaner.node_ports_at(() if entry is None else entry.node_port_addresses)
            problems = tuple(map(str, found.problems))
        else:
            problems = (found,)
        self._reports.note_network(self._network, problems)
        if self._network is None:
            return {}
        units = compile_network(self._network, chooses_ports=self._chooses_ports)
        gone = {owner for owner in self._network_owners - units.keys() if self._installation.concerns(owner)}
        self._network_owners = frozenset(units) | gone
        return units | dict.fromkeys(gone, EMPTY)

    async def _commit(self, steps: Sequence[Step], units: Mapping[Owner, Unit], written: _Written) -> None:
        """Send the steps in order, and note what the switch holds then, and whom it refused.

        What the switch refuses is sent again by owner, so that one bad unit harms no other. Of an owner that was
        refused nothing more is sent: its old flows go only when their replacement is there.
        """
        refused: dict[Owner, str] = {}
        for step in steps:
            parts = [part for part in step.parts if part.owner not in refused]
            try:
                if parts:
                    await self._switch.commit([message for part in parts for message in part.messages])
            except CommitRefused as error:
                if len(parts) == 1:
                    refused[parts[0].owner] = str(error)
                    continue
                for part in parts:
                    if part.owner not in refused:
                        try:
                            await self._switch.commit(part.messages)
                        except CommitRefused as single:
                            refused[part.owner] = str(single)
        for owner, unit in units.items():
            if owner in refused:
                self._refuse(owner, unit, refused[owner])
            else:
                self._installation.confirm(owner, unit)
        written.refused |= refused.keys()
        written.steps += len(steps)
        written.messages += sum(len(step.messages) for step in steps)

    def _refuse(self, owner: Owner, unit: Unit, error: str) -> None:
        known = self._installation.refusals.get(owner)
        self._installation.refuse(owner, unit, error, since=self._marks.pending_since or time.time())
        if known is None or known.error != error:
            retry = round(self._installation.refusals[owner].retry_at - time.monotonic(), 2)
            _log.error("the switch refused a change", owner=str(owner), error=error, retry_in_seconds=retry)

    def _mark(self, dirty: Dirty, *, network: bool = False) -> None:
        first = self._marks.pending_since is None
        self._marks.mark(dirty, network=network)
        if first:
            self._show(self._reports.status.phase, self._reports.status.problem)

    def _arrived(self) -> None:
        refusals = self._installation.refusals
        refused = {
            NamespacedName.parse(owner.name): refusal.error
            for owner, refusal in refusals.items()
            if owner.kind is OwnerKind.SERVICE
        }
        self._marks.arrived(balanced=self._decisions.balanced, refused=refused)
        self._reports.note_refusals(refused)
        problem = "; ".join(f"{owner}: {refusal.error}" for owner, refusal in refusals.items())
        self._show(Phase.RETRYING if problem else Phase.RUNNING, problem)

    def _show(self, phase: Phase, problem: str) -> None:
        times = (self._marks.pending_since, self._installation.oldest_refusal())
        pending = min((time for time in times if time is not None), default=None)
        self._reports.show_phase(phase, problem, pending_since=pending, changes=self._marks.counted)
