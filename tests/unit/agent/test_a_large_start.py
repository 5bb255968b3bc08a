"""A start with more Services than are compiled at once: the switch works on some while the next are compiled."""

from __future__ import annotations

import asyncio

import pytest

from agent_loop import Loop, refuse_address
from antrea_proxy.agent.errors import SwitchLost
from antrea_proxy.agent.under_way import AHEAD, AT_ONCE, UnderWay
from model_switch_async import Fault
from worlds import WEB_1, WEB_2, endpoint_slice, service

COUNT = 2 * AT_ONCE + 1
ADDRESSES = [f"10.96.{number // 250}.{number % 250 + 1}" for number in range(COUNT)]
SERVICES = [service(f"s{number}", address) for number, address in enumerate(ADDRESSES)]
SLICES = [
    endpoint_slice(f"s{number}", (WEB_1, "web-1", "node-2"), (WEB_2, "web-2", "node-2")) for number in range(COUNT)
]


def test_all_services_are_served_in_several_bundles_and_a_restart_writes_nothing() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list(SERVICES, SLICES)
        async with loop.running():
            assert all(map(loop.serves, ADDRESSES))
            assert len(loop.switch.model.groups) >= COUNT
        loop.switch.commits.clear()
        again = Loop(switch=loop.switch)
        again.list(SERVICES[::-1], SLICES)
        async with again.running():
            assert loop.switch.commits == []

    asyncio.run(run())


def test_a_service_that_is_refused_harms_none_of_the_others() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list(SERVICES, SLICES)
        loop.switch.refuses = refuse_address(ADDRESSES[AT_ONCE])
        async with loop.running():
            assert [address for address in ADDRESSES if not loop.serves(address)] == [ADDRESSES[AT_ONCE]]

    asyncio.run(run())


@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
def test_a_switch_that_is_lost_in_the_middle_is_read_back_and_gets_the_rest(fault: Fault) -> None:
    async def run() -> None:
        loop = Loop()
        loop.list(SERVICES, SLICES)
        loop.switch.faults = [Fault.NONE, Fault.NONE, fault]
        async with loop.running():
            assert loop.switch.connections == 2
            assert all(map(loop.serves, ADDRESSES))
            messages = sum(len(commit) for commit in loop.switch.commits)
            assert messages == len(loop.switch.model.flows) + len(loop.switch.model.groups)

    asyncio.run(run())


def test_the_next_part_begins_while_others_are_under_way_but_no_more_than_a_few() -> None:
    async def run() -> None:
        begun: list[int] = []
        may_end = asyncio.Event()

        async def work(number: int) -> None:
            begun.append(number)
            await may_end.wait()

        async def all_of_it() -> None:
            async with UnderWay() as under_way:
                for number in range(AHEAD + 3):
                    await under_way.begin(work(number))
                await under_way.done()

        task = asyncio.create_task(all_of_it())
        await asyncio.sleep(0.01)
        assert begun == list(range(AHEAD + 1))
        may_end.set()
        await task
        assert begun == list(range(AHEAD + 3))

    asyncio.run(run())


def test_nothing_goes_on_when_one_part_fails() -> None:
    async def run() -> None:
        ended: list[str] = []

        async def lost() -> None:
            raise SwitchLost("lost")

        async def long() -> None:
            await asyncio.sleep(60)
            ended.append("never")

        async def all_of_it() -> None:
            async with UnderWay() as under_way:
                await under_way.begin(lost())
                await under_way.begin(long())
                await under_way.done()

        with pytest.raises(SwitchLost):
            await all_of_it()
        assert len(asyncio.all_tasks()) == 1
        assert ended == []

    asyncio.run(run())
