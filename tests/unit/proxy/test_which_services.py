"""Which Services are served, by what they say themselves and by what antrea-agent.conf says."""

from __future__ import annotations

import msgspec
import pytest

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.labels import HEADLESS_LABEL, PROXY_NAME_LABEL
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.proxy.load_balancers import desired_load_balancers
from antrea_proxy.proxy.selection import ServiceSelection
from antrea_proxy.settings import parse

SKIPPED = "antreaProxy: {skipServices: [kube-system/kube-dns, 10.96.0.7, 'FD00:96::7']}"
OURS = "antreaProxy: {serviceProxyName: antrea}"


def service(
    *addresses: str, name: str = "shop/web", labels: dict[str, str] | None = None, created: int = 1, **spec: object
) -> Service:
    namespace, _, own_name = name.partition("/")
    metadata = {
        "name": own_name,
        "namespace": namespace,
        "labels": labels or {},
        "creationTimestamp": f"2026-01-0{created}T00:00:00Z",
    }
    ports = [{"port": 80, "protocol": "TCP"}]
    single = addresses[0] if addresses else ""
    body = {"type": "ClusterIP", "clusterIP": single, "clusterIPs": addresses, "ports": ports}
    return msgspec.convert({"metadata": metadata, "spec": body | spec}, Service)


@pytest.mark.parametrize(
    ("conf", "subject", "why"),
    [
        ("", service("10.96.0.1"), None),
        ("", service("10.96.0.1", labels={"app": "web"}), None),
        ("", service("10.96.0.1", type="ExternalName"), "type is ExternalName"),
        ("", service(), "it has no ClusterIP yet"),
        ("", service("None"), "it is headless (clusterIP None)"),
        ("", service("10.96.0.1", labels={HEADLESS_LABEL: ""}), f"label {HEADLESS_LABEL}"),
        (
            "",
            service("10.96.0.1", labels={PROXY_NAME_LABEL: "x"}),
            f"label {PROXY_NAME_LABEL}: 'x' names another proxy",
        ),
        (OURS, service("10.96.0.1", labels={PROXY_NAME_LABEL: "antrea"}), None),
        (
            OURS,
            service("10.96.0.1", labels={PROXY_NAME_LABEL: "x"}),
            f"label {PROXY_NAME_LABEL}: 'x' names another proxy",
        ),
        (OURS, service("10.96.0.1"), f"no label {PROXY_NAME_LABEL}, and serviceProxyName is 'antrea'"),
        (
            OURS,
            service("10.96.0.1", labels={PROXY_NAME_LABEL: "antrea", HEADLESS_LABEL: ""}),
            f"label {HEADLESS_LABEL}",
        ),
        (SKIPPED, service("10.96.0.1"), None),
        (SKIPPED, service("10.96.0.1", name="shop/kube-dns"), None),
        (SKIPPED, service("10.96.0.1", name="kube-system/kube-dns"), "skipServices names kube-system/kube-dns"),
        (SKIPPED, service("10.96.0.7"), "skipServices names its ClusterIP 10.96.0.7"),
        (SKIPPED, service("10.96.0.1", "fd00:96:0::7"), "skipServices names its ClusterIP fd00:96:0::7"),
        (SKIPPED, service("no address"), None),
        ("antreaProxy: {enable: false}", service("10.96.0.1"), "the proxy is off (antreaProxy.enable: false)"),
        (
            "featureGates: {AntreaProxy: false}",
            service("10.96.0.1"),
            "the proxy is off (featureGates.AntreaProxy: false)",
        ),
    ],
)
def test_a_service_is_served_or_told_why_not(conf: str, subject: Service, why: str | None) -> None:
    assert ServiceSelection.of(parse(conf)).why_left_alone(subject) == why


def test_a_service_that_is_left_alone_keeps_its_address_from_nobody() -> None:
    """Only a Service that is served has a claim to its address."""
    skipped, served = service("10.96.0.7", name="shop/old"), service("10.96.0.7", name="shop/new", created=2)
    cluster = ClusterState()
    cluster.list_services([skipped, served])
    selection = ServiceSelection(skip_names=frozenset({("shop", "old")}))
    table = desired_load_balancers(cluster, cluster.services, node_name="node-1", rules=Rules(selection=selection))
    assert [str(item.name.port.service) for item in table] == ["shop/new"]
    assert not table.services[served.metadata.namespaced_name].problems
