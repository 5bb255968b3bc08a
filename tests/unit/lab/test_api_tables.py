"""What `kubectl get` prints, which the server computes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.tables import table
from antrea_proxy.lab.api_server.tables.durations import human_duration
from api_samples import START, deployment, endpoint_slice, pod, service

_NOW = START + timedelta(minutes=5)
_CREATED = "2026-01-02T03:04:05Z"


def _cells(kind: kinds.Resource, obj: dict[str, Any]) -> dict[str, object]:
    obj["metadata"].setdefault("creationTimestamp", _CREATED)
    found = table(kind, [obj], now=_NOW, metadata={})
    names = [column["name"] for column in found["columnDefinitions"]]
    return dict(zip(names, found["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (2 * 365 * 86400 - 1, "729d"),
        (2 * 365 * 86400 + 86400, "2y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages_are_printed_as_kubectl_prints_them(seconds: int, text: str) -> None:
    """Two or three figures, in the units of HumanDuration."""
    assert human_duration(seconds) == text


def test_a_service_shows_type_addresses_and_ports() -> None:
    """Node ports, protocols, external addresses and the selector."""
    given = service(
        type="LoadBalancer",
        clusterIP="10.96.0.9",
        externalIPs=["192.0.2.9"],
        ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
    )
    given["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert _cells(kinds.SERVICES, given) == {
        "Name": "web",
        "Type": "LoadBalancer",
        "Cluster-IP": "10.96.0.9",
        "External-IP": "192.0.2.1,192.0.2.9",
        "Port(s)": "80:30080/TCP,53/UDP",
        "Age": "5m",
        "Selector": "app=web",
    }


@pytest.mark.parametrize(
    ("spec", "external"),
    [
        ({"type": "ClusterIP"}, "<none>"),
        ({"type": "LoadBalancer"}, "<pending>"),
        ({"type": "ExternalName", "externalName": "example.com"}, "example.com"),
        ({"type": "NodePort", "externalIPs": ["192.0.2.1", "192.0.2.2"]}, "192.0.2.1,192.0.2.2"),
    ],
)
def test_the_external_address_of_a_service_depends_on_its_type(spec: dict[str, Any], external: str) -> None:
    """None, pending, a name, or addresses."""
    assert _cells(kinds.SERVICES, service(**spec))["External-IP"] == external


def _running_pod() -> dict[str, Any]:
    found = pod()
    found["status"] = {
        "phase": "Running",
        "podIPs": [{"ip": "10.10.1.2"}],
        "containerStatuses": [{"ready": True, "restartCount": 0, "state": {"running": {}}}],
    }
    return found


def test_a_running_pod_shows_readiness_address_and_node() -> None:
    """The usual line, with its wide columns."""
    cells = _cells(kinds.PODS, _running_pod())
    assert (cells["Ready"], cells["Status"], cells["Restarts"]) == ("1/1", "Running", "0")
    assert (cells["IP"], cells["Node"], cells["Readiness Gates"]) == ("10.10.1.2", "node-1", "<none>")


def test_a_pod_that_is_going_is_terminating() -> None:
    """A deletionTimestamp shows in the status."""
    given = _running_pod()
    given["metadata"]["deletionTimestamp"] = _CREATED
    assert _cells(kinds.PODS, given)["Status"] == "Terminating"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "CrashLoopBackOff"),
        ({"terminated": {"reason": "Error", "exitCode": 1}}, "Error"),
        ({"terminated": {"exitCode": 3}}, "ExitCode:3"),
        ({"terminated": {"signal": 9}}, "Signal:9"),
    ],
)
def test_a_container_that_does_not_run_gives_the_pod_its_status(state: dict[str, Any], status: str) -> None:
    """The reason is shown in place of the phase."""
    given = _running_pod()
    given["status"]["containerStatuses"] = [{"ready": False, "restartCount": 2, "state": state}]
    cells = _cells(kinds.PODS, given)
    assert (cells["Status"], cells["Ready"], cells["Restarts"]) == (status, "0/1", "2")


def test_restarts_say_when_the_last_one_was() -> None:
    """As kubectl shows them since 1.22."""
    given = _running_pod()
    given["status"]["containerStatuses"][0].update(
        restartCount=3, lastState={"terminated": {"finishedAt": "2026-01-02T03:08:05Z"}}
    )
    assert _cells(kinds.PODS, given)["Restarts"] == "3 (60s ago)"


def test_a_deployment_shows_how_many_of_its_pods_are_ready() -> None:
    """Ready, up to date, available."""
    given = deployment()
    given["status"] = {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}
    cells = _cells(kinds.DEPLOYMENTS, given)
    assert (cells["Ready"], cells["Up-to-date"], cells["Available"]) == ("2/3", 3, 1)
    assert (cells["Containers"], cells["Images"], cells["Selector"]) == ("web", "web:1", "app=web")


def test_a_slice_shows_its_first_endpoints_and_how_many_more_there_are() -> None:
    """Three of each."""
    given = endpoint_slice("web-1", *(f"10.0.0.{number}" for number in range(1, 6)))
    cells = _cells(kinds.ENDPOINT_SLICES, given)
    assert cells["Endpoints"] == "10.0.0.1,10.0.0.2,10.0.0.3 + 2 more..."
    assert (cells["AddressType"], cells["Ports"]) == ("IPv4", "8080")
    assert _cells(kinds.ENDPOINT_SLICES, endpoint_slice(ports=[], endpoints=[]))["Endpoints"] == "<unset>"


def test_a_node_shows_condition_roles_and_addresses() -> None:
    """Ready or not, cordoned, and the wide columns."""
    node = {
        "metadata": {"name": "node-1", "labels": {"node-role.kubernetes.io/worker": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "192.168.77.1"}],
            "nodeInfo": {"kubeletVersion": "v1.32.0", "osImage": "Debian"},
        },
    }
    cells = _cells(kinds.NODES, node)
    assert (cells["Status"], cells["Roles"], cells["Version"]) == ("Ready,SchedulingDisabled", "worker", "v1.32.0")
    assert (cells["Internal-IP"], cells["External-IP"], cells["OS-Image"]) == ("192.168.77.1", "<none>", "Debian")


def test_an_event_shows_what_happened_to_which_object_and_how_often() -> None:
    """Repeated events say so."""
    event = {
        "metadata": {"name": "web.1", "namespace": "default"},
        "involvedObject": {"kind": "Service", "name": "web"},
        "type": "Warning",
        "reason": "Empty",
        "message": "no endpoint\n",
        "count": 4,
        "firstTimestamp": _CREATED,
        "lastTimestamp": "2026-01-02T03:08:45Z",
    }
    cells = _cells(kinds.EVENTS, event)
    assert cells["Last Seen"] == "20s (x4 over 5m)"
    assert (cells["Type"], cells["Object"], cells["Message"]) == ("Warning", "service/web", "no endpoint")


def test_every_kind_has_a_table() -> None:
    """`kubectl get` works for whatever is served."""
    for kind in kinds.RESOURCES:
        obj = {"metadata": {"name": "x"}, "spec": {}, "status": {}}
        assert "x" in _cells(kind, obj).values()
