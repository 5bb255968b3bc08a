"""A virtual packet through the compiled tables, step by step, as a switch would take it: without a switch.

Pure, and independent of how the tables were compiled: it reads the encoded messages that a switch reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import (
    Action,
    Conntrack,
    ConntrackClear,
    CopyField,
    DecrementTtl,
    Group,
    Learn,
    Nat,
    Output,
    OutputRegister,
    Resubmit,
    SetField,
    UnknownAction,
)
from antrea_proxy.openflow.constants import OFPP_IN_PORT, OFPP_MAX, CtState, GroupType
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.groups import Bucket
from antrea_proxy.pipeline.connections import Connections, copy_bits, track
from antrea_proxy.pipeline.flow_index import CompiledGroup, CompiledTables, value_of, write
from antrea_proxy.pipeline.packets import Packet, packet_of
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.walk_steps import (
    Chose,
    Copied,
    Dropped,
    Event,
    Learned,
    NotWalked,
    Resubmitted,
    Sent,
    Step,
    TtlLowered,
    Walk,
    WasTracked,
    Wrote,
)

MAX_DEPTH: Final = 64
MAX_RESUBMITS: Final = 4096
"""Of Open vSwitch's translation of one packet (ofproto-dpif-xlate.c)."""

MAX_RECIRCULATIONS: Final = 6
"""Of its userspace datapath (dpif-netdev.c, MAX_RECIRC_DEPTH)."""

Choose = Callable[[CompiledGroup, Sequence[Bucket]], int]
"""Which bucket of a select group is taken: its place among the buckets whose weight is not 0."""


def first_bucket(_group: CompiledGroup, _buckets: Sequence[Bucket]) -> int:
    """Choose the first."""
    return 0


def walk(
    tables: CompiledTables,
    packet: Packet,
    *,
    connections: Connections = Connections(),  # noqa: B008 - frozen
    answers: Sequence[CtState] = (),
    choose: Choose = first_bucket,
) -> Walk:
    """Take a packet through the tables, from table 0 until nothing of it is left.

    The tracker knows `connections`; the first ct() calls are answered by `answers`, one each, whatever it knows.

    Raises DecodeError for a flow that is no OpenFlow.
    """
    walker = _Walker(tables=tables, connections=connections, answers=deque(answers), choose=choose)
    walker.run(packet)
    return Walk(
        packet=packet,
        steps=tuple(walker.finished()),
        connections=walker.connections,
        recirculations=walker.recirculations,
    )


def walk_every_way(
    tables: CompiledTables,
    packet: Packet,
    *,
    connections: Connections = Connections(),  # noqa: B008 - frozen
    answers: Sequence[CtState] = (),
) -> Iterator[Walk]:
    """Take a packet every way that the select groups on it allow, one walk after the other."""
    ways: list[tuple[int, ...]] = [()]
    while ways:
        chosen = ways.pop()
        offered: list[int] = []

        def choose(_group: CompiledGroup, buckets: Sequence[Bucket]) -> int:
            offered.append(len(buckets))  # noqa: B023 - used within this turn alone
            place = len(offered) - 1  # noqa: B023
            return chosen[place] if place < len(chosen) else 0  # noqa: B023

        yield walk(tables, packet, connections=connections, answers=answers, choose=choose)
        for place in range(len(offered) - 1, len(chosen) - 1, -1):
            prefix = chosen + (0,) * (place - len(chosen))
            ways.extend((*prefix, other) for other in range(offered[place] - 1, 0, -1))


