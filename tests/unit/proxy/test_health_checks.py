"""What a Service's healthCheckNodePort answers, and when this Node and its proxy are fit for new connections."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointSlice, Node, Service
from antrea_proxy.proxy.health_checks import HealthCheck, health_check, is_eligible, is_healthy
from antrea_proxy.proxy.selection import ServiceSelection
from worlds import endpoint_slice, service

WEB = NamespacedName("default", "web")
LOCAL: dict[str, Any] = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}


def answer(spec: dict[str, Any], *slices: Any, selection: ServiceSelection | None = None) -> HealthCheck | None:  # noqa: ANN401 - JSON
    """What node-1 answers for the Service web."""
    cluster = ClusterState()
    cluster.put_service(msgspec.convert(service("web", "10.96.0.1", **spec), Service))
    cluster.put_slices(msgspec.convert(list(slices), list[EndpointSlice]))
    return health_check(cluster, WEB, node_name="node-1", selection=selection or ServiceSelection())


def test_ready_endpoints_on_this_node_count_and_no_others() -> None:
    found = answer(
        LOCAL,
        endpoint_slice(
            "web",
            ("10.10.1.1", "a", "node-1"),
            ("10.10.1.2", "b", "node-1"),
            ("10.10.1.3", "c", "node-1", {"ready": False, "serving": True, "terminating": True}),
            ("10.10.2.1", "d", "node-2"),
        ),
    )
    assert found == HealthCheck(service=WEB, port=32000, local_endpoints=2)


def test_an_endpoint_of_both_families_or_of_two_slices_counts_once() -> None:
    again = endpoint_slice("web", ("10.10.1.1", "a", "node-1"))
    again["metadata"]["name"] = "web-again"
    found = answer(
        LOCAL,
        endpoint_slice("web", ("10.10.1.1", "a", "node-1")),
        endpoint_slice("web", ("fd00::1", "a", "node-1"), family="IPv6"),
        again,
    )
    assert found is not None
    assert found.local_endpoints == 1


def test_without_endpoints_here_it_answers_none() -> None:
    for slices in ((), (endpoint_slice("web", ("10.10.2.1", "d", "node-2")),)):
        found = answer(LOCAL, *slices)
        assert found is not None
        assert found.local_endpoints == 0


@pytest.mark.parametrize(
    "change",
    [{"type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}, {"healthCheckNodePort": 0}],
    ids=str,
)
def test_only_load_balancers_with_the_policy_local_have_one(change: dict[str, Any]) -> None:
    assert answer(LOCAL | change) is None


def test_a_service_that_is_left_alone_has_none() -> None:
    selection = ServiceSelection(skip_names=frozenset({("default", "web")}))
    assert answer(LOCAL, selection=selection) is None


@pytest.mark.parametrize(
    ("metadata", "spec", "eligible"),
    [
        ({}, {}, True),
        ({}, {"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}, True),
        ({}, {"taints": [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, False),
    ],
    ids=str,
)
def test_a_node_that_is_about_to_go_is_not_eligible(
    metadata: dict[str, Any],
    spec: dict[str, Any],
    eligible: bool,  # noqa: FBT001 - a case
) -> None:
    node = msgspec.convert({"metadata": {"name": "node-1", **metadata}, "spec": spec}, Node)
    assert is_eligible(node) is eligible


def test_a_node_that_nobody_has_told_of_is_eligible() -> None:
    assert is_eligible(None)


def test_the_proxy_is_healthy_until_an_update_has_been_pending_for_over_a_minute() -> None:
    assert is_healthy(None, 1000.0)
    assert is_healthy(1000.0, 1060.0)
    assert not is_healthy(1000.0, 1060.1)
