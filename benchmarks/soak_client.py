"""Many short connections of several kinds at a steady rate: the standard library alone, to be run in a Pod.

`python soak_client.py JSON` takes {"kinds": {NAME: {"protocol": "tcp" or "udp", "targets": [[ADDRESS, PORT], …]}},
"rate": connections a second, "count": of connections}, and prints a line of JSON each second: what ended in it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import sys
import time
from collections import Counter
from typing import Any, Final

PATIENCE: Final = 5.0
"""Seconds after which a connection counts as failed."""
AGAIN: Final = 1.0
"""Seconds after which a datagram is sent once more, as TCP sends a SYN again (RFC 6298, 2.1)."""
LATE: Final = 0.5
"""Seconds; what took longer was sent more than once."""
_REQUEST: Final = b"GET /hostname HTTP/1.0\r\n\r\n"
_QUESTION: Final = b"hostname\n"
_FIRST_PORT, _LAST_PORT = 10_000, 65_000
"""A datagram's source port: each in its turn, so that every one begins a connection."""


async def ask_tcp(sock: socket.socket, target: tuple[str, int]) -> None:
    """Open a connection, ask, and read until the server closes it."""
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, target)
    await loop.sock_sendall(sock, _REQUEST)
    answer = b""
    while part := await loop.sock_recv(sock, 4096):
        answer += part
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"no answer 200 but {answer[:40]!r}")


async def ask_udp(sock: socket.socket, target: tuple[str, int]) -> None:
    """Send one datagram, once more if nothing comes, and read the answer."""
    loop = asyncio.get_running_loop()
    sock.connect(target)
    sock.send(_QUESTION)
    again = loop.call_later(AGAIN, sock.send, _QUESTION)
    try:
        await loop.sock_recv(sock, 4096)
    finally:
        again.cancel()


class Client:
    """Opens connections, and counts by kind what became of them in the running second."""

    def __init__(self, kinds: dict[str, Any]) -> None:
        self._turns = itertools.cycle(
            [(name, kind["protocol"], itertools.cycle([*map(tuple, kind["targets"])])) for name, kind in kinds.items()]
        )
        self._ports = itertools.cycle(range(_FIRST_PORT, _LAST_PORT))
        for _ in range(random.randrange(_LAST_PORT - _FIRST_PORT)):
            next(self._ports)
        self._answered: Counter[str] = Counter()
        self._late: Counter[str] = Counter()
        self._failed: dict[str, Counter[str]] = {name: Counter() for name in kinds}

    async def one(self) -> None:
        """Open the next connection."""
        name, protocol, targets = next(self._turns)
        target = next(targets)
        begun = time.monotonic()
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        try:
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.settimeout(0)
                if protocol == "udp":
                    self._bind(sock)
                async with asyncio.timeout(PATIENCE):
                    await (ask_tcp if protocol == "tcp" else ask_udp)(sock, target)
        except OSError as error:
            self._failed[name][type(error).__name__] += 1
            return
        self._answered[name] += 1
        self._late[name] += time.monotonic() - begun > LATE

    def tell(self) -> None:
        """Print what came to its end since the last time."""
        told = {"answered": self._answered, "late": self._late, "failed": self._failed}
        print(json.dumps(told), flush=True)
        self._answered.clear()
        self._late.clear()
        for reasons in self._failed.values():
            reasons.clear()

    def _bind(self, sock: socket.socket) -> None:
        """Take the next source port that is free."""
        while True:
            try:
                sock.bind(("", next(self._ports)))
            except OSError:
                continue
            return


async def _work(client: Client, rate: float, count: int) -> None:
    telling = asyncio.create_task(_tell_each_second(client))
    begun = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            ahead = begun + number / rate - time.monotonic()
            if ahead > 0 or number % 50 == 0:
                await asyncio.sleep(max(0.0, ahead))
            tasks.create_task(client.one())
    telling.cancel()
    client.tell()


async def _tell_each_second(client: Client) -> None:
    while True:
        await asyncio.sleep(1.0)
        client.tell()


if __name__ == "__main__":
    _given = json.loads(sys.argv[1])
    asyncio.run(_work(Client(_given["kinds"]), _given["rate"], _given["count"]))
