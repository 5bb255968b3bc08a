"""A client and an endpoint between which almost every port is taken: new connections through a Service still come."""

from __future__ import annotations

import random
import socket
import time

import pytest

from lab_cluster import Place
from lab_entry import NAMESPACE, Entry
from lab_stage import Stage, await_service

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
FAMILIES = pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
LINES = [{"name": "lines", "port": 80, "targetPort": TARGET_PORT, "protocol": "UDP"}]


@FAMILIES
def test_a_connection_finds_one_of_the_last_free_ports(stage: Stage, family: socket.AddressFamily) -> None:
    second = family == socket.AF_INET6
    name = f"scarce-{family.name.lower().replace('_', '-')}"
    stage.cluster.kubectl("label", "-n", stage.namespace, "pod", "server-1", f"{name}=")
    service = stage.service(name, selector={name: ""}, ports=LINES, endpoints=1)[second]
    client = stage.addresses_of("client-1")[second]
    assert _unlucky(stage.pod("server-1"), stage.pod("client-1"), family, client, (service, 80)) <= UNLUCKY


@FAMILIES
def test_so_does_one_from_outside_to_a_node_port(proxy_all: Entry, family: socket.AddressFamily) -> None:
    cluster, second = proxy_all.cluster, family == socket.AF_INET6
    name = f"scarce-{family.name.lower().replace('_', '-')}"
    selected = {"selector": {"app": "pod"}, "type": "NodePort", "ipFamilyPolicy": "PreferDualStack", "ports": LINES}
    cluster.expose(NAMESPACE, name, port=80, **selected)
    await_service(cluster, NAMESPACE, name, endpoints=1)
    proxy_all.settle()
    node = ("172.18.0.1", "fd00:18::1")[second], proxy_all.node_port(name, "udp")
    client = ("172.18.0.101", "fd00:18::101")[second]
    assert _unlucky(cluster.pod(NAMESPACE, "pod"), cluster.client(), family, client, node) <= UNLUCKY
    proxy_all.remove(name)


def _unlucky(endpoint: Place, place: Place, family: socket.AddressFamily, client: str, to: tuple[str, int]) -> int:
    """Take almost all ports of a client towards an endpoint, then count new connections from them that do not come."""
    taken = random.sample(PORTS, len(PORTS) - FREE)
    with endpoint.open_socket(family, socket.SOCK_DGRAM) as server:
        server.bind(("", TARGET_PORT))
        for number, port in enumerate(taken * 2):
            server.sendto(b"", (client, port))
            if number % IN_A_BURST == 0:
                time.sleep(0.005)
        server.settimeout(1.0)
        return sum(not _arrives(place, server, family, port, to) for port in taken[:CONNECTIONS])


def _arrives(place: Place, server: socket.socket, family: socket.AddressFamily, port: int, to: tuple[str, int]) -> bool:
    with place.open_socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(("", port))
        sock.sendto(str(port).encode(), to)
        try:
            return server.recv(10) == str(port).encode()
        except TimeoutError:
            return False
