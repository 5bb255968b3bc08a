"""What holds in the shared lab (Geneve, dual stack) holds with other ways between the Nodes, and one family alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab_cluster import running_cluster
from lab_stage import BOTH_PROTOCOLS, Stage
from lab_traffic import even, many

pytestmark = pytest.mark.cluster_ip

MODES = {
    "noEncap, dual stack": ("--encap-mode", "noEncap"),
    "VXLAN, dual stack": ("--tunnel", "vxlan"),
    "Geneve, IPv6 alone": ("--ip-family", "ipv6"),
}
HAIRPIN = {4: "169.254.0.253", 6: "fc01::aabb:ccdd:eeff"}


def _version(address: str) -> int:
    return 6 if ":" in address else 4


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def other(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A lab of two Nodes in each mode, with a client and a server on each."""
    with running_cluster("--nodes", "2", *request.param) as cluster:
        yield Stage(cluster, "stage")


def test_pods_reach_services_of_local_and_remote_pods_with_their_own_addresses(other: Stage) -> None:
    addresses = other.service("web", endpoints=2)
    for client in other.clients.values():
        own = {_version(address): address for address in other.addresses_of(client.name)}
        for address in addresses:
            for protocol in ("tcp", "udp"):
                tally = many(client, protocol, (address, 80), count=400)
                assert not tally.failed
                assert even(tally.answers, other.servers), tally.answers
            assert own[_version(address)] in client.get(address, 80, "/clientip")
            assert own[_version(address)] in client.ask_udp(address, 80, "clientip")


def test_a_pod_reaches_itself_and_a_port_without_endpoints_is_refused(other: Stage) -> None:
    pod = other.pod("server-1")
    other.cluster.kubectl("label", "-n", other.namespace, "pod/server-1", "alone=yes")
    for address in other.service("alone", selector={"alone": "yes"}, endpoints=1):
        assert HAIRPIN[_version(address)] in pod.get(address, 80, "/clientip")
    for address in other.service("nobody", app="nobody", endpoints=0):
        for client in other.clients.values():
            with pytest.raises(ConnectionRefusedError):
                client.get(address, 80)
            with pytest.raises(ConnectionRefusedError):
                client.ask_udp(address, 80)


def test_an_endpoint_on_a_nodes_own_network_answers(other: Stage) -> None:
    container = {"name": "c", "image": "pod-server", "args": ["--port", "18080", "--hostname", "on-the-host"]}
    other.cluster.run_pod(other.namespace, "on-the-host", node="node-2", hostNetwork=True, containers=[container])
    ports = [{**port, "targetPort": 18080} for port in BOTH_PROTOCOLS]
    for address in other.service("on-the-host", app="on-the-host", ports=ports, endpoints=1):
        for client in other.clients.values():
            assert many(client, "tcp", (address, 80), count=20).answers == {"on-the-host": 20}
            assert many(client, "udp", (address, 80), count=20).answers == {"on-the-host": 20}


def test_two_megabytes_in_each_direction_arrive_as_they_were_sent(other: Stage) -> None:
    data = bytes(range(256)) * 8000
    for server in other.servers:
        for address in other.addresses_of(server):
            with other.clients["node-1"].connect(address, 8080, timeout=30) as sock, sock.makefile("rb") as answer:
                sock.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
                assert answer.read().partition(b"\r\n\r\n")[2] == data
