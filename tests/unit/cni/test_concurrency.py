"""Locks by key, and work that ends although its caller was cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from antrea_proxy.cni.concurrency import KeyedLocks, uninterrupted


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test's own coroutine."""
    asyncio.run(work)


def test_work_ends_although_its_caller_was_cancelled_twice() -> None:
    """And the cancellation is not lost."""

    async def scenario() -> None:
        release, done = asyncio.Event(), []

        async def work() -> None:
            await release.wait()
            done.append("all of it")

        task = asyncio.create_task(uninterrupted(work()))
        for _ in range(2):
            await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done == ["all of it"]

    run(scenario())


def test_what_uninterrupted_work_gives_or_raises_reaches_its_caller() -> None:
    """As if it had been awaited."""

    async def scenario() -> None:
        async def works() -> str:
            return "done"

        async def fails() -> str:
            raise OSError("refused")

        assert await uninterrupted(works()) == "done"
        with pytest.raises(OSError, match="refused"):
            await uninterrupted(fails())

    run(scenario())


def test_a_key_is_forgotten_when_nobody_uses_its_lock() -> None:
    """Containers come and go for years."""

    async def scenario() -> None:
        locks = KeyedLocks()
        order: list[str] = []

        async def hold(name: str) -> None:
            async with locks.hold("c1"):
                order.append(f"{name} in")
                await asyncio.sleep(0)
                order.append(f"{name} out")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hold("first"))
            tasks.create_task(hold("second"))
            await asyncio.sleep(0)
            assert locks.busy("c1")
            assert not locks.busy("c2")
        assert order == ["first in", "first out", "second in", "second out"]
        assert not locks.busy("c1")
        assert not locks._locks

    run(scenario())
