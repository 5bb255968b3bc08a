"""How long changes of endpoints take to the switch, by the time that EndpointSlices bear."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent_loop import Loop, refuse_address
from antrea_proxy.agent.status import PROGRAMMING_BOUNDS
from antrea_proxy.kubernetes.cluster import ClusterState
from worlds import WEB_1, WEB_2, endpoint_slice, service

A = service("a", "10.96.0.1")
HEADLESS = service("a", "None")


def stamped(seconds_ago: float, *, family: str = "IPv4", text: str = "", **given: Any) -> Any:  # noqa: ANN401 - JSON
    """A slice of Service a that tells of something that happened so long ago."""
    item = endpoint_slice("a", (WEB_1, "web-1", "node-2"), family=family, **given)
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    stamp = text or moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    item["metadata"]["annotations"] = {"endpoints.kubernetes.io/last-change-trigger-time": stamp}
    return item


def measured(loop: Loop) -> tuple[int, float]:
    """How many changes were measured, and the seconds that they took together."""
    programming = loop.last().changes.programming
    assert programming.bounds == PROGRAMMING_BOUNDS
    return sum(programming.counts), programming.total_seconds


def started(seconds_ago: float = 60.0) -> Loop:
    """A loop of an agent that has run for so long."""
    return Loop(cluster=ClusterState(triggers_after=time.time() - seconds_ago))


def test_a_change_is_measured_from_what_happened_to_the_word_of_the_switch() -> None:
    async def run() -> None:
        loop = started()
        async with loop.running():
            loop.put(A)
            await loop.settled()
            loop.switch.hold()
            loop.put(None, stamped(3))
            await asyncio.sleep(0.2)
            assert measured(loop) == (0, 0)
            loop.switch.release()
            await loop.settled()
            number, seconds = measured(loop)
            assert number == 1
            assert 3.2 <= seconds < 3.9

    asyncio.run(run())


def test_a_moment_counts_once_however_many_slices_and_versions_bear_it() -> None:
    """It stays written on a slice whose labels are changed, and stands on those of both families."""

    async def run() -> None:
        loop = started()
        async with loop.running():
            slices = [stamped(1, text="2100-01-01T00:00:00Z", family=family) for family in ("IPv4", "IPv6")]
            loop.put(A, *slices)
            await loop.settled()
            loop.put(None, slices[0])
            loop.list([A], slices)
            await loop.settled()
            assert measured(loop) == (1, 0)  # a clock that is ahead is no negative time
            loop.put(None, stamped(1, text="2100-01-01T00:00:01+00:00"))
            await loop.settled()
            assert measured(loop) == (2, 0)

    asyncio.run(run())


@pytest.mark.parametrize("text", ["", "yesterday", "2100-01-01T00:00:00", "2026-01-01T00:00:00.123456789+02:00"])
def test_what_happened_before_the_start_and_what_is_no_time_are_not_measured(text: str) -> None:
    async def run() -> None:
        loop = started(seconds_ago=5)
        async with loop.running():
            loop.put(A, stamped(6, text=text))
            await loop.settled()
            assert loop.serves("10.96.0.1")
            assert measured(loop) == (0, 0)

    asyncio.run(run())


def test_a_change_that_the_switch_refuses_is_measured_when_it_is_taken() -> None:
    async def run() -> None:
        loop = started()
        async with loop.running():
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.put(A, stamped(2))
            await loop.settled()
            assert measured(loop) == (0, 0)
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: measured(loop)[0] == 1)

    asyncio.run(run())


def test_a_change_that_is_under_way_when_the_switch_is_lost_is_measured_after() -> None:
    async def run() -> None:
        loop = started()
        async with loop.running():
            loop.switch.hold()
            loop.put(A, stamped(2))
            await asyncio.sleep(0.05)
            loop.switch.lose()
            loop.switch.release()
            await loop.settled()
            assert measured(loop)[0] == 1

    asyncio.run(run())


def test_endpoints_of_services_that_are_not_balanced_are_not_measured() -> None:
    async def run() -> None:
        loop = started()
        async with loop.running():
            loop.put(HEADLESS, stamped(2))
            await loop.settled()
            assert measured(loop) == (0, 0)

    asyncio.run(run())


def test_changed_objects_are_counted_by_kind() -> None:
    async def run() -> None:
        loop = started()
        async with loop.running():
            before = time.time()
            loop.put(A, stamped(2), stamped(2, family="IPv6"))
            loop.put(None, endpoint_slice("a", (WEB_2, "web-2", "node-2")))
            loop.remove(A)
            await loop.settled()
            changes = loop.last().changes
            assert (changes.services, changes.endpoint_slices) == (2, 3)
            assert before <= changes.last_at <= time.time()

    asyncio.run(run())
