"""What ovs-vswitchd's connection tracker lists (dpctl/dump-conntrack, ovs-dpctl(8)), read and judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple

from antrea_proxy.openflow.messages import ConntrackFlush, ConntrackTuple
from antrea_proxy.pipeline.registers import CONNTRACK_ZONE, SERVICE_MARK
from antrea_proxy.pipeline.stale_connections import WITHOUT_AN_END, Course, Destination, endpoint_at
from antrea_proxy.proxy.frontends import Protocol

_TUPLE: Final = r"\(src=([^,]+),dst=([^,]+),sport=(\d+),dport=(\d+)\)"
_ENTRY: Final = re.compile(
    rf"^({'|'.join(protocol.name.lower() for protocol in sorted(WITHOUT_AN_END))}),"
    rf"orig={_TUPLE},reply={_TUPLE},zone={CONNTRACK_ZONE}\b(?:.*?,mark=(\d+))?",
    re.MULTILINE,
)
"""One entry: protocol, the original direction, that of the replies, zone, and a mark unless it is 0.

    udp,orig=(src=10.10.1.5,dst=10.96.0.10,sport=40000,dport=53),reply=(src=10.10.2.7,dst=10.10.1.5,sport=5353,
    dport=40000),zone=65520,mark=16
"""

_Words = tuple[str, str, str, str, str]


class Client(NamedTuple):
    """The source of a connection, as the dump writes it."""

    address: str
    port: str


def read_dump(text: str) -> Mapping[Course, tuple[Client, ...]]:
    """The clients of each course of UDP and SCTP in our zone that a Service decides on.

    It was translated by one, or it goes where it was sent to.
    """
    clients: dict[_Words, list[Client]] = {}
    for protocol, source, address, source_port, port, to, _, to_port, _, mark in _ENTRY.findall(text):
        if int(mark or 0) & SERVICE_MARK or (address, port) == (to, to_port):
            clients.setdefault((protocol, address, port, to, to_port), []).append(Client(source, source_port))
    return {_course(words): tuple(found) for words, found in clients.items()}


def flushes(
    entries: Mapping[Course, tuple[Client, ...]], is_stale: Callable[[Course], bool]
) -> Iterator[ConntrackFlush]:
    """The messages that let the switch forget the connections of stale courses, one by one."""
    for course, clients in entries.items():
        if is_stale(course):
            protocol, address, port = course.destination
            for client in clients:
                original = ConntrackTuple(
                    source=ip_address(client.address),
                    source_port=int(client.port),
                    destination=address,
                    destination_port=port,
                )
                yield ConntrackFlush(ip_proto=protocol, zone=CONNTRACK_ZONE, original=original)


def _course(words: _Words) -> Course:
    protocol, address, port, to, to_port = words
    return Course(
        Destination(Protocol[protocol.upper()], ip_address(address), int(port)),
        endpoint_at(ip_address(to), int(to_port)),
    )
