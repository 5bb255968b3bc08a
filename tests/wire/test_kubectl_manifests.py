"""The plain manifest against an API server, by the stock kubectl: every field is one of its kind's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antrea_proxy.lab.api_server import resources as kinds
from kubectl_cluster import KubectlCluster, kubectl_cluster, rows

PLAIN = Path(__file__).resolve().parents[2] / "deploy" / "antrea-proxy.yaml"
OBJECTS = (
    "configmap/antrea-config",
    "daemonset.apps/antrea-proxy",
    "serviceaccount/antrea-proxy",
    "clusterrole.rbac.authorization.k8s.io/antrea-proxy",
    "clusterrolebinding.rbac.authorization.k8s.io/antrea-proxy",
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubectlCluster]:
    """Give a fresh cluster."""
    with kubectl_cluster(tmp_path) as found:
        yield found


def test_the_manifest_is_tried_applied_and_applied_again(cluster: KubectlCluster) -> None:
    """A dry run leaves nothing; the second application changes nothing."""
    tried = cluster.kubectl("apply", "--dry-run=server", "-f", str(PLAIN))
    assert tried.splitlines() == [f"{name} created (server dry run)" for name in OBJECTS]
    assert cluster.kubectl("apply", "-f", str(PLAIN)).splitlines() == [f"{name} created" for name in OBJECTS]
    assert cluster.kubectl("apply", "-f", str(PLAIN)).splitlines() == [f"{name} unchanged" for name in OBJECTS]
    (listed,) = rows(cluster.kubectl("get", "daemonsets", "-n", "kube-system"))
    assert (listed["NAME"], listed["NODE SELECTOR"]) == ("antrea-proxy", "kubernetes.io/os=linux")
    (bound,) = rows(cluster.kubectl("get", "clusterrolebindings", "-o", "wide"))
    assert (bound["ROLE"], bound["SERVICEACCOUNTS"]) == ("ClusterRole/antrea-proxy", "kube-system/antrea-proxy")
    kept = cluster.do(lambda store: store.get(kinds.DAEMON_SETS, "kube-system", "antrea-proxy"))
    assert kept["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("hostNetwork:", "hostNetworks:", 'unknown field "spec.template.spec.hostNetworks"'),
        ("maxUnavailable: 1", "maxUnavailable: 0", "cannot be 0 when maxSurge is 0"),
        ("verbs: [create]", "verbs: []", "verbs must contain at least one value"),
        ("kind: ServiceAccount\n    name", "kind: Robot\n    name", "Unsupported value"),
        ("      labels:\n        app.kubernetes.io/name: antrea-proxy", "      labels: {}", "does not match template"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(cluster: KubectlCluster, right: str, wrong: str, complaint: str) -> None:
    """With the API's own words."""
    text = PLAIN.read_text()
    assert right in text
    assert complaint in cluster.refused("apply", "-f", "-", manifest=text.replace(right, wrong))


def test_a_binding_keeps_its_role(cluster: KubectlCluster) -> None:
    """Else whoever may change a binding could give itself any role."""
    cluster.kubectl("apply", "-f", str(PLAIN))
    patch = '{"roleRef": {"name": "cluster-admin"}}'
    refusal = cluster.refused("patch", "clusterrolebinding", "antrea-proxy", "--type=merge", "-p", patch)
    assert "cannot change roleRef" in refusal
