"""The stock kubectl against the lab's API server over TLS: what people type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from antrea_proxy.lab.api_server import Store
from antrea_proxy.lab.api_server import resources as kinds
from kubectl_cluster import KubectlCluster, kubectl_cluster, rows

_MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  clusterIP: 10.96.0.9
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: dns, port: 53, protocol: UDP}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1", ports: [{containerPort: 8080}]}]}
"""
_POD_AND_NODE = """
apiVersion: v1
kind: Node
metadata: {name: node-1, labels: {node-role.kubernetes.io/worker: ""}}
spec: {podCIDR: 10.10.1.0/24}
status:
  addresses: [{type: InternalIP, address: 192.168.77.1}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: node-1, containers: [{name: web, image: "web:1"}]}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KubectlCluster]:
    """Give a fresh cluster."""
    with kubectl_cluster(tmp_path) as found:
        yield found


def test_apply_creates_changes_and_leaves_alone_what_is_as_it_should_be(cluster: KubectlCluster) -> None:
    """created, configured, unchanged; what is taken out of the manifest is taken out of the object."""
    assert cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST) == (
        "service/web created\ndeployment.apps/web created\n"
    )
    changed = _MANIFEST.replace("8080}\n  - {name: dns, port: 53, protocol: UDP}", "9090}").replace(
        "replicas: 3", "replicas: 5"
    )
    assert cluster.kubectl("apply", "-f", "-", manifest=changed) == (
        "service/web configured\ndeployment.apps/web configured\n"
    )
    assert cluster.kubectl("apply", "-f", "-", manifest=changed) == (
        "service/web unchanged\ndeployment.apps/web unchanged\n"
    )
    spec = cluster.do(lambda store: store.get(kinds.SERVICES, "default", "web"))["spec"]
    assert spec["ports"] == [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 9090}]
    assert spec["clusterIP"] == "10.96.0.9"
    assert cluster.do(lambda store: store.get(kinds.DEPLOYMENTS, "default", "web"))["spec"]["replicas"] == 5


def test_get_prints_the_tables_of_a_cluster(cluster: KubectlCluster) -> None:
    """The columns people know, narrow and wide, and the object itself as JSON, YAML and by path."""
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)
    cluster.kubectl("create", "-f", "-", manifest=_POD_AND_NODE)
    (found,) = rows(cluster.kubectl("get", "svc", "-o", "wide"))
    assert found.pop("AGE").endswith("s")
    assert found == {
        "NAME": "web",
        "TYPE": "ClusterIP",
        "CLUSTER-IP": "10.96.0.9",
        "EXTERNAL-IP": "<none>",
        "PORT(S)": "80/TCP,53/UDP",
        "SELECTOR": "app=web",
    }
    everything = cluster.kubectl("get", "pods,deploy,rs,nodes,endpointslices,configmaps,ns", "-o", "wide")
    for part in ("pod/web-1   0/1     Pending", "deployment.apps/web   0/3", "node/node-1   Ready    worker"):
        assert part in everything
    assert "192.168.77.1" in everything
    assert json.loads(cluster.kubectl("get", "svc", "-A", "-o", "json"))["items"][0]["metadata"]["name"] == "web"
    assert "clusterIP: 10.96.0.9" in cluster.kubectl("get", "svc", "web", "-o", "yaml")
    path = "{.items[*].spec.ports[1].targetPort}"
    assert cluster.kubectl("get", "svc", "-l", "app=web", "-o", f"jsonpath={path}") == "53"
    assert rows(cluster.kubectl("get", "pods", "--field-selector", "spec.nodeName=node-1"))[0]["NAME"] == "web-1"


def test_describe_tells_of_services_pods_and_nodes_with_their_events(cluster: KubectlCluster) -> None:
    """What belongs to an object is found: endpoints, events, Pods of a Node."""
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)
    cluster.kubectl("create", "-f", "-", manifest=_POD_AND_NODE)

    def report(store: Store) -> None:
        uid = store.get(kinds.SERVICES, "default", "web")["metadata"]["uid"]
        involved = {"kind": "Service", "name": "web", "namespace": "default", "uid": uid}
        event = {"type": "Warning", "reason": "NoEndpoint", "message": "nobody serves", "involvedObject": involved}
        store.create(kinds.EVENTS, {"metadata": {"name": "web.1", "namespace": "default"}, **event})
        slice_ = {
            "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["10.10.1.2"], "conditions": {"ready": True}}],
        }
        store.create(kinds.ENDPOINT_SLICES, slice_)

    cluster.do(report)
    described = cluster.kubectl("describe", "svc", "web")
    assert "Endpoints:                10.10.1.2:8080" in described
    assert "nobody serves" in described
    assert "Node:             node-1" in cluster.kubectl("describe", "pod", "web-1")
    node = cluster.kubectl("describe", "node", "node-1")
    assert "10.10.1.0/24" in node
    assert "web-1" in node
    (event,) = rows(cluster.kubectl("get", "events"))
    assert (event["TYPE"], event["REASON"], event["OBJECT"]) == ("Warning", "NoEndpoint", "service/web")


def test_create_makes_the_kinds_of_its_verbs(cluster: KubectlCluster) -> None:
    """Namespace, Deployment, Service, ConfigMap, Secret and ServiceAccount, without a manifest."""
    cluster.kubectl("create", "namespace", "apart")
    cluster.kubectl("create", "deployment", "web", "--image=web:1", "--replicas=2", "--port=8080", "-n", "apart")
    cluster.kubectl("create", "service", "clusterip", "web", "--tcp=80:8080", "-n", "apart")
    cluster.kubectl("create", "configmap", "settings", "--from-literal=mode=encap", "-n", "apart")
    cluster.kubectl("create", "secret", "generic", "key", "--from-literal=a=b", "-n", "apart")
    cluster.kubectl("create", "serviceaccount", "robot", "-n", "apart")
    cluster.kubectl("run", "once", "--image=web:1", "-n", "apart")
    cluster.kubectl("expose", "deployment", "web", "--name=again", "--port=81", "-n", "apart")
    printed = cluster.kubectl("get", "deploy,svc,cm,secret,sa,pod", "-n", "apart", "-o", "name").split()
    assert printed == [
        "deployment.apps/web",
        "service/again",
        "service/web",
        "configmap/settings",
        "secret/key",
        "serviceaccount/robot",
        "pod/once",
    ]
    spec = cluster.do(lambda store: store.get(kinds.DEPLOYMENTS, "apart", "web"))["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]) == (2, 8080)
    cluster.kubectl("delete", "namespace", "apart")
    assert cluster.do(lambda store: store.list(kinds.SERVICES)[0]) == []


def test_scale_label_annotate_patch_and_edit_change_an_object(cluster: KubectlCluster) -> None:
    """Every way that kubectl has to change something."""
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)
    cluster.kubectl("scale", "deployment", "web", "--replicas=7")
    cluster.kubectl("label", "svc", "web", "tier=front")
    cluster.kubectl("annotate", "svc", "web", "service.antrea.io/load-balancer-mode=dsr")
    cluster.kubectl("patch", "svc", "web", "-p", '{"spec":{"ports":[{"port":80,"targetPort":8081}]}}')
    cluster.kubectl("patch", "svc", "web", "--type=merge", "-p", '{"spec":{"sessionAffinity":"ClientIP"}}')
    path = "/spec/sessionAffinityConfig/clientIP/timeoutSeconds"
    operations = json.dumps([{"op": "replace", "path": path, "value": 60}])
    cluster.kubectl("patch", "svc", "web", "--type=json", "-p", operations)
    cluster.kubectl("edit", "svc", "web", EDITOR="sed -i s/8081/8082/")
    cluster.kubectl("set", "image", "deployment/web", "web=web:2")
    found = cluster.do(lambda store: store.get(kinds.SERVICES, "default", "web"))
    assert found["metadata"]["labels"] == {"app": "web", "tier": "front"}
    assert found["metadata"]["annotations"]["service.antrea.io/load-balancer-mode"] == "dsr"
    assert [port["targetPort"] for port in found["spec"]["ports"]] == [8082, 53]
    assert found["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 60}}
    deployment = cluster.do(lambda store: store.get(kinds.DEPLOYMENTS, "default", "web"))
    assert deployment["spec"]["replicas"] == 7
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"


def test_rollout_status_and_wait_return_when_a_controller_reports(cluster: KubectlCluster) -> None:
    """Both commands follow the status of a Deployment to its end."""
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)

    def report(store: Store) -> None:
        condition = {"type": "Available", "status": "True"}
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 3)
        status = {**counts, "observedGeneration": 1, "conditions": [condition]}
        store.modify(kinds.DEPLOYMENTS, "default", "web", lambda obj: obj.update(status=status), subresource="status")

    with (
        cluster.running("rollout", "status", "deployment/web", "--timeout=20s") as rollout,
        cluster.running("wait", "deployment/web", "--for=condition=Available", "--timeout=20s") as waiting,
    ):
        assert rollout.stdout is not None
        assert "Waiting for deployment" in rollout.stdout.readline()
        cluster.do(report)
        assert "successfully rolled out" in rollout.stdout.read()
        assert waiting.communicate(timeout=20)[0] == "deployment.apps/web condition met\n"


def test_get_watch_prints_changes_as_they_happen(cluster: KubectlCluster) -> None:
    """With -w kubectl shows a new line for each change."""
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)
    with cluster.running("get", "svc", "-w") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("NAME")
        assert watching.stdout.readline().split()[:3] == ["web", "ClusterIP", "10.96.0.9"]
        cluster.do(
            lambda store: store.modify(
                kinds.SERVICES, "default", "web", lambda obj: obj["spec"].update(externalIPs=["192.0.2.1"])
            )
        )
        assert watching.stdout.readline().split()[3] == "192.0.2.1"


def test_delete_waits_until_a_pod_is_really_gone(cluster: KubectlCluster) -> None:
    """The command returns when the runner has let the Pod go, and not before."""
    cluster.kubectl("create", "-f", "-", manifest=_POD_AND_NODE)
    cluster.kubectl("apply", "-f", "-", manifest=_MANIFEST)
    with cluster.running("delete", "pod", "web-1") as deleting:
        assert deleting.stdout is not None
        assert deleting.stdout.readline() == 'pod "web-1" deleted\n'
        (found,) = cluster.do(lambda store: store.list(kinds.PODS)[0])
        assert found["metadata"]["deletionGracePeriodSeconds"] == 30
        assert deleting.poll() is None
        cluster.do(lambda store: store.delete(kinds.PODS, "default", "web-1", grace_period_seconds=0))
        assert deleting.wait(20) == 0
    cluster.kubectl("delete", "-f", "-", manifest=_MANIFEST)
    assert cluster.do(lambda store: store.list(kinds.DEPLOYMENTS)[0]) == []


def test_api_resources_and_explain_tell_what_there_is(cluster: KubectlCluster) -> None:
    """Short names, groups and fields."""
    printed = cluster.kubectl("api-resources", "--no-headers")
    found = {line.split()[0]: line.split() for line in printed.splitlines()}
    assert found["services"][1:] == ["svc", "v1", "true", "Service"]
    assert found["deployments"][1:3] == ["deploy", "apps/v1"]
    assert found["endpointslices"][1] == "discovery.k8s.io/v1"
    assert "targetPort" in cluster.kubectl("explain", "service.spec.ports")
