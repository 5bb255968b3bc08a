"""The one loop against a switch in memory, which fails when a test asks for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agent_loop import Loop, refuse_address
from antrea_proxy.agent.errors import CommitRefused, ForeignBridge
from antrea_proxy.agent.status import Phase
from antrea_proxy.agent.switch import SwitchContents
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.pipeline.pod_flows import pod_owner
from antrea_proxy.pipeline.service_flows import service_owner
from antrea_proxy.pipeline.service_templates import SLOT_PRIORITY
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import Owner, OwnerKind
from model_switch_async import Fault
from worlds import WEB_1, WEB_2, endpoint_slice, network, pod, service

A = service("a", "10.96.0.1")
B = service("b", "10.96.0.2")
HEADLESS = service("headless", "None")
A_SLICE = endpoint_slice("a", (WEB_1, "web-1", "node-2"), (WEB_2, "web-2", "node-2"))
OWNER_A = service_owner(NamespacedName("default", "a"))


def test_nothing_is_written_before_every_kind_has_been_listed() -> None:
    async def run() -> None:
        loop = Loop()
        task = asyncio.create_task(loop.reconciler.run())
        loop.put(A)
        await asyncio.sleep(0.01)
        assert loop.switch.connections == 0
        loop.reconciler.begin()
        await loop.settled()
        assert loop.serves("10.96.0.1")
        task.cancel()

    asyncio.run(run())


def test_the_first_event_goes_at_once_and_those_during_a_commit_go_together_in_the_next() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.commits.clear()
            loop.switch.hold()
            loop.put(A)
            await asyncio.sleep(0.005)
            loop.put(B)
            loop.put(service("c", "10.96.0.3"))
            await asyncio.sleep(0.005)
            loop.switch.release()
            await loop.settled()
            assert len(loop.switch.commits) == 2
            assert all(loop.serves(f"10.96.0.{number}") for number in (1, 2, 3))

    asyncio.run(run())


def test_a_service_that_the_switch_refuses_harms_no_other_and_is_tried_again_until_it_is_taken() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.list([A, B])
            await loop.settled()
            assert loop.serves("10.96.0.2")
            assert not loop.serves("10.96.0.1")
            assert loop.last().phase is Phase.RETRYING
            assert "service default/a: message 0: TABLE_FULL" in loop.last().problem
            assert loop.last().pending_since is not None
            assert OWNER_A not in loop.last().installed
            with pytest.raises(CommitRefused, match="TABLE_FULL"):
                loop.reconciler.raise_failure(OWNER_A)
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: loop.serves("10.96.0.1"))
            await loop.until(lambda: loop.last().phase is Phase.RUNNING)
            assert loop.last().problem == ""
            assert loop.last().pending_since is None
            loop.reconciler.raise_failure(OWNER_A)

    asyncio.run(run())


def test_others_do_not_wait_for_a_refused_service_nor_is_it_sent_again_with_them() -> None:
    async def run() -> None:
        loop = Loop(retry=60)
        asked = 0

        def refuse(message: object) -> bool:
            nonlocal asked
            refused = refuse_address("10.96.0.1")(message)  # type: ignore[arg-type]
            asked += refused
            return refused

        async with loop.running():
            loop.switch.refuses = refuse
            loop.put(A)
            await loop.settled()
            before = asked
            for number in range(2, 6):
                loop.put(service(f"other-{number}", f"10.96.0.{number}"))
                await loop.settled()
                assert loop.serves(f"10.96.0.{number}")
            assert asked == before

    asyncio.run(run())


def test_a_refused_service_that_vanishes_is_no_problem_any_more() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.put(A)
            await loop.settled()
            assert loop.last().problem
            loop.remove(A)
            await loop.settled()
            assert not loop.last().problem
            loop.reconciler.raise_failure(OWNER_A)

    asyncio.run(run())


def test_a_refused_service_that_vanishes_while_the_switch_is_away_is_no_problem_any_more() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.put(A)
            await loop.settled()
            loop.switch.lose()
            loop.remove(A)
            await loop.settled()
            assert not loop.last().problem
            assert loop.last().pending_since is None

    asyncio.run(run())


@pytest.mark.parametrize("reconnect", [False, True], ids=["while connected", "at a reconnect"])
def test_a_change_that_is_refused_leaves_the_service_as_it_was(reconnect: bool) -> None:  # noqa: FBT001 - a parameter
    async def run() -> None:
        loop = Loop()
        loop.list([A], [A_SLICE])
        async with loop.running():
            owned = loop.last().installed[OWNER_A]
            loop.switch.refuses = refuse_address("10.96.0.1")
            if reconnect:
                loop.switch.lose()
            loop.put(None, endpoint_slice("a", (WEB_1, "web-1", "node-2")))
            await loop.settled()
            assert loop.last().problem
            assert {entry.cookie for entry in owned.flows} <= loop.switch.model.cookies
            assert {group.group_id for group in owned.groups} <= loop.switch.model.groups.keys()
            assert loop.last().installed[OWNER_A] == owned
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: not loop.last().problem)
            assert not {group.group_id for group in owned.groups} & loop.switch.model.groups.keys()

    asyncio.run(run())


def test_a_slot_table_whose_new_flow_is_refused_keeps_all_slots_that_the_old_flow_leads_to() -> None:
    def many(count: int) -> Any:  # noqa: ANN401 - JSON
        return endpoint_slice("a", *((f"10.10.2.{number}", f"a-{number}", "node-2") for number in range(1, count + 1)))

    def slots(loop: Loop) -> int:
        found = [flow for flow in loop.switch.model.flows.values() if flow.table == Table.SERVICE_SLOT.id]
        return sum(flow.priority == SLOT_PRIORITY for flow in found)

    async def run() -> None:
        loop = Loop()
        loop.list([A], [many(100)])
        async with loop.running():
            assert slots(loop) == 1024
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.put(None, many(60))
            await loop.settled()
            assert loop.last().problem
            assert slots(loop) == 1024
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: not loop.last().problem)
            assert slots(loop) == 512

    asyncio.run(run())


@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
def test_after_a_commit_of_unknown_outcome_the_switch_is_read_back_and_only_the_difference_is_written(
    fault: Fault,
) -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.commits.clear()
            loop.switch.faults = [fault]
            loop.put(A)
            await loop.settled()
            assert loop.serves("10.96.0.1")
            assert loop.switch.connections == 2
            assert len(loop.switch.commits) == 1
            assert loop.last().phase is Phase.RUNNING
            assert loop.last().switch.resynchronisations == 2

    asyncio.run(run())


def test_who_waits_for_a_change_is_told_also_when_the_switch_was_lost_in_between() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.hold()
            loop.put(A)
            waiting = asyncio.create_task(loop.reconciler.settled())
            await asyncio.sleep(0.005)
            loop.switch.lose()
            loop.switch.release()
            async with asyncio.timeout(2):
                await waiting
            assert loop.serves("10.96.0.1")

    asyncio.run(run())


def test_who_waits_is_told_after_the_commit_that_contains_the_change_not_after_the_one_before() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.hold()
            loop.put(A)
            await asyncio.sleep(0.005)
            loop.put(B)
            waiting = asyncio.create_task(loop.reconciler.settled())
            waiting.add_done_callback(lambda _: served.append(loop.serves("10.96.0.2")))
            served: list[bool] = []
            loop.switch.release()
            async with asyncio.timeout(2):
                await waiting
            await asyncio.sleep(0)
            assert served == [True]

    asyncio.run(run())


def test_a_change_is_pending_from_its_event_to_its_commit_and_a_later_one_from_its_own() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            assert loop.last().pending_since is None
            loop.switch.hold()
            loop.put(A)
            first = loop.last().pending_since
            assert first is not None
            await asyncio.sleep(0.005)
            loop.put(B)
            assert loop.last().pending_since == first
            loop.switch.release()
            await loop.until(lambda: loop.last().pending_since != first)
            later = loop.last().pending_since
            assert later is None or later > first
            await loop.settled()
            assert loop.last().pending_since is None

    asyncio.run(run())


def test_a_service_that_vanishes_while_the_switch_is_away_is_swept_at_the_reconnect() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([A, B, HEADLESS], [A_SLICE])
        async with loop.running():
            assert loop.last().left_alone
            loop.switch.out_of_reach = True
            loop.switch.lose()
            await loop.until(lambda: not loop.last().switch.connected)
            loop.list([B])
            await asyncio.sleep(0.01)
            assert loop.serves("10.96.0.1")
            loop.switch.out_of_reach = False
            await loop.settled()
            assert not loop.serves("10.96.0.1")
            assert loop.serves("10.96.0.2")
            assert not loop.last().left_alone
            assert {name.port.service.name for name in loop.last().load_balancers} == {"b"}

    asyncio.run(run())


def test_the_status_says_whether_the_switch_is_connected_as_it_goes_and_comes_back() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            assert loop.last().switch.connected
            loop.switch.out_of_reach = True
            loop.switch.lose()
            await loop.until(lambda: not loop.last().switch.connected)
            loop.switch.out_of_reach = False
            await loop.until(lambda: loop.last().switch.connected)
            assert loop.last().phase is Phase.RUNNING

    asyncio.run(run())


def test_problems_and_the_reasons_of_services_left_alone_come_and_go() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            loop.list([service("a", "10.96.0.1", ports=(("", "TCP", 70000),)), HEADLESS])
            await loop.settled()
            assert "70000" in str(loop.last().service_problems[NamespacedName("default", "a")])
            assert "None" in loop.last().left_alone[NamespacedName("default", "headless")]
            loop.list([A, service("headless", "10.96.0.9")])
            await loop.settled()
            assert not loop.last().service_problems
            assert not loop.last().left_alone

    asyncio.run(run())


def test_a_pod_that_the_switch_refuses_and_that_goes_away_leaves_nothing_behind() -> None:
    async def run() -> None:
        loop = Loop(net=network(()))
        newcomer = pod("new", 9)
        async with loop.running():
            loop.switch.refuses = refuse_address("10.10.1.9")
            loop.net = network((newcomer,))
            loop.reconciler.mark_network()
            await loop.settled()
            with pytest.raises(CommitRefused):
                loop.reconciler.raise_failure(pod_owner(newcomer))
            loop.net = network(())
            loop.reconciler.mark_network()
            await loop.settled()
            loop.reconciler.raise_failure(pod_owner(newcomer))
            assert loop.last().phase is Phase.RUNNING
            assert pod_owner(newcomer) not in loop.last().installed

    asyncio.run(run())


def test_without_a_pod_network_the_switch_is_left_as_it_is_until_there_is_one() -> None:
    async def run() -> None:
        loop = Loop(net="Node node-1 has no podCIDR")
        loop.list([A])
        async with loop.running(settle=False):
            await loop.until(lambda: bool(loop.published) and "no podCIDR" in loop.last().problem)
            loop.put(B)
            await asyncio.sleep(0.01)
            assert loop.switch.connections == 1
            assert not loop.switch.commits
            assert loop.last().network_problems == ("Node node-1 has no podCIDR",)
            loop.net = network()
            loop.reconciler.mark_network()
            await loop.settled()
            assert loop.serves("10.96.0.2")
            assert loop.last().network_problems == ()

    asyncio.run(run())


def test_a_network_that_cannot_be_read_any_more_stays_as_it_was() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            flows = set(loop.switch.model.cookies)
            loop.net = "Node node-1 is gone"
            loop.reconciler.mark_network()
            await loop.settled()
            assert loop.switch.model.cookies == flows
            assert loop.last().network_problems == ("Node node-1 is gone",)

    asyncio.run(run())


def test_a_switch_that_is_not_admitted_is_not_written_to() -> None:
    async def run() -> None:
        loop = Loop()

        async def refuse(_: SwitchContents) -> None:
            raise ForeignBridge("somebody else's")

        loop.admit = refuse
        loop.reconciler.begin()
        with pytest.raises(ForeignBridge):
            await loop.reconciler.run()
        assert not loop.switch.commits

    asyncio.run(run())


def test_a_restart_on_an_unchanged_switch_writes_nothing() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([A, B], [A_SLICE])
        async with loop.running():
            pass
        again = Loop(switch=loop.switch)
        loop.switch.commits.clear()
        again.list([A, B], [A_SLICE])
        async with again.running():
            assert loop.switch.commits == []
            assert again.last().switch.messages == 0
            assert again.last().switch.flows == len(loop.switch.model.flows)
            assert again.last().switch.groups == len(loop.switch.model.groups)

    asyncio.run(run())


def test_the_counts_of_the_status_are_those_of_the_switch_after_any_change() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            for services, slices in (([A, B], [A_SLICE]), ([B], []), ([], [])):
                loop.list(services, slices)
                await loop.settled()
                report = loop.last().switch
                assert (report.flows, report.groups) == (len(loop.switch.model.flows), len(loop.switch.model.groups))

    asyncio.run(run())


def test_publishing_copies_no_table_of_services_or_flows() -> None:
    async def run() -> None:
        loop = Loop()
        async with loop.running():
            before = loop.last()
            loop.list([A, B], [A_SLICE])
            await loop.settled()
            after = loop.last()
            assert after is not before
            for name in ("installed", "load_balancers", "left_alone", "service_problems"):
                assert getattr(after, name) is getattr(before, name)

    asyncio.run(run())


def test_what_the_switch_would_not_sweep_is_swept_later() -> None:
    async def run() -> None:
        loop = Loop()
        loop.list([A, B])
        async with loop.running():
            pass
        again = Loop(switch=loop.switch)
        again.list([B])
        cookies = {entry.cookie for entry in loop.reports.status.installed[OWNER_A].flows}
        loop.switch.refuses = lambda message: getattr(message, "cookie", None) in cookies
        async with again.running():
            assert Owner(OwnerKind.SERVICE, "default/a") not in again.last().installed
            assert again.last().phase is Phase.RETRYING
            loop.switch.refuses = lambda _: False
            await again.until(lambda: not loop.serves("10.96.0.1"))
            await again.until(lambda: again.last().phase is Phase.RUNNING)

    asyncio.run(run())


def test_the_status_describes_the_switch_from_the_start() -> None:
    loop = Loop()
    loop.reports.describe_switch(bridge="br-int", datapath_type="netdev", ovs_version="3.1.0")
    expected = replace(loop.reports.status.switch, bridge="br-int", datapath_type="netdev", ovs_version="3.1.0")
    assert loop.reports.status.switch == expected
