"""The time from a Pod's readiness to the switches of all Nodes, as kube-proxy's metric tells it."""

from __future__ import annotations

import time
import urllib.request

from lab_cluster import PATIENCE, Cluster, pod_object
from lab_stage import Stage, await_followed, await_service

NAME = "kubeproxy_network_programming_duration_seconds"


def _metrics() -> str:
    with urllib.request.urlopen("http://127.0.0.1:10350/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _measured(cluster: Cluster, node: str) -> tuple[int, float]:
    """How many changes a Node's agent has measured, and the seconds that they took together."""
    found = dict(line.rsplit(" ", 1) for line in cluster.node(node).run(_metrics).splitlines() if line.startswith(NAME))
    return int(float(found[f"{NAME}_count"])), float(found[f"{NAME}_sum"])


def test_a_pod_that_becomes_ready_is_measured_on_every_node(cluster: Cluster, stage: Stage) -> None:
    """By what its Ready condition tells, in whole seconds: that it is not yet, that it is; once for both families."""
    stage.service("measured", app="late", endpoints=0)
    time.sleep(1.1)  # a moment later than the Service's creation
    before = {node: _measured(cluster, node) for node in stage.nodes}
    cluster.apply(pod_object(stage.namespace, "late", node=stage.nodes[0], labels={"app": "late"}))
    await_service(cluster, stage.namespace, "measured", endpoints=1)
    await_followed(cluster, *stage.nodes)
    for node, (number, seconds) in before.items():
        now, total = _measured(cluster, node)
        assert number + 1 <= now <= number + 2, node
        assert 0 <= total - seconds < 2 * (1 + 2 * PATIENCE), node
    stage.remove("measured")
    cluster.kubectl("delete", "pod", "-n", stage.namespace, "late", "--wait=false")
