"""Waits that are named for their condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from antrea_proxy.lab.errors import LabError

_STEP_SECONDS = 0.01


async def until(condition: Callable[[], bool], what: str, *, seconds: float) -> None:
    """Poll a quick condition until it holds.

    Raises LabError naming what did not come about in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        if loop.time() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(_STEP_SECONDS)
