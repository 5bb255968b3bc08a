"""Who answers at a ClusterIP, whichever way its packets must go, and as whom the server sees the client."""

from __future__ import annotations

import pytest

from lab_cluster import Cluster, pod_object
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, await_service, serving_outside, slice_object
from lab_traffic import many

pytestmark = pytest.mark.cluster_ip

HAIRPIN = ("169.254.0.253", "fc01::aabb:ccdd:eeff")
CLIENT_1 = ("172.18.0.101", "fd00:18::101")


def _host(peer: str) -> str:
    return peer.rpartition(":")[0].strip("[]")


@pytest.fixture(scope="module")
def everywhere(stage: Stage) -> list[str]:
    """ClusterIPs of a Service with one endpoint on each Node, TCP and UDP on port 80."""
    return stage.service("everywhere", endpoints=len(stage.nodes))


@pytest.mark.kernel
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_pods_of_every_node_reach_the_pods_of_every_node_over_both_families(
    stage: Stage, everywhere: list[str], protocol: str
) -> None:
    for node, client in stage.clients.items():
        for address in everywhere:
            tally = many(client, protocol, (address, 80), count=60)
            assert not tally.failed, f"from {node} to {address}"
            assert set(tally.answers) == set(stage.servers), f"from {node} to {address}"


def test_the_server_sees_the_address_of_the_client_pod(stage: Stage, everywhere: list[str]) -> None:
    for node, client in stage.clients.items():
        own = stage.addresses_of(client.name)
        for address, expected in zip(everywhere, own, strict=True):
            for _ in range(6):
                assert _host(client.get(address, 80, "/clientip")) == expected, f"TCP from {node}"
                assert _host(client.ask_udp(address, 80, "clientip")) == expected, f"UDP from {node}"


@pytest.mark.kernel
@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
def test_a_pod_reaches_itself_through_its_service_and_sees_the_virtual_address(stage: Stage, family: int) -> None:
    name = f"narcissus-{family + 4}"
    stage.cluster.run_pod(stage.namespace, name)
    address = stage.service(name, app=name, endpoints=1)[family]
    pod = stage.pod(name)
    assert pod.get(address, 80) == name
    assert _host(pod.get(address, 80, "/clientip")) == HAIRPIN[family]
    assert len(pod.get(address, 80, "/bytes?n=1000000")) == 1_000_000
    assert _host(pod.ask_udp(address, 80, "clientip")) == HAIRPIN[family]
    tally = many(pod, "tcp", (address, 80), count=100)
    assert tally.answers == {name: 100}


def test_each_port_of_a_service_leads_to_its_own_target_port(cluster: Cluster, namespace: str) -> None:
    container = {
        "name": "server",
        "image": "pod-server",
        "args": ["--port", "8080", "--port", "9090"],
        "ports": [
            {"name": "web", "containerPort": 8080},
            {"name": "admin", "containerPort": 9090},
            {"name": "lines", "containerPort": 9090, "protocol": "UDP"},
        ],
    }
    cluster.run_pod(namespace, "server", containers=[container])
    ports = [
        {"name": "a", "port": 80, "targetPort": "web"},
        {"name": "b", "port": 81, "targetPort": "admin"},
        {"name": "c", "port": 82, "targetPort": 9090},
        {"name": "d", "port": 81, "targetPort": "lines", "protocol": "UDP"},
    ]
    cluster.expose(namespace, "server", port=80, ports=ports, **DUAL)
    await_service(cluster, namespace, "server", endpoints=1)
    client = cluster.pod(namespace, cluster.run_pod(namespace, "client"))
    for address in cluster.get("service", "-n", namespace, "server")["spec"]["clusterIPs"]:
        assert [client.get(address, port) for port in (80, 81, 82)] == ["server"] * 3
        assert client.ask_udp(address, 81, "echo to you") == "to you"


