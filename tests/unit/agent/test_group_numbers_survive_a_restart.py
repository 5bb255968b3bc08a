"""Which numbers load balancers keep when the agent starts anew on a switch that holds an earlier one's groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agent_loop import Loop, refuse_address
from antrea_proxy.agent.restoration import Restoration
from antrea_proxy.openflow.constants import Cookie, GroupId
from antrea_proxy.openflow.match import ANY_PACKET
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.slots import HASH_GROUPS, needs_slots
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.proxy.load_balancers import LoadBalancerName, desired_load_balancers
from model_switch_async import AsyncModelSwitch
from worlds import endpoint_slice, service

A, B, C = (service(name, f"10.96.0.{number}") for number, name in enumerate("abc", 1))


def slices(name: str, count: int) -> Any:  # noqa: ANN401 - JSON
    return endpoint_slice(
        name, *((f"10.10.2.{number}", f"{name}-{number}", "node-2") for number in range(1, count + 1))
    )


async def numbers(switch: AsyncModelSwitch, services: Sequence[Any], endpoints: Sequence[Any]) -> dict[str, GroupId]:
    """Start an agent on the switch; return each Service's number after it has written all."""
    loop = Loop(switch=switch)
    loop.list(services, endpoints)
    async with loop.running():
        pass
    table = desired_load_balancers(loop.cluster, loop.cluster.services, node_name="node-1")
    await switch.connect()
    known = Restoration(await switch.contents(), ()).numbers(table)
    return {name.port.service.name: number for name, number in known.items()}


@pytest.mark.parametrize("endpoints", [2, 32, 33, 100])
def test_a_load_balancer_keeps_its_number_over_a_restart(endpoints: int) -> None:
    async def run() -> None:
        switch = AsyncModelSwitch()
        first = await numbers(switch, [A, B], [slices("a", endpoints), slices("b", endpoints)])
        assert len(set(first.values())) == 2
        switch.commits.clear()
        # another order of the same Services, and one less, would give them other numbers
        assert await numbers(switch, [B], [slices("b", endpoints)]) == {"b": first["b"]}

    asyncio.run(run())


@pytest.mark.parametrize("endpoints", [2, 33])
def test_a_new_load_balancer_never_gets_the_number_of_one_that_vanished_while_no_agent_ran(endpoints: int) -> None:
    assert needs_slots(33)

    async def run() -> None:
        switch = AsyncModelSwitch()
        first = await numbers(switch, [A, B], [slices("a", endpoints), slices("b", endpoints)])
        after = await numbers(switch, [A, C], [slices("a", endpoints), slices("c", endpoints)])
        assert after["a"] == first["a"]
        assert after["c"] not in first.values()

    asyncio.run(run())


def test_a_number_is_free_again_only_when_the_switch_has_forgotten_its_group() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([A], [slices("a", 2)])
        async with loop.running():
            group = next(number for number in loop.switch.model.groups if number < HASH_GROUPS)
            loop.switch.refuses = lambda message: getattr(message, "group_id", None) == group
            loop.remove(A)
            await loop.settled()
            loop.put(B, slices("b", 2))
            await loop.settled()
            assert loop.serves("10.96.0.2")
            assert len([number for number in loop.switch.model.groups if number < HASH_GROUPS]) == 2
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: group not in loop.switch.model.groups)
            loop.put(C, slices("c", 2))
            await loop.settled()
            assert group in loop.switch.model.groups

    asyncio.run(run())


def test_a_refused_service_gets_a_number_of_its_own_when_it_is_taken_at_last() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.list([A, B], [slices("a", 2), slices("b", 2)])
            await loop.settled()
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: loop.serves("10.96.0.1"))
        table = desired_load_balancers(loop.cluster, loop.cluster.services, node_name="node-1")
        await loop.switch.connect()
        known = Restoration(await loop.switch.contents(), ()).numbers(table)
        assert len(set(known.values())) == 2
        assert all(isinstance(name, LoadBalancerName) for name in known)

    asyncio.run(run())


@pytest.mark.parametrize("cookie", [0, 0xA9 << 56, 0xA9 << 56 | 99 << 48, 1 << 63])
def test_flows_whose_cookies_mean_nothing_here_are_no_numbers_and_no_error(cookie: int) -> None:
    async def run() -> None:
        switch = AsyncModelSwitch()
        flow = FlowMod(table=Table.SERVICE_LB.id, cookie=Cookie(cookie))
        switch.model.flows[flow.table, 0, ANY_PACKET] = flow
        assert await numbers(switch, [A], [slices("a", 2)]) == {"a": 1}
        assert flow.cookie not in switch.model.cookies

    asyncio.run(run())
