"""Server-side apply on a whole cluster: controllers, agents and two managers of one Service, with real packets."""

from __future__ import annotations

import json

from lab_cluster import Cluster, JsonObject, deployment_object, service_object
from lab_stage import Stage, await_followed, await_service


def _apply(
    cluster: Cluster, *objects: JsonObject, manager: str = "kubectl", force: bool = False, check: bool = True
) -> str:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    options = [f"--field-manager={manager}", *(["--force-conflicts"] if force else [])]
    return cluster.kubectl("apply", "--server-side", *options, "-f", "-", stdin=json.dumps(listed), check=check)


def test_a_service_of_two_managers_is_balanced_as_both_want_it(cluster: Cluster, stage: Stage) -> None:
    """One owns the first port, the other the second; what the lab's controllers write is in nobody's way."""
    namespace, client = stage.namespace, stage.clients[stage.nodes[0]]
    web = deployment_object(namespace, "applied", replicas=2)
    first = service_object(namespace, "applied", port=80)
    _apply(cluster, web, first)
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/applied", "--timeout=60s")
    second = service_object(namespace, "applied", port=90)
    del second["spec"]["selector"]
    first["spec"]["ports"][0]["name"], second["spec"]["ports"][0]["name"] = "first", "second"
    _apply(cluster, web, first)
    _apply(cluster, second, manager="other")
    await_service(cluster, namespace, "applied", endpoints=2)
    address = stage.cluster_ips("applied")[0]
    for port in (80, 90):
        answers = client.connect_many(address, port, count=40)
        assert not answers.failed
        assert set(answers.hostnames) == set(cluster.pods_of(namespace, "applied"))
    version = cluster.get("service", "-n", namespace, "applied")["metadata"]["resourceVersion"]
    _apply(cluster, web, first)
    assert cluster.get("service", "-n", namespace, "applied")["metadata"]["resourceVersion"] == version

    cluster.kubectl("scale", "-n", namespace, "deployment", "applied", "--replicas=3")
    done = _apply(cluster, web, check=False)
    assert "serverside-applied" not in done
    _apply(cluster, web, force=True)
    moved = service_object(namespace, "applied", port=90)
    del moved["spec"]["selector"]
    moved["spec"]["ports"] = []
    _apply(cluster, moved, manager="other")
    await_service(cluster, namespace, "applied", endpoints=2)
    await_followed(cluster, stage.nodes[0])
    assert [port["port"] for port in cluster.get("service", "-n", namespace, "applied")["spec"]["ports"]] == [80]
    assert not client.connect_many(address, 80, count=40).failed
    refused = client.connect_many(address, 90, count=4, timeout=2)
    assert len(refused.failed) == 4
    cluster.kubectl("delete", "-n", namespace, "deployment,service", "applied")
