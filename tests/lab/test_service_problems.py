"""What is wrong with a Service is said where its owner looks, and the rest of it works."""

from __future__ import annotations

import time
import urllib.request
from collections import Counter

from lab_cluster import PATIENCE, PROGRAM, Cluster, JsonObject, wait_until
from lab_stage import Stage, ask_service
from lab_traffic import many

ANNOTATION = "service.antrea.io/load-balancer-mode"
SENTENCE = f"metadata.annotations[{ANNOTATION}]: 'ipvs': must be nat or dsr; nat applies"


def _events(cluster: Cluster, namespace: str, name: str) -> Counter[tuple[str, str, str]]:
    """Count the Events about a Service by type, reason and Node."""
    selector = f"involvedObject.kind=Service,involvedObject.name={name}"
    found: list[JsonObject] = cluster.get("events", "-n", namespace, "--field-selector", selector)["items"]
    return Counter((item["type"], item["reason"], item["source"]["host"]) for item in found)


def _one_of_each_node(cluster: Cluster, kind: str, reason: str) -> Counter[tuple[str, str, str]]:
    return Counter((kind, reason, node) for node in cluster.node_names)


def test_an_invalid_annotation_is_told_by_kubectl_by_get_by_the_log_and_by_a_metric(
    cluster: Cluster, stage: Stage
) -> None:
    (address, *_) = stage.service("chooses", endpoints=3)
    namespace, one = stage.namespace, cluster.node("node-1")
    cluster.kubectl("annotate", "service", "-n", namespace, "chooses", f"{ANNOTATION}=ipvs")
    wrong = _one_of_each_node(cluster, "Warning", "InvalidLoadBalancerMode")
    wait_until(lambda: _events(cluster, namespace, "chooses") == wrong, "one Event from each Node")

    described = cluster.kubectl("describe", "service", "-n", namespace, "chooses")
    for node in cluster.node_names:
        assert f"on {node}: {SENTENCE}" in described.partition("Events:")[2]
    assert "antrea-proxy" in described.partition("Events:")[2]
    shown = one.command(
        PROGRAM, "get", "service", "chooses", "-n", namespace, "--node", "node-1", "--lab", cluster.name
    )
    assert "balanced,problems" in shown.stdout
    assert SENTENCE in shown.stdout
    assert SENTENCE in cluster.places.node("node-1").agent_log.read_text()
    assert 'antrea_proxy_service_problems{reason="InvalidLoadBalancerMode"} 1.0' in one.run(_metrics)
    assert set(many(stage.clients["node-1"], "tcp", (address, 80), count=60).answers) == set(stage.servers)

    for turn in range(3):
        cluster.kubectl("label", "service", "-n", namespace, "chooses", f"turn={turn}", "--overwrite")
    time.sleep(2 * PATIENCE)
    assert _events(cluster, namespace, "chooses") == wrong, "it is not said again"

    cluster.kubectl("annotate", "service", "-n", namespace, "chooses", f"{ANNOTATION}-")
    solved = wrong + _one_of_each_node(cluster, "Normal", "ProblemSolved")
    wait_until(lambda: _events(cluster, namespace, "chooses") == solved, "the end is told, too")
    seen = ask_service(cluster, "node-1", namespace, "chooses")
    assert seen is not None
    assert not seen["problems"]
    cluster.kubectl("delete", "service", "-n", namespace, "chooses")


def test_direct_server_return_without_its_gate_is_told_and_the_service_is_served(
    cluster: Cluster, stage: Stage
) -> None:
    (address, *_) = stage.service("direct", endpoints=3)
    namespace, one = stage.namespace, cluster.node("node-1")
    cluster.kubectl("annotate", "service", "-n", namespace, "direct", f"{ANNOTATION}=dsr")
    wrong = _one_of_each_node(cluster, "Warning", "InvalidLoadBalancerMode")
    wait_until(lambda: _events(cluster, namespace, "direct") == wrong, "one Event from each Node")
    shown = one.command(PROGRAM, "get", "service", "direct", "-n", namespace, "--node", "node-1", "--lab", cluster.name)
    assert "'dsr': the feature gate LoadBalancerModeDSR is off; nat applies" in shown.stdout
    assert set(many(stage.clients["node-1"], "tcp", (address, 80), count=60).answers) == set(stage.servers)
    stage.remove("direct")


def _metrics() -> str:
    with urllib.request.urlopen("http://127.0.0.1:10350/metrics", timeout=10) as answer:
        return str(answer.read().decode())
