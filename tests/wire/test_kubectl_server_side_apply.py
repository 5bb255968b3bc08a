"""`kubectl apply --server-side` against the lab's API server over TLS: what people type, and what they read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.lab.api_server import resources as kinds
from kubectl_cluster import KubectlCluster, kubectl_cluster

_SERVER_SIDE = ("apply", "--server-side", "-f", "-")
_DNS = "\n  - {name: dns, port: 53, protocol: UDP}"
_MANIFEST = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, labels: {{app: web}}}}
spec:
  clusterIP: 10.96.0.9
  selector: {{app: web}}
  ports:
  - {{name: http, port: 80, targetPort: 8080}}{_DNS}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: "web:1", ports: [{{containerPort: 8080}}]}}]}}
"""
_APPLIED = "service/web serverside-applied\ndeployment.apps/web serverside-applied\n"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubectlCluster]:
    """Give a fresh cluster."""
    with kubectl_cluster(tmp_path) as found:
        yield found


def _ports(cluster: KubectlCluster) -> dict[str, Any]:
    spec = cluster.do(lambda store: store.get(kinds.SERVICES, "default", "web"))["spec"]
    return {port["name"]: port["targetPort"] for port in spec["ports"]}


def test_what_is_applied_is_made_changed_left_alone_and_taken_away(cluster: KubectlCluster) -> None:
    """The same again is no change at all; a port that is not applied any more goes, and nothing else."""
    assert cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST) == _APPLIED
    version = cluster.do(lambda store: store.resource_version)
    assert cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST) == _APPLIED
    assert cluster.do(lambda store: store.resource_version) == version
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST.replace("8080}", "9090}"))
    assert _ports(cluster) == {"http": 9090, "dns": 53}
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST.replace(_DNS, ""))
    assert _ports(cluster) == {"http": 8080}
    tried = cluster.kubectl(*_SERVER_SIDE, "--dry-run=server", manifest=_MANIFEST)
    assert tried == _APPLIED.replace("applied", "applied (server dry run)")
    assert _ports(cluster) == {"http": 8080}


def test_owners_are_shown_where_they_are_asked_for(cluster: KubectlCluster) -> None:
    """The stock kubectl leaves them out else."""
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST)
    cluster.kubectl("label", "service", "web", "tier=front")
    assert "managedFields" not in cluster.kubectl("get", "service", "web", "-o", "yaml")
    found = json.loads(cluster.kubectl("get", "service", "web", "-o", "json", "--show-managed-fields"))
    owners = {(entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in found["metadata"]["managedFields"]}
    assert owners["kubectl-label", "Update"] == {"f:metadata": {"f:labels": {"f:tier": {}}}}
    assert owners["kubectl", "Apply"]["f:metadata"] == {"f:labels": {"f:app": {}}}
    assert set(owners["kubectl", "Apply"]["f:spec"]["f:ports"]) == {
        'k:{"port":53,"protocol":"UDP"}',
        'k:{"port":80,"protocol":"TCP"}',
    }


def test_a_conflict_is_told_with_manager_and_field_and_force_takes_the_field(cluster: KubectlCluster) -> None:
    """Exit code 1 and nothing changed; by force, the other manager loses that field and keeps the rest."""
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST)
    cluster.kubectl("scale", "deployment", "web", "--replicas=5")
    other = ("--field-manager=other", *_SERVER_SIDE[1:])
    changed = _MANIFEST.replace("8080}\n", "9090}\n").replace("  replicas: 3\n", "")
    done = cluster.try_kubectl("apply", *other, manifest=changed)
    assert done.returncode == 1
    conflict = 'Apply failed with 1 conflict: conflict with "kubectl": .spec.ports[port=80,protocol="TCP"].targetPort'
    assert conflict in done.stderr
    assert "--force-conflicts" in done.stderr
    assert _ports(cluster)["http"] == 8080
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1 at ' in cluster.refused(
        *_SERVER_SIDE, manifest=_MANIFEST
    )
    cluster.kubectl("apply", "--force-conflicts", *other, manifest=changed)
    assert _ports(cluster)["http"] == 9090
    assert cluster.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "5"
    assert 'conflict with "other": .spec.ports' in cluster.refused(*_SERVER_SIDE, manifest=_MANIFEST)


def test_what_two_apply_goes_with_the_last_of_them(cluster: KubectlCluster) -> None:
    """The UDP port is both managers'; the TCP port's name one's alone."""
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST)
    dns_alone = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  ports:" + _DNS
    cluster.kubectl(*_SERVER_SIDE, "--field-manager=other", manifest=dns_alone)
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST.replace(_DNS, ""))
    assert set(_ports(cluster)) == {"http", "dns"}
    without = "apiVersion: v1\nkind: Service\nmetadata: {name: web, labels: {by: other}}\n"
    cluster.kubectl(*_SERVER_SIDE, "--field-manager=other", manifest=without)
    assert set(_ports(cluster)) == {"http"}


def test_who_has_applied_as_a_client_goes_on_server_side_and_back(cluster: KubectlCluster) -> None:
    """The stock kubectl hands its own fields over, and keeps the annotation by which a client applies."""
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)
    cluster.kubectl(*_SERVER_SIDE, manifest=_MANIFEST.replace("replicas: 3", "replicas: 4").replace(_DNS, ""))
    assert cluster.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "4"
    assert set(_ports(cluster)) == {"http"}
    back = _MANIFEST.replace("labels: {app: web}}\nspec:\n  clusterIP", "labels: {}}\nspec:\n  clusterIP")
    cluster.kubectl("apply", "-f", "-", manifest=back)
    assert set(_ports(cluster)) == {"http", "dns"}
    found = cluster.do(lambda store: store.get(kinds.SERVICES, "default", "web"))
    assert "app" not in found["metadata"].get("labels", {})


def test_what_cannot_be_applied_is_refused_with_the_field(cluster: KubectlCluster) -> None:
    """A field that there is not, and an item twice."""
    wrong = cluster.refused(*_SERVER_SIDE, manifest=_MANIFEST.replace("targetPort:", "targetPrt:"))
    assert ".spec.ports[0].targetPrt: field not declared in schema" in wrong
    twice = cluster.refused(*_SERVER_SIDE, manifest=_MANIFEST.replace("port: 53, protocol: UDP", "port: 80"))
    assert '.spec.ports: duplicate entries for key [port=80,protocol="TCP"]' in twice
    assert "deployment.apps/web" in cluster.kubectl("get", "deployments", "-o", "name")
    assert cluster.kubectl("get", "services", "-o", "name") == ""
