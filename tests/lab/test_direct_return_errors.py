"""ICMP errors about the answers of endpoints that reply directly come to the endpoint that must hear them."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from functools import partial

import pytest

from lab_cluster import Place, wait_until
from lab_direct import Direct
from lab_entry import CLIENT
from lab_traffic import converse

MTU = 1300
ETHERNET = 14


def packet_back(frames: socket.socket, length: int, port: int) -> bytes:
    """Give the last packet of an endpoint's to a port of the client, which holds data."""
    found = b""
    frames.setblocking(False)  # noqa: FBT003 - the socket's own signature
    while True:
        try:
            packet = frames.recv(65536)[ETHERNET:]
        except BlockingIOError:
            return found
        if packet[length + 2 : length + 4] == port.to_bytes(2, "big") and len(packet) > length + 40:
            found = packet


def too_big(packet: bytes, length: int) -> bytes:
    """Give "fragmentation needed" (RFC 792, RFC 1191) or "packet too big" (RFC 4443) about a packet."""
    # The endpoint heeds errors about what it sent last alone (tcp_v4_err): its next segment begins there.
    header = (packet[length + 12] >> 4) * 4
    end = int.from_bytes(packet[length + 4 : length + 8], "big") + len(packet) - length - header
    quoted = packet[: length + 4] + (end & 0xFFFF_FFFF).to_bytes(4, "big") + packet[length + 8 : length + 20]
    if length == 40:  # IPv6, where the kernel fills the checksum in
        return struct.pack("!BBHI", 2, 0, 0, MTU) + quoted
    error: bytes = struct.pack("!BBHHH", 3, 4, 0, 0, MTU) + quoted
    words = error + b"\0" * (len(error) % 2)
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    checksum: bytes = (0xFFFF - total).to_bytes(2, "big")
    return error[:2] + checksum + error[4:]


def learned_mtu(place: Place, address: str) -> int | None:
    """Give what a place has learned of the path MTU to an address."""
    words = place.command("ip", "route", "get", address).stdout.split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else None


@dataclass(frozen=True, slots=True)
class Family:
    """What tells the families apart: numbers of the socket API, the EtherType and the length of the IP header."""

    kind: socket.AddressFamily
    protocol: int
    ether_type: int
    header: int


FAMILIES = {
    4: Family(socket.AF_INET, socket.IPPROTO_ICMP, 0x0800, 20),
    6: Family(socket.AF_INET6, socket.IPPROTO_ICMPV6, 0x86DD, 40),
}


@pytest.mark.parametrize("number", [4, 6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("ingress", ["node-1", "node-3"])
def test_an_endpoint_hears_that_its_answers_are_too_big_for_the_way_to_the_client(
    direct: Direct, number: int, ingress: str
) -> None:
    family, client = FAMILIES[number], direct.client
    direct.route(ingress)
    with (
        direct.service(endpoints=3) as (_, addresses),
        client.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as frames,
        client.open_socket(family.kind, socket.SOCK_RAW, family.protocol) as sending,
    ):
        address = addresses[(4, 6).index(number)]
        frames.bind(("eth0", family.ether_type))
        heard: dict[str, Place] = {}
        while set(heard) != set(direct.stage.servers):
            with client.connect(address, 80) as sock:
                name = converse(sock, "/hostname")
                if name in heard:
                    continue
                heard[name] = direct.stage.pod(name)
                error = too_big(packet_back(frames, family.header, sock.getsockname()[1]), family.header)
                sending.sendto(error, (address, 0))
                learned = partial(learned_mtu, heard[name], CLIENT[number])
                wait_until(lambda learned=learned: learned() == MTU, f"{name} hears it", seconds=3)  # type: ignore[misc]
        for server in heard.values():
            server.command("ip", "-6" if number == 6 else "-4", "route", "flush", "cache")