def test_a_named_target_port_may_be_another_number_on_each_endpoint(cluster: Cluster, namespace: str) -> None:
    for number in (8081, 8082):
        container = {
            "name": "server",
            "image": "pod-server",
            "args": ["--port", str(number)],
            "ports": [{"name": "web", "containerPort": number}],
        }
        cluster.apply(pod_object(namespace, f"on-{number}", labels={"app": "named"}, containers=[container]))
    cluster.kubectl("wait", "-n", namespace, "pods", "--all", "--for=condition=Ready", "--timeout=30s")
    address = cluster.expose(namespace, "named", port=80, ports=[{"port": 80, "targetPort": "web"}])
    await_service(cluster, namespace, "named", endpoints=2)
    client = cluster.pod(namespace, cluster.run_pod(namespace, "client"))
    tally = many(client, "tcp", (address, 80), count=60)
    assert not tally.failed
    assert set(tally.answers) == {"on-8081", "on-8082"}


def test_an_endpoint_on_a_nodes_own_network_answers_pods_of_every_node(stage: Stage) -> None:
    container = {"name": "c", "image": "pod-server", "args": ["--port", "18080", "--hostname", "on-the-host"]}
    stage.cluster.run_pod(stage.namespace, "on-the-host", node="node-2", hostNetwork=True, containers=[container])
    ports = [{**port, "targetPort": 18080} for port in BOTH_PROTOCOLS]
    addresses = stage.service("on-the-host", app="on-the-host", ports=ports, endpoints=1)
    for node, client in stage.clients.items():
        for address in addresses:
            assert many(client, "tcp", (address, 80), count=20).answers == {"on-the-host": 20}, f"{node} {address}"
            assert many(client, "udp", (address, 80), count=20).answers == {"on-the-host": 20}, f"{node} {address}"


def test_an_endpoint_on_the_clients_own_node_answers_although_the_node_forgot_the_clients_mac_address(
    stage: Stage,
) -> None:
    """As after a restart of the switch. The Node then asks for it under the address that the endpoint answers from."""
    container = {"name": "c", "image": "pod-server", "args": ["--port", "18082", "--hostname", "at-home"]}
    stage.cluster.run_pod(stage.namespace, "at-home", node="node-3", hostNetwork=True, containers=[container])
    ports = [{"name": "http", "port": 80, "targetPort": 18082}]
    for address in stage.service("at-home", app="at-home", ports=ports, endpoints=1):
        client = stage.clients["node-3"]
        assert client.get(address, 80) == "at-home", "from here on the client knows the gateway's MAC address"
        stage.cluster.node("node-3").command("ip", "neigh", "flush", "dev", "antrea-gw0")
        assert client.get(address, 80, timeout=1) == "at-home"


def test_an_endpoint_outside_of_the_cluster_answers_and_sees_the_nodes_address(stage: Stage) -> None:
    cluster, namespace = stage.cluster, stage.namespace
    ports = [{**port, "port": 18081} for port in BOTH_PROTOCOLS]
    addresses = stage.service("outside", selector=None)
    cluster.apply(
        *(
            slice_object(
                namespace,
                "outside",
                f"outside-{number}",
                addresses=[address],
                ports=[{k: v for k, v in port.items() if k != "targetPort"} for port in ports],
            )
            for number, address in enumerate(CLIENT_1)
        )
    )
    await_service(cluster, namespace, "outside", endpoints=1)
    with serving_outside(cluster.client(), name="outside", port=18081):
        for node, client in stage.clients.items():
            number = node.removeprefix("node-")
            for address, seen in zip(addresses, (f"172.18.0.{number}", f"fd00:18::{number}"), strict=True):
                assert client.get(address, 80) == "outside"
                assert _host(client.get(address, 80, "/clientip")) == seen
                assert _host(client.ask_udp(address, 80, "clientip")) == seen


def test_twenty_megabytes_in_each_direction_arrive_as_they_were_sent(stage: Stage, everywhere: list[str]) -> None:
    data = bytes(range(256)) * 80_000
    for node, address in zip(stage.nodes, everywhere, strict=False):
        sock = stage.clients[node].connect(address, 80, timeout=30)
        with sock, sock.makefile("rb") as answer:
            sock.sendall(b"POST /echo HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(data))
            sock.sendall(data)
            _, _, body = answer.read().partition(b"\r\n\r\n")
        assert body == data