@dataclass(slots=True, kw_only=True)
class _OpenStep:
    step: Step
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Walker:
    tables: CompiledTables
    connections: Connections
    answers: deque[CtState]
    choose: Choose
    recirculations: int = 0
    _hashed: bool = False
    _resubmits: int = 0
    _steps: list[_OpenStep] = field(default_factory=list)
    _waiting: deque[tuple[int, dict[Field, int]]] = field(default_factory=deque)

    def run(self, packet: Packet) -> None:
        self._waiting.append((Table.CLASSIFIER, packet.fields()))
        self._continue()
        while self._waiting:
            self.recirculations += 1
            if self.recirculations > MAX_RECIRCULATIONS:
                self._steps[-1].events.append(Dropped(reason=f"more than {MAX_RECIRCULATIONS} recirculations"))
                return
            self._continue()

    def finished(self) -> Iterator[Step]:
        return (replace(item.step, events=tuple(item.events)) for item in self._steps)

    def _continue(self) -> None:
        table, packet = self._waiting.popleft()
        self._resubmits = 0
        self._look_up(table, packet, depth=0)

    def _look_up(self, table: int, packet: dict[Field, int], in_port: int | None = None, *, depth: int) -> None:
        """Look a packet up and do what the flow says. Another port is for the lookup alone, as in Open vSwitch."""
        found = self.tables.look_up(table, packet if in_port is None else {**packet, fields.IN_PORT: in_port})
        flow = found.flow
        here = _OpenStep(step=Step(recirculation=self.recirculations, table=table, title=table_title(table)))
        self._steps.append(here)
        here.events.extend(
            NotWalked(what=f"a flow of {unjudged.owner} matches {unjudged.match}") for unjudged in found.unjudged
        )
        if flow is None:
            here.events.append(Dropped(reason=f"no flow of {table_title(table)} matches"))
            return
        here.step = replace(
            here.step,
            priority=flow.priority,
            match=str(flow.match),
            owner=flow.owner,
            cookie=flow.cookie,
            rivals=tuple(rival.cookie for rival in found.rivals),
        )
        actions = flow.actions
        if not actions:
            here.events.append(Dropped(reason=f"a flow of {flow.owner} in {table_title(table)} drops {flow.match}"))
        self._act(actions, packet, here, depth=depth)

    def _act(  # noqa: C901, PLR0912 - one case for every action there is
        self, actions: Sequence[Action], packet: dict[Field, int], here: _OpenStep, *, depth: int
    ) -> None:
        for action in actions:
            match action:
                case Output():
                    self._output(action.port, packet, here)
                case OutputRegister():
                    port = value_of(action.field, packet) >> action.offset & ((1 << action.width) - 1)
                    self._output(port, packet, here)
                case Group():
                    self._group(action, packet, here, depth=depth)
                case SetField():
                    mask = action.field.all_ones if action.mask is None else action.mask
                    write(action.field, action.value, mask, packet)
                    here.events.append(Wrote(field=action.field, value=action.value, mask=mask))
                case CopyField():
                    copy_bits(action, packet, packet)
                    value = value_of(action.dst, packet)
                    here.events.append(Copied(source=action.src, target=action.dst, value=value))
                case DecrementTtl():
                    if not self._lower_ttl(packet, here):
                        return
                case Resubmit():
                    self._resubmit(action, packet, here, depth=depth)
                case Conntrack():
                    self._track(action, packet, here)
                case ConntrackClear():
                    for known in (fields.CT_STATE, fields.CT_ZONE, fields.CT_MARK, fields.CT_LABEL):
                        packet.pop(known, None)
                case Learn():
                    here.events.append(Learned(table=action.table, title=table_title(action.table)))
                case Nat() | UnknownAction():
                    here.events.append(NotWalked(what=f"{action}"))
                case _:
                    assert_never(action)

    def _output(self, port: int, packet: dict[Field, int], here: _OpenStep) -> None:
        in_port = packet.get(fields.IN_PORT, 0)
        if port == OFPP_IN_PORT:
            here.events.append(Sent(port=in_port, packet=packet_of(packet)))
        elif port == in_port:
            here.events.append(
                Dropped(reason=f"port {port} is where the packet came from; a switch sends nothing back unasked")
            )
        elif 0 < port < OFPP_MAX or port > OFPP_IN_PORT:
            here.events.append(Sent(port=port, packet=packet_of(packet)))
        else:
            here.events.append(Dropped(reason=f"there is no port {port}"))

    def _group(self, action: Group, packet: dict[Field, int], here: _OpenStep, *, depth: int) -> None:
        group = self.tables.groups.get(action.group_id)
        if group is None:
            here.events.append(Dropped(reason=f"group {action.group_id} does not exist"))
            return
        if group.hashes and not self._hashed:
            self._hashed = True
            self.recirculations += 1
        buckets = group.buckets
        if group.type is GroupType.SELECT:
            usable = [bucket for bucket in buckets if bucket.weight != 0]
            if not usable:
                here.events.append(Dropped(reason=f"group {action.group_id} has no bucket to choose"))
                return
            place = self.choose(group, usable)
            chosen, total = usable[place], sum(bucket.weight or 1 for bucket in usable)
            share = (chosen.weight or 1) / total
            here.events.append(Chose(group_id=group.group_id, index=place, of=len(usable), share=share))
            buckets = (chosen,)
        elif group.type is GroupType.FAST_FAILOVER:
            buckets = buckets[:1]
        for bucket in buckets:
            self._act(bucket.actions, dict(packet), here, depth=depth + 1)

    def _resubmit(self, action: Resubmit, packet: dict[Field, int], here: _OpenStep, *, depth: int) -> None:
        here.events.append(Resubmitted(table=action.table, title=table_title(action.table)))
        self._resubmits += 1
        if depth >= MAX_DEPTH or self._resubmits > MAX_RESUBMITS:
            here.events.append(Dropped(reason=f"resubmitted more than {MAX_DEPTH} deep, or {MAX_RESUBMITS} times"))
            return
        in_port = None if action.in_port == OFPP_IN_PORT else action.in_port
        self._look_up(action.table, packet, in_port, depth=depth + 1)

    def _track(self, action: Conntrack, packet: dict[Field, int], here: _OpenStep) -> None:
        answer = self.answers.popleft() if self.answers else None
        tracked = track(action, packet, self.connections, answer=answer)
        self.connections = tracked.connections
        here.events.append(
            WasTracked(
                zone=action.zone,
                commit=action.commit,
                state=tracked.state,
                mark=tracked.mark,
                before=tracked.before,
                after=tracked.after,
                table=action.table,
            )
        )
        if action.table is not None:
            self._waiting.append((action.table, dict(tracked.fields)))

    def _lower_ttl(self, packet: dict[Field, int], here: _OpenStep) -> bool:
        ttl = packet.get(fields.NW_TTL, 0)
        if ttl <= 1:
            here.events.append(Dropped(reason="its TTL ended"))
            return False
        packet[fields.NW_TTL] = ttl - 1
        here.events.append(TtlLowered(ttl=ttl - 1))
        return True


def table_title(table: int) -> str:
    """Return the name of a table, its number if it is none of ours."""
    return Table(table).title if table in Table.__members__.values() else f"table {table}"
