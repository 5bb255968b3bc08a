"""A connection tracker in memory: its entries, what is asked of it to forget, and what it lists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from antrea_proxy.agent.errors import FlushRefused
from antrea_proxy.openflow.messages import ConntrackFlush, ConntrackTuple

ZONE = 65520
TRANSLATED = 0x13
"""The mark of a connection that a Pod began and a Service translated."""
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A tracked connection from `source` to `destination`, whose replies come from `to`; each an address and a port."""

    protocol: str
    source: tuple[str, int]
    destination: tuple[str, int]
    to: tuple[str, int]
    mark: int = TRANSLATED
    zone: int = ZONE

    def __str__(self) -> str:
        mark = f",mark={self.mark}" if self.mark else ""
        return (
            f"{self.protocol},orig={_direction(self.source, self.destination)},"
            f"reply={_direction(self.to, self.source)},zone={self.zone}{mark}"
        )


def _direction(source: tuple[str, int], destination: tuple[str, int]) -> str:
    return f"(src={source[0]},dst={destination[0]},sport={source[1]},dport={destination[1]})"


@dataclass
class ModelTracker:
    """Forgets what it is asked to forget.

    `asked` are the messages, `following` is called while the datapath follows, `refuses` says why nothing is forgotten.
    """

    entries: set[Entry] = field(default_factory=set)
    asked: list[ConntrackFlush] = field(default_factory=list)
    dumps: int = 0
    refuses: str = ""
    following: Callable[[], None] = lambda: None

    async def flush(self, wanted: Sequence[ConntrackFlush]) -> None:
        """Forget all that the messages are about."""
        await asyncio.sleep(0)
        self.asked += wanted
        if self.refuses:
            raise FlushRefused(self.refuses)
        self.entries = {entry for entry in self.entries if not any(_concerns(flush, entry) for flush in wanted)}

    async def dump(self) -> str:
        """List the entries."""
        self.dumps += 1
        await asyncio.sleep(0)
        return "".join(f"{entry}\n" for entry in sorted(self.entries, key=str))

    async def followed(self) -> None:
        """Let the datapath follow."""
        await asyncio.sleep(0.002)
        self.following()


def _concerns(flush: ConntrackFlush, entry: Entry) -> bool:
    return (
        flush.zone in {None, entry.zone}
        and flush.ip_proto in {0, PROTOCOLS[entry.protocol]}
        and _matches(flush.original, entry.source, entry.destination)
        and _matches(flush.reply, entry.to, entry.source)
    )


def _matches(wanted: ConntrackTuple, source: tuple[str, int], destination: tuple[str, int]) -> bool:
    given = (wanted.source, wanted.source_port, wanted.destination, wanted.destination_port)
    found = (ip_address(source[0]), source[1], ip_address(destination[0]), destination[1])
    return all(want is None or want == have for want, have in zip(given, found, strict=True))
