"""TCP segments that belong to no connection as it is: they must not end one that is alive."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final, NamedTuple

import pytest

from antrea_proxy.lab import namespaces
from lab_cluster import Place
from lab_stage import Stage
from lab_traffic import converse

NODE: Final = "node-1"
_ALL_PROTOCOLS: Final = 3
"""ETH_P_ALL (packet(7))."""


class _Sent(NamedTuple):
    """Where a client's side of a connection is: the sequence numbers that it sends and expects next."""

    following: int
    expected: int


@pytest.mark.kernel
def test_a_segment_out_of_the_window_does_not_end_the_connection_that_it_claims_to_be_of(stage: Stage) -> None:
    """What the tracker calls invalid is not translated, and the client's reset of it would hit (the kernel's tracker).

    What it takes as a part of the connection is translated, and the client does not mind (the userspace datapath's).
    """
    address, *_ = stage.service("window", endpoints=3)
    client = stage.clients[NODE]
    own, _ = stage.addresses_of(client.name)
    with namespaces.inside(client.netns):
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ALL_PROTOCOLS))
    with sniffer, client.connect(address, 80) as talk:
        server = converse(talk, "/hostname")
        port = talk.getsockname()[1]
        source, _ = stage.addresses_of(server)
        for _ in range(5):
            assert converse(talk, "/hostname") == server
            now = _last_sent(sniffer, port)
            _send_stray(stage.pod(server), (source, 8080), (own, port), now)
        assert converse(talk, "/hostname") == server
    stage.remove("window")


def _last_sent(sniffer: socket.socket, port: int) -> _Sent:
    """Read what a client has sent so far from a port."""
    found: _Sent | None = None
    sniffer.settimeout(0)
    with suppress(BlockingIOError):
        while packet := sniffer.recv(65536):
            header = (packet[0] & 0xF) * 4
            if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
                continue
            from_port, _, sequence, expected, offset = struct.unpack_from("!HHIIB", packet, header)
            if from_port == port:
                data = int.from_bytes(packet[2:4], "big") - header - (offset >> 4) * 4
                found = _Sent(sequence + data & 0xFFFFFFFF, expected)
    assert found is not None
    return found


def _send_stray(place: Place, source: tuple[str, int], target: tuple[str, int], now: _Sent) -> None:
    """Send from a Pod a segment far ahead of the client's window that acknowledges all that the client has sent."""
    data, ahead = b"late", now.expected + (1 << 30) & 0xFFFFFFFF
    header = struct.pack("!HHIIBBHHH", source[1], target[1], ahead, now.following, 5 << 4, 0x18, 1024, 0, 0)
    pseudo = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    pseudo += struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header + data))
    checksum = struct.pack("!H", _checksum(pseudo + header + data))
    segment = header[:16] + checksum + header[18:] + data

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
            raw.sendto(segment, (target[0], 0))

    place.run(send)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
