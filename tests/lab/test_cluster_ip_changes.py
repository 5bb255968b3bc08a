"""Endpoints come and go, and no client notices: neither one that connects just then nor one that is connected."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from lab_cluster import PATIENCE, Cluster, JsonObject, Place, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, await_followed, await_service
from lab_traffic import TalkingLoad, converse, many, steady, talking

pytestmark = pytest.mark.cluster_ip

DRAINS: JsonObject = {
    "containers": [{"name": "server", "image": "pod-server", "args": ["--drain", f"{6 * PATIENCE:g}"]}],
    "terminationGracePeriodSeconds": int(30 * PATIENCE),
}
"""A well-behaved server: it goes on after SIGTERM until all Nodes know, and then finishes what it is doing."""


def _scale(cluster: Cluster, namespace: str, name: str, replicas: int) -> None:
    cluster.kubectl("scale", "-n", namespace, f"deployment/{name}", f"--replicas={replicas}")
    await_service(cluster, namespace, name, endpoints=replicas)


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> list[str]:
    """The ClusterIPs of a Service of 6 Pods that end gracefully."""
    cluster.deploy(namespace, "web", replicas=6, **DRAINS)
    cluster.expose(namespace, "web", port=80, ports=BOTH_PROTOCOLS, **DUAL)
    await_service(cluster, namespace, "web", endpoints=6)
    ips: list[str] = cluster.get("service", "-n", namespace, "web")["spec"]["clusterIPs"]
    return ips


def test_no_new_connection_fails_while_a_deployment_goes_from_six_pods_to_two_and_back(
    cluster: Cluster, stage: Stage, namespace: str, web: list[str]
) -> None:
    """Some time passes with each number of Pods: at 2, the other 4 are waited for until they are really gone."""
    before = set(cluster.pods_of(namespace, "web"))
    with contextlib.ExitStack() as stack:
        loads = {
            (node, protocol, address): stack.enter_context(steady(client, protocol, (address, 80), rate=100 / PATIENCE))
            for node, client in stage.clients.items()
            for protocol, address in (("tcp", web[0]), ("tcp", web[1]), ("udp", web[0]))
        }
        time.sleep(0.5 * PATIENCE)
        _scale(cluster, namespace, "web", 2)
        wait_until(lambda: len(cluster.get("pods", "-n", namespace, "-l", "app=web")["items"]) == 2, "four Pods gone")
        time.sleep(0.5 * PATIENCE)
        _scale(cluster, namespace, "web", 6)
        time.sleep(PATIENCE)
        tallies = {key: load.result() for key, load in loads.items()}
    after = set(cluster.pods_of(namespace, "web"))
    for key, tally in tallies.items():
        assert not tally.failed, f"{key}: {tally.failed}"
        assert tally.count > 100, f"{key}: too few to show anything"
        assert set(tally.answers) >= before & after, f"{key}: those that stay are used all the time"
    assert {server for tally in tallies.values() for server in tally.answers} == before | after


def test_no_datagram_is_lost_while_other_pods_start_and_end_on_the_clients_node(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    """Each start and end changes the Node's interfaces and the switch's ports; most servers are on other Nodes."""
    address, *_ = stage.service("spoken-to", endpoints=len(stage.nodes))
    with steady(stage.clients["node-1"], "udp", (address, 80), rate=400 / PATIENCE) as load:
        for number in range(5):
            cluster.run_pod(namespace, f"passing-{number}", node="node-1")
            cluster.kubectl("delete", "pod", "-n", namespace, f"passing-{number}", "--grace-period=1")
        tally = load.result()
    assert not tally.failed
    assert tally.count > 1000 / PATIENCE, "too few to show anything"


def test_open_connections_go_on_while_other_endpoints_come_and_go(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    """The two Pods that are talked to stay; they are of a Deployment of their own behind the same Service."""
    for name in ("stays", "changes"):
        cluster.run_pod(namespace, f"{name}-1", labels={"app": "web"})
    cluster.expose(namespace, "web", port=80, **DUAL)
    await_service(cluster, namespace, "web", endpoints=2)
    addresses = cluster.get("service", "-n", namespace, "web")["spec"]["clusterIPs"]
    with contextlib.ExitStack() as stack:
        loads: list[TalkingLoad] = [
            stack.enter_context(talking(client, (address, 80), connections=8))
            for client in stage.clients.values()
            for address in addresses
        ]
        time.sleep(0.5 * PATIENCE)
        for number in (2, 3):
            cluster.run_pod(namespace, f"changes-{number}", labels={"app": "web"})
            await_service(cluster, namespace, "web", endpoints=number + 1)
        for number in (1, 2):
            cluster.kubectl("delete", "pod", "-n", namespace, f"changes-{number}", "--grace-period=1")
            await_service(cluster, namespace, "web", endpoints=4 - number)
        conversations = [each for load in loads for each in load.result()]
    staying = [each for each in conversations if each.server == "stays-1"]
    assert len(staying) > 8, "so that this shows something"
    for each in staying:
        assert not each.broken, each
        assert each.turns > 20, each


def test_a_connection_to_a_terminating_pod_goes_on_while_new_ones_go_elsewhere(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    for number in (1, 2):
        cluster.run_pod(namespace, f"web-{number}", labels={"app": "web"}, **DRAINS)
    address = cluster.expose(namespace, "web", port=80)
    await_service(cluster, namespace, "web", endpoints=2)
    client = stage.clients["node-1"]
    with _connected_to(client, address, "web-1") as sock:
        cluster.kubectl("delete", "pod", "-n", namespace, "web-1", "--wait=false")
        await_service(cluster, namespace, "web", endpoints=1)
        await_followed(cluster, "node-1")
        assert many(client, "tcp", (address, 80), count=30).answers == {"web-2": 30}
        for turn in range(20):
            assert converse(sock, f"/echo?msg={turn}") == str(turn)
        assert converse(sock, "/hostname") == "web-1"


def test_when_all_pods_are_terminating_they_go_on_serving(cluster: Cluster, stage: Stage, namespace: str) -> None:
    cluster.run_pod(namespace, "last", labels={"app": "web"}, **DRAINS)
    address = cluster.expose(namespace, "web", port=80)
    await_service(cluster, namespace, "web", endpoints=1)
    cluster.kubectl("delete", "pod", "-n", namespace, "last", "--wait=false")
    wait_until(
        lambda: cluster.get("pod", "-n", namespace, "last")["metadata"].get("deletionTimestamp"), "Pod terminating"
    )
    time.sleep(0.3 * PATIENCE)
    assert many(stage.clients["node-2"], "tcp", (address, 80), count=20).answers == {"last": 20}


@contextlib.contextmanager
def _connected_to(client: Place, address: str, server: str) -> Iterator[socket.socket]:
    """Connect until it is this server that one is connected to."""
    for _ in range(100):
        with client.connect(address, 80) as sock:
            if converse(sock, "/hostname") == server:
                yield sock
                return
    raise AssertionError(f"100 connections to {address}, none to {server}")
