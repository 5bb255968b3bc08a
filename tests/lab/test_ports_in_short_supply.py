"""A client and an endpoint between which almost every port is taken: new connections through a Service still come."""

from __future__ import annotations

import random
import socket
import time

import pytest

from lab_stage import Stage

TARGET_PORT = 9999
PORTS = [port for port in range(1024, 65_536) if port != 8080]
"""What the userspace tracker chooses from where the client's own port is taken; at 8080 the client's Pod answers."""
FREE = len(PORTS) // 60
"""One look tries 248 ports: one connection in thirty finds none of these. A further look tries 120 others: after three
of them one in 4,000 is without."""
CONNECTIONS = 300
UNLUCKY = 2
"""As many as this hardly ever are, in both cases: nine are without a port at one look, none at four."""
IN_A_BURST = 200
"""Datagrams that the switch has room for, mostly, when it has had 5 ms for those before: all are sent twice."""


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_a_connection_finds_one_of_the_last_free_ports(stage: Stage, family: socket.AddressFamily) -> None:
    second = family == socket.AF_INET6
    name = f"scarce-{family.name.lower().replace('_', '-')}"
    stage.cluster.kubectl("label", "-n", stage.namespace, "pod", "server-1", f"{name}=")
    ports = [{"name": "lines", "port": 80, "targetPort": TARGET_PORT, "protocol": "UDP"}]
    service = stage.service(name, selector={name: ""}, ports=ports, endpoints=1)[second]
    client = stage.addresses_of("client-1")[second]
    taken = random.sample(PORTS, len(PORTS) - FREE)
    with stage.pod("server-1").open_socket(family, socket.SOCK_DGRAM) as server:
        server.bind(("", TARGET_PORT))
        for number, port in enumerate(taken * 2):
            server.sendto(b"", (client, port))
            if number % IN_A_BURST == 0:
                time.sleep(0.005)
        server.settimeout(1.0)
        unlucky = sum(not _arrives(stage, server, family, port, service) for port in taken[:CONNECTIONS])
    assert unlucky <= UNLUCKY


def _arrives(stage: Stage, server: socket.socket, family: socket.AddressFamily, port: int, service: str) -> bool:
    with stage.pod("client-1").open_socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        sock.sendto(str(port).encode(), (service, 80))
        try:
            return server.recv(10) == str(port).encode()
        except TimeoutError:
            return False
