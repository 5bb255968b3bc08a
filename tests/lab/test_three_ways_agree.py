"""The compiled tables walked in Python, ofproto/trace, and where real packets go: the same on every Node."""

from __future__ import annotations

import json
import random
import subprocess
from typing import Any

import pytest

from antrea_proxy.cli.api_client import AgentApi
from lab_cluster import PROGRAM, Cluster, Place, service_object, wait_until

pytestmark = pytest.mark.cluster_ip

SEED = 20260102
SERVICES = 10
CHOICES = 24
"""Values of the hash that are traced; of three endpoints, the switch's own table gives each some of them."""

CONNECTIONS = 48
"""Of three endpoints, one is missed by chance once in ten million times."""


def api_of(cluster: Cluster, node: str) -> AgentApi:
    """The API of a Node's agent."""
    return AgentApi(socket_path=cluster.places.node(node).cni_socket.parent / "api.sock")


def traced(cluster: Cluster, node: str, body: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The verdicts and the endpoints of a connection over many values of the hash; each time both tables must agree."""
    api, verdicts, targets = api_of(cluster, node), set[str](), set[str]()
    for choice in range(1, CHOICES + 1):
        found = api.post("/v1/trace", body | {"choice": choice})
        assert found["switch"] == "agrees", found["warnings"]
        verdicts.add(found["verdict"])
        targets |= {item["target"] for item in found["choices"] if item["followed"]}
        if not found["choices"]:
            break
    return verdicts, targets


def met(client: Place, address: str, port: int) -> tuple[str, set[str]]:
    """What real connections meet: an outcome, and who answered."""
    try:
        client.get(address, port, timeout=1.0)
    except ConnectionRefusedError:
        return "refused", set()
    except TimeoutError:
        return "dropped", set()
    answers = client.connect_many(address, port, count=CONNECTIONS)
    assert not answers.failed
    return "answered", set(answers.hostnames)


def test_tables_trace_and_packets_agree_on_random_services(cluster: Cluster, namespace: str) -> None:
    chance = random.Random(SEED)
    apps = {"one": 1, "few": 3, "none": 0}
    for app, replicas in apps.items():
        if replicas:
            cluster.deploy(namespace, app, replicas=replicas)
    clients = {
        node: cluster.pod(namespace, cluster.run_pod(namespace, f"client-{node}", node=node))
        for node in cluster.node_names
    }
    asked: dict[str, tuple[str, int]] = {}
    for number in range(SERVICES):
        name, port = f"s{number}", chance.randint(1, 65535)
        wanted: dict[str, Any] = {
            "selector": {"app": chance.choice(list(apps))},
            "internalTrafficPolicy": chance.choice(["Cluster", "Cluster", "Local"]),
            "ipFamilies": [chance.choice(["IPv4", "IPv6"])],
        }
        cluster.apply(service_object(namespace, name, port=port, **wanted))
        asked[name] = (cluster.get("service", "-n", namespace, name)["spec"]["clusterIP"], port)

    def known(node: str) -> set[str]:
        items = api_of(cluster, node).get("/v1/services", {"namespace": namespace})["items"]
        return {item["name"] for item in items if item["flows"]}

    for node, client in clients.items():
        wait_until(lambda node=node: known(node) >= asked.keys(), f"all Services in the switch of {node}")  # type: ignore[misc]
        for name, (address, port) in asked.items():
            body = {
                "namespace": namespace,
                "pod": client.name,
                "address": address,
                "port": str(port),
                "protocol": "TCP",
            }
            verdicts, targets = traced(cluster, node, body)
            outcome, answered = met(client, address, port)
            assert (outcome == "answered") == bool(targets), (node, name, outcome, verdicts)
            assert answered == targets, (node, name)
            if not targets:
                assert verdicts == {outcome}, (node, name)


def test_the_commands_show_a_service_and_the_way_to_it(cluster: Cluster, namespace: str) -> None:
    """As a user types them: the Pod's Node is found by itself, and the endpoint that is out says why."""
    cluster.deploy(namespace, "web", replicas=3)
    address = cluster.expose(namespace, "web", port=80)
    node = "node-1"
    client = cluster.run_pod(namespace, "client", node=node)

    def run(*words: str) -> str:
        options = ("--node", node, "--lab", cluster.name)
        done = subprocess.run([PROGRAM, *words, *options], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    wait_until(lambda: "3" in run("get", "services", "web", "-n", namespace).split(), "three endpoints in use")
    endpoints = json.loads(run("get", "endpoints", "web", "-n", namespace, "-o", "json"))["items"]
    assert {item["target"] for item in endpoints if item["inUse"]} >= set(cluster.pods_of(namespace, "web"))
    told = run("trace", client, f"{address}:80", "-n", namespace)
    assert f"{namespace}/web, its ClusterIP and port" in told
    assert "The switch's own trace agrees" in told
    assert run("trace", client, "web:80", "-n", namespace) == told
