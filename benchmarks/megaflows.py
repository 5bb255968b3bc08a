"""What a datapath keeps of its flows, as `ovs-appctl dpctl/dump-flows` tells it: how often a packet goes round."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.sandbox import BenchmarkError

_ID: Final = re.compile(r"recirc_id\((0x[0-9a-f]+|0)\)")
_PORT: Final = re.compile(r"in_port\((\d+)\)")
_STATE: Final = re.compile(r"ct_state\(([^)]*)\)")
_NEXT: Final = re.compile(r"recirc\((0x[0-9a-f]+)\)")
_IPV4: Final = "eth_type(0x0800)"
_PACKETS: Final = re.compile(r"packets:(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recirculations:
    """How often most packets of the connections to a server went through the datapath once more.

    The first packet of a connection, those that follow it, and replies; and how many recirculation ids there are for
    all of them: each has megaflows of its own.
    """

    first: int
    following: int
    reply: int
    ids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Megaflow:
    """One: where it stands, how many packets it met, and which recirculations it leads to."""

    at: str
    port: str
    state: str
    packets: int
    nexts: Sequence[str]


def count(dump: str) -> int:
    """Return how many megaflows a dump tells of."""
    return sum("actions:" in line for line in dump.splitlines())


def recirculations(dump: str) -> Recirculations:
    """Follow the IPv4 packets through a dump that one kind of connection left, from one client's port.

    Raises BenchmarkError if no connection was opened, or none was answered.
    """
    flows = list(_read(dump))
    opening = {flow.port for flow in flows if "+new" in flow.state}
    if len(opening) != 1:
        raise BenchmarkError(f"connections came from {len(opening)} ports, not from one: {dump}")
    to_server = [flow for flow in flows if flow.port in opening]
    replies = [flow for flow in flows if flow.port not in opening]
    return Recirculations(
        first=_usual(to_server, "+new"),
        following=_usual(to_server, "-new"),
        reply=_usual(replies, "-new"),
        ids=len({flow.at for flow in flows} - {"0"}),
    )


def _read(dump: str) -> Iterator[_Megaflow]:
    for line in dump.splitlines():
        at, port, state = _ID.search(line), _PORT.search(line), _STATE.search(line)
        if at and port and _IPV4 in line and (met := _PACKETS.search(line)):
            nexts = _NEXT.findall(line.partition("actions:")[2])
            # The packet for which it was made is not counted.
            packets = int(met[1]) + 1
            yield _Megaflow(at=at[1], port=port[1], state=state[1] if state else "", packets=packets, nexts=nexts)


def _usual(flows: Sequence[_Megaflow], state: str) -> int:
    """Return after how many recirculations most packets left that were seen in that state of their connection.

    A packet keeps its way after the state was matched: what follows it belongs to it, too.
    """
    by_place: dict[str, list[_Megaflow]] = {}
    for flow in flows:
        by_place.setdefault(flow.at, []).append(flow)
    left: Counter[int] = Counter()
    waiting = {("0", 0, False)}
    while waiting:
        at, depth, seen = waiting.pop()
        for flow in by_place.get(at, ()):
            if "new" in flow.state and not seen and state not in flow.state:
                continue
            known = seen or state in flow.state
            if known and not flow.nexts:
                left[depth] += flow.packets
            waiting |= {(following, depth + 1, known) for following in flow.nexts}
    if not left:
        raise BenchmarkError(f"no packet was seen whose connection is {state}")
    return left.most_common(1)[0][0]
