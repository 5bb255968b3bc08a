"""Thousands of endpoints without thousands of Pods: a host outside of the cluster that answers at every address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Final

from lab_cluster import Cluster, Place, wait_until
from lab_stage import BOTH_PROTOCOLS, slice_object
from lab_traffic import Load, outcome

PORT: Final = 8080
IN_A_SLICE: Final = 100
_RANGE: Final = "198.18.0.0/16"
"""Of the addresses for benchmarks (RFC 2544)."""
_IP_PKTINFO: Final = 8
"""Linux's number (linux/in.h), which Python names from 3.14 on."""
_CLIENT_1: Final = "172.18.0.101"


def address_of(number: int) -> str:
    """Give the address of an endpoint, from 0 on."""
    return f"198.18.{number >> 8}.{number & 0xFF}"


@contextlib.contextmanager
def answering_everywhere(cluster: Cluster) -> Iterator[None]:
    """Let client-1 answer over TCP and UDP at all these addresses, each with itself, and the Nodes know the way."""
    host = cluster.client()
    host.command("ip", "route", "add", "local", _RANGE, "dev", "lo")
    for node in cluster.node_names:
        cluster.node(node).command("ip", "route", "add", _RANGE, "via", _CLIENT_1)
    server = Load(host, lambda stopped: asyncio.run(_serve(stopped)))
    try:
        first = cluster.node(cluster.node_names[0])
        wait_until(lambda: _answers(first), "the host answers")
        yield
    finally:
        server.abandon()
        for node in cluster.node_names:
            cluster.node(node).command("ip", "route", "del", _RANGE)
        host.command("ip", "route", "del", "local", _RANGE, "dev", "lo")


def _answers(place: Place) -> bool:
    return outcome(place, address_of(0), PORT) == address_of(0)


def slices(namespace: str, service: str, count: int) -> list[dict[str, object]]:
    """Give the EndpointSlices of so many endpoints, as the controller would split them."""
    ports = [{"name": port["name"], "port": PORT, "protocol": port["protocol"]} for port in BOTH_PROTOCOLS]
    return [
        slice_object(
            namespace,
            service,
            f"{service}-{first // IN_A_SLICE}",
            addresses=[address_of(number) for number in range(first, min(first + IN_A_SLICE, count))],
            ports=ports,
        )
        for first in range(0, count, IN_A_SLICE)
    ]


# Inside of the host's process


async def _serve(stopped: object) -> None:
    assert callable(stopped)
    threading.Thread(target=_serve_lines, daemon=True).start()
    server = await asyncio.start_server(_answer, "0.0.0.0", PORT, backlog=4096)
    async with server:
        while not stopped():  # noqa: ASYNC110 - it is asked of a pipe
            await asyncio.sleep(0.1)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + writer.get_extra_info("sockname")[0].encode())
        await writer.drain()
    writer.close()


def _serve_lines() -> None:
    """Answer each datagram from the address that it was sent to (ip(7), IP_PKTINFO)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind(("0.0.0.0", PORT))
        while True:
            _, ancillary, _, client = sock.recvmsg(2048, socket.CMSG_SPACE(12))
            here = ancillary[0][2][8:12]
            source = struct.pack("=i4s4s", 0, here, bytes(4))
            line = socket.inet_ntoa(here).encode() + b"\n"
            with contextlib.suppress(OSError):
                sock.sendmsg([line], [(socket.IPPROTO_IP, _IP_PKTINFO, source)], 0, client)
