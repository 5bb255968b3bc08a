"""When clients are chosen afresh, and when the agent looks at what the switch has learned of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from agent_loop import Loop
from antrea_proxy.agent.affinity_care import AffinityCare
from antrea_proxy.agent.errors import CommitRefused
from antrea_proxy.kubernetes.names import NamespacedName, ServicePortName
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import SetField
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.affinity import learned_cookie
from antrea_proxy.pipeline.registers import BALANCER, SLOT
from antrea_proxy.pipeline.slots import HASH_GROUPS
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.proxy.load_balancers import LoadBalancerName
from model_switch_async import described
from worlds import endpoint_slice, service

SLICES = endpoint_slice("web", ("10.10.2.1", "web-1", "node-2"), ("10.10.2.2", "web-2", "node-2"))


def sticky(timeout: int) -> Any:  # noqa: ANN401 - JSON
    config = {"clientIP": {"timeoutSeconds": timeout}}
    return service("web", "10.96.0.1", sessionAffinity="ClientIP", sessionAffinityConfig=config)


def group(loop: Loop) -> tuple[GroupId, bytes]:
    ((number, content),) = ((key, item) for key, item in loop.switch.model.groups.items() if key < HASH_GROUPS)
    return number, content


def remembering(balancer: GroupId, client: int) -> FlowMod:
    """What the switch learns of a client."""
    match = Match((BALANCER, balancer), (fields.ETH_TYPE, fields.ETH_TYPE_IPV4), (fields.IPV4_SRC, client))
    return FlowMod(
        table=Table.AFFINITY.id,
        priority=100,
        match=match,
        cookie=learned_cookie(balancer),
        actions=(SetField(SLOT, 5),),
        idle_timeout=11,
    )


def learn(loop: Loop, balancer: GroupId, client: int) -> None:
    """Let the switch remember a client."""
    flow = remembering(balancer, client)
    loop.switch.model.flows[flow.table, flow.priority, flow.match] = flow


def remembered(loop: Loop) -> list[FlowMod]:
    return [flow for flow in loop.switch.model.flows.values() if flow.table == Table.AFFINITY.id and flow.priority]


def test_clients_are_chosen_by_another_hash_when_the_time_out_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        now = 1_000_000.5
        monkeypatch.setattr(time, "time", lambda: now)
        loop = Loop()
        loop.list([sticky(10)], [SLICES])
        async with loop.running():
            first = group(loop)
            now += 9.6  # a new epoch has begun
            loop.reconciler.mark_network()
            await loop.settled()
            assert group(loop)[0] == first[0]
            assert group(loop)[1] != first[1]

    asyncio.run(run())


def test_within_an_epoch_nothing_is_written() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([sticky(86_400)], [SLICES])
        async with loop.running():
            before = len(loop.switch.commits)
            loop.reconciler.mark_network()
            await loop.settled()
            assert len(loop.switch.commits) == before

    asyncio.run(run())


def test_a_client_of_a_day_that_comes_after_the_last_look_is_forgotten_in_time() -> None:
    """The switch cannot count a day; the agent looks again, though it saw no client when it looked."""
    name = LoadBalancerName(ServicePortName(NamespacedName("default", "web"), ""), 4)
    care = AffinityCare({name: 86_400})

    async def commit(messages: Sequence[bytes]) -> None:
        raise AssertionError(messages)

    care.note(0.5)
    asyncio.run(care.tend([], {name: GroupId(1)}.get, commit, 0.5))
    assert not care.must_look(86_400.0)
    assert care.must_look(86_402.0)


def test_looks_at_many_clients_are_a_second_apart_and_a_refused_change_is_tried_again_no_sooner() -> None:
    name = LoadBalancerName(ServicePortName(NamespacedName("default", "web"), ""), 4)
    care = AffinityCare({name: 86_400})

    async def refuse(_: Sequence[bytes]) -> None:
        raise CommitRefused({0: "TABLE_FULL"})

    care.note(0.5)
    clients = [described(remembering(GroupId(2), client)) for client in (1, 2)]
    with pytest.raises(CommitRefused):
        asyncio.run(care.tend(clients, {name: GroupId(1)}.get, refuse, 0.5))
    assert not care.must_look(1.4)
    assert care.must_look(1.5)


def test_a_restart_keeps_clients_and_forgets_those_of_services_that_are_gone() -> None:
    async def run() -> None:
        first = Loop()
        first.list([sticky(10)], [SLICES])
        async with first.running():
            number, _ = group(first)
        learn(first, number, 1)
        learn(first, GroupId(999), 2)
        second = Loop(switch=first.switch)
        second.list([sticky(10)], [SLICES])
        async with second.running():
            assert group(second)[0] == number
            assert [flow.cookie for flow in remembered(second)] == [learned_cookie(number)]

    asyncio.run(run())


def test_switching_affinity_off_forgets_its_clients_and_another_time_out_is_theirs_at_once() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([sticky(10)], [SLICES])
        async with loop.running():
            learn(loop, group(loop)[0], 1)
            loop.put(sticky(30))
            await loop.settled()
            assert [flow.idle_timeout for flow in remembered(loop)] == [31]
            loop.put(service("web", "10.96.0.1"))
            await loop.settled()
            assert remembered(loop) == []

    asyncio.run(run())
