"""Health checks of a load balancer outside of the cluster, and a Node with proxyAll that is examined."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from lab_cluster import PROGRAM, Cluster, Place, deployment_object, running_cluster, wait_until
from lab_stage import ask_agent

NAMESPACE = "health"
HEALTH_PORT = 10256
ADDRESSES = {"node-1": "172.18.0.1", "node-2": "172.18.0.2"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A lab with proxyAll, with Pods on node-1 alone; a Service sends to Nodes that have any."""
    config: Path = tmp_path_factory.mktemp("health") / "antrea-agent.conf"
    config.write_text("antreaProxy: {proxyAll: true}\n")
    with running_cluster("--nodes", "2", "--config", str(config)) as made:
        made.kubectl("create", "namespace", NAMESPACE)
        made.apply(deployment_object(NAMESPACE, "web", replicas=2, nodeName="node-1"))
        made.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/web")
        made.expose(NAMESPACE, "web", port=80, type="LoadBalancer", externalTrafficPolicy="Local")
        yield made


@pytest.fixture
def port(cluster: Cluster) -> int:
    """The Service's healthCheckNodePort."""
    return int(cluster.get("service", "-n", NAMESPACE, "web")["spec"]["healthCheckNodePort"])


def ask(client: Place, node: str, port: int, path: str = "/") -> tuple[int, Any]:
    """GET from outside of the cluster: the status, and the body."""
    connection = HTTPConnection(ADDRESSES[node], port)
    connection.sock = client.connect(ADDRESSES[node], port)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def status(client: Place, node: str, port: int, path: str = "/") -> int:
    """The status alone; 0 where nobody listens."""
    try:
        return ask(client, node, port, path)[0]
    except ConnectionRefusedError:
        return 0


def doctor(cluster: Cluster, node: str) -> list[tuple[str, str]]:
    """What is found on a Node, as pairs of check and words, notes left out."""
    command = [PROGRAM, "doctor", "--lab", cluster.name, "--node", node, "-o", "json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    found = json.loads(done.stdout)["findings"]
    return [(item["check"], item["what"]) for item in found if item["severity"] != "note"]


def problems(cluster: Cluster, node: str, service: str) -> list[str]:
    """What the Node's agent finds wrong with a Service."""
    (found,) = ask_agent(cluster, node, f"/v1/services?namespace={NAMESPACE}&name={service}")["items"]
    return list(found["problems"])


def test_a_load_balancer_is_led_to_nodes_with_endpoints_and_follows_them(cluster: Cluster, port: int) -> None:
    client = cluster.client()
    wait_until(lambda: status(client, "node-1", port) == 200, "node-1 has endpoints")
    assert ask(client, "node-1", port) == (
        200,
        {"service": {"namespace": NAMESPACE, "name": "web"}, "localEndpoints": 2, "serviceProxyHealthy": True},
    )
    wait_until(lambda: status(client, "node-2", port) == 503, "node-2 has none")
    cluster.kubectl("scale", "-n", NAMESPACE, "deployment/web", "--replicas=0")
    wait_until(lambda: status(client, "node-1", port) == 503, "node-1 has none any more")
    cluster.kubectl("scale", "-n", NAMESPACE, "deployment/web", "--replicas=2")
    wait_until(lambda: status(client, "node-1", port) == 200, "node-1 has endpoints again")


def test_a_node_that_the_autoscaler_is_about_to_remove_gets_no_new_connections(cluster: Cluster) -> None:
    client = cluster.client()
    assert ask(client, "node-2", HEALTH_PORT, "/healthz")[0] == 200
    cluster.kubectl("taint", "node", "node-2", "ToBeDeletedByClusterAutoscaler=1:NoSchedule")
    wait_until(lambda: status(client, "node-2", HEALTH_PORT, "/healthz") == 503, "node-2 is not eligible")
    assert ask(client, "node-2", HEALTH_PORT, "/livez")[0] == 200
    assert ask(client, "node-1", HEALTH_PORT, "/healthz")[0] == 200
    cluster.kubectl("taint", "node", "node-2", "ToBeDeletedByClusterAutoscaler-")
    wait_until(lambda: status(client, "node-2", HEALTH_PORT, "/healthz") == 200, "node-2 is eligible again")


def test_a_taken_health_port_is_said_on_the_service_and_served_when_it_is_free(cluster: Cluster) -> None:
    client, number = cluster.client(), 30999
    with cluster.node("node-2").open_socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("0.0.0.0", number))
        taken.listen()
        given = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": number}
        cluster.expose(NAMESPACE, "taken", port=80, **given)
        wait_until(lambda: status(client, "node-1", number) == 503, "node-1 answers")
        wait_until(lambda: problems(cluster, "node-2", "taken"), "node-2 says so")
        assert f"spec.healthCheckNodePort: {number}: Address already in use" in problems(cluster, "node-2", "taken")[0]
        assert not problems(cluster, "node-1", "taken")
    wait_until(lambda: status(client, "node-2", number) == 503, "node-2 answers, too")
    wait_until(lambda: not problems(cluster, "node-2", "taken"), "node-2 says no more")


def test_a_sound_node_with_proxy_all_has_no_findings_and_a_listener_on_a_node_port_is_one(cluster: Cluster) -> None:
    assert [doctor(cluster, node) for node in ADDRESSES] == [[], []]
    number = cluster.get("service", "-n", NAMESPACE, "web")["spec"]["ports"][0]["nodePort"]
    listener = cluster.node("node-1").open_socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.bind(("0.0.0.0", number))
        listener.listen()
        ((check, what),) = doctor(cluster, "node-1")
    assert check == "listeners"
    assert re.search(rf"{number}/TCP, a node port of Service {NAMESPACE}/web", what)
