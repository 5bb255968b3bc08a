"""Constant traffic to one address, and what it saw: the standard library alone, to be run in a Pod.

`python constant_client.py ADDRESS PORT SECONDS` prints one JSON object: new connections at RATE, and one that lasts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from typing import Any, Final

RATE: Final = 100
"""New connections a second."""
PATIENCE: Final = 5.0
"""Seconds after which a connection counts as failed."""
_REQUEST: Final = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"


class Watch:
    """What was seen so far: times in seconds of time.monotonic."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.answered: list[float] = []
        self.failed: list[str] = []
        self.talked: list[float] = []
        self.broken: list[str] = []

    async def open_one(self, address: str, port: int) -> None:
        """Open one connection, ask once and close it."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(address, port)
                try:
                    writer.write(_REQUEST % b"Connection: close\r\n")
                    if not await reader.read():
                        raise ConnectionError("closed without an answer")
                finally:
                    writer.close()
        except OSError as error:
            self.failed.append(type(error).__name__)
            return
        self.answered.append(time.monotonic())
        self.took.append(self.answered[-1] - begun)

    async def talk(self, address: str, port: int, until: float) -> None:
        """Ask again and again over one connection; one that breaks is not opened anew."""
        try:
            async with asyncio.timeout(until - time.monotonic() + PATIENCE):
                reader, writer = await asyncio.open_connection(address, port)
                while time.monotonic() < until:
                    writer.write(_REQUEST % b"")
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
                    await reader.readexactly(int(length))
                    self.talked.append(time.monotonic())
                    await asyncio.sleep(1 / RATE)
                writer.close()
        except (OSError, EOFError) as error:
            self.broken.append(type(error).__name__)

    def told(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "took": self.took,
            "failed": self.failed,
            "longestGap": _longest_gap(self.answered),
            "longestGapOfOne": _longest_gap(self.talked),
            "broken": self.broken,
        }


def _longest_gap(times: list[float]) -> float:
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0)


async def _watch(address: str, port: int, seconds: float) -> Watch:
    watch = Watch()
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch.talk(address, port, begun + seconds))
        for number in range(int(seconds * RATE)):
            await asyncio.sleep(begun + number / RATE - time.monotonic())
            tasks.create_task(watch.open_one(address, port))
    return watch


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_watch(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))).told()))
