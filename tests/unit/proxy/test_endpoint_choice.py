"""Single rules of endpoint choice, each with the smallest cluster that shows it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.objects import EndpointSlice, Node, Service
from antrea_proxy.proxy.endpoints import Verdict
from antrea_proxy.proxy.frontends import Protocol, Rules
from antrea_proxy.proxy.load_balancers import LoadBalancer, LoadBalancers, Outcome, desired_load_balancers

READY: dict[str, Any] = {"ready": True}
SERVING = {"ready": False, "serving": True, "terminating": True}
ENDED = {"ready": False, "serving": False, "terminating": True}


def service(name: str = "web", *, created: str = "2026-01-01T00:00:00Z", **spec: object) -> Service:
    base = {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "http", "port": 80}]}
    metadata = {"name": name, "namespace": "default", "creationTimestamp": created}
    return msgspec.convert({"metadata": metadata, "spec": base | spec}, Service)


def endpoint(address: str, node: str, conditions: dict[str, Any]) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


def endpoint_slice(*endpoints: dict[str, Any], name: str = "web-1", **fields: object) -> EndpointSlice:
    base = {
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints,
    }
    return msgspec.convert(base | fields, EndpointSlice)


def decide(*objects: Service | EndpointSlice, unsupported: dict[Protocol, str] | None = None) -> LoadBalancers:
    cluster = ClusterState()
    cluster.list_services([item for item in objects if isinstance(item, Service)])
    cluster.list_slices([item for item in objects if isinstance(item, EndpointSlice)])
    return desired_load_balancers(
        cluster, cluster.services, node_name="node-1", rules=Rules(unsupported=unsupported or {})
    )


def verdicts(load_balancer: LoadBalancer) -> dict[str, Verdict]:
    return {item.address: item.verdict for item in load_balancer.endpoints}


def test_a_terminating_endpoint_on_this_node_serves_a_local_policy_although_another_node_has_a_ready_one() -> None:
    (found,) = decide(
        service(internalTrafficPolicy="Local"),
        endpoint_slice(endpoint("10.10.1.2", "node-1", SERVING), endpoint("10.10.2.2", "node-2", READY)),
    )
    assert verdicts(found) == {"10.10.1.2": Verdict.TERMINATING_BUT_SERVING, "10.10.2.2": Verdict.OTHER_NODE}


@pytest.mark.parametrize(
    ("remote", "outcome"), [(READY, Outcome.DROPPED), (SERVING, Outcome.DROPPED), (ENDED, Outcome.REFUSED)]
)
def test_a_local_policy_without_local_endpoints_drops_while_the_cluster_has_one_and_else_refuses(
    remote: dict[str, Any], outcome: Outcome
) -> None:
    (found,) = decide(service(internalTrafficPolicy="Local"), endpoint_slice(endpoint("10.10.2.2", "node-2", remote)))
    assert found.outcome is outcome


def test_an_endpoint_of_no_known_node_is_not_local_even_where_this_node_has_none() -> None:
    (found,) = decide(service(internalTrafficPolicy="Local"), endpoint_slice({"addresses": ["10.10.2.2"]}))
    assert found.outcome is Outcome.DROPPED


def test_an_endpoint_that_is_the_services_own_address_is_left_out_with_the_reason() -> None:
    """A translation to the address that is there already would bring ovs-vswitchd 3.1 down."""
    (found,) = decide(
        service(),
        endpoint_slice(endpoint("10.96.0.1", "node-1", READY), ports=[{"name": "http", "port": 80}]),
    )
    assert verdicts(found) == {"10.96.0.1": Verdict.OWN_ADDRESS}
    assert found.outcome is Outcome.REFUSED


def test_of_two_services_with_one_cluster_ip_the_older_serves_the_port_and_the_younger_says_so() -> None:
    table = decide(service("old"), service("young", created="2026-02-01T00:00:00Z"))
    assert [item.port.name.service.name for item in table] == ["old"]
    problems = {name.name: ports.problems for name, ports in table.services.items()}
    assert problems["old"] == ()
    assert "10.96.0.1:80/TCP belongs to the older Service default/old" in problems["young"][0].text


@pytest.mark.parametrize("port", [0, -1, 65536, 70000])
def test_a_port_out_of_range_is_named_and_the_other_ports_are_served(port: int) -> None:
    table = decide(service(ports=[{"name": "bad", "port": port}, {"name": "http", "port": 80}]))
    assert [item.port.port for item in table] == [80]
    (problem,) = next(iter(table.services.values())).problems
    assert (
        str(problem) == f"Service default/web: spec.ports[0].port: {port}: must be 1 to 65535; this port is not served"
    )


def test_an_endpoint_that_is_no_address_is_named_and_the_others_serve() -> None:
    item = endpoint_slice(endpoint("10.10.1.2", "node-1", READY), endpoint("pod-7", "node-1", READY))
    (found,) = decide(service(), item)
    assert sorted(report.verdict for report in found.endpoints) == [Verdict.READY, Verdict.UNREADABLE]
    cluster = ClusterState()
    cluster.put_slices([item])
    (columns,) = cluster.slices_of(service().metadata.namespaced_name)
    assert columns.problems == (
        "EndpointSlice default/web-1: endpoints[1].addresses: 'pod-7': no IPv4 address; this endpoint is left out",
    )


def test_endpoints_on_the_host_network_and_outside_of_the_cluster_are_endpoints_like_others() -> None:
    (found,) = decide(service(), endpoint_slice(endpoint("172.18.0.2", "node-2", READY), {"addresses": ["192.0.2.7"]}))
    assert {item.address for item in found.endpoints if item.verdict.used} == {"172.18.0.2", "192.0.2.7"}


def test_a_protocol_that_the_switch_cannot_balance_is_named_and_left_out() -> None:
    table = decide(
        service(ports=[{"name": "sctp", "port": 7, "protocol": "SCTP"}]), unsupported={Protocol.SCTP: "not here"}
    )
    assert len(table) == 0
    assert "SCTP: not here" in next(iter(table.services.values())).problems[0].text


def hinted(address: str, *, zones: str = "", nodes: str = "", conditions: dict[str, Any] = READY) -> dict[str, Any]:
    hints = {
        "forZones": [{"name": name} for name in zones.split()],
        "forNodes": [{"name": name} for name in nodes.split()],
    }
    return endpoint(address, "node-2", conditions) | {"hints": hints}


def in_zone_1(*endpoints: dict[str, Any], policy: str = "Cluster") -> LoadBalancer:
    cluster = ClusterState()
    cluster.put_node(
        msgspec.convert({"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "zone-1"}}}, Node)
    )
    cluster.list_services([service(internalTrafficPolicy=policy)])
    cluster.list_slices([endpoint_slice(*endpoints)])
    (found,) = desired_load_balancers(cluster, cluster.services, node_name="node-1")
    return found


def used(load_balancer: LoadBalancer) -> set[str]:
    return {item.address for item in load_balancer.endpoints if item.verdict.used}


def test_hints_for_zones_keep_traffic_in_the_nodes_zone() -> None:
    assert used(in_zone_1(hinted("10.10.2.2", zones="zone-1"), hinted("10.10.2.3", zones="zone-2"))) == {"10.10.2.2"}


def test_hints_for_nodes_go_before_hints_for_zones() -> None:
    here = hinted("10.10.2.2", zones="zone-1", nodes="node-1")
    beside = hinted("10.10.2.3", zones="zone-1", nodes="node-2")
    assert used(in_zone_1(here, beside)) == {"10.10.2.2"}


def test_hints_count_only_if_every_ready_endpoint_carries_them() -> None:
    endpoints = (hinted("10.10.2.2", zones="zone-1"), endpoint("10.10.2.3", "node-2", READY))
    assert used(in_zone_1(*endpoints)) == {"10.10.2.2", "10.10.2.3"}
    ended = (
        hinted("10.10.2.2", zones="zone-1"),
        hinted("10.10.2.4", zones="zone-2"),
        endpoint("10.10.2.3", "n", ENDED),
    )
    assert used(in_zone_1(*ended)) == {"10.10.2.2"}


def test_hints_that_give_this_zone_nothing_are_ignored() -> None:
    endpoints = (hinted("10.10.2.2", zones="zone-2"), hinted("10.10.2.3", zones="zone-3"))
    assert used(in_zone_1(*endpoints)) == {"10.10.2.2", "10.10.2.3"}


def test_hints_are_ignored_when_only_terminating_endpoints_serve() -> None:
    endpoints = (
        hinted("10.10.2.2", zones="zone-1", conditions=SERVING),
        hinted("10.10.2.3", zones="zone-2", conditions=SERVING),
    )
    assert used(in_zone_1(*endpoints)) == {"10.10.2.2", "10.10.2.3"}


def test_hints_never_filter_local_endpoints() -> None:
    local = endpoint("10.10.1.2", "node-1", READY) | {"hints": {"forZones": [{"name": "zone-2"}]}}
    other = hinted("10.10.2.3", zones="zone-1")
    assert used(in_zone_1(local, other, policy="Local")) == {"10.10.1.2"}


def test_a_node_that_changes_its_zone_has_hints_read_anew() -> None:
    cluster = ClusterState()
    cluster.list_services([service()])
    cluster.list_slices([endpoint_slice(hinted("10.10.2.2", zones="zone-1"))])
    moved = {"metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "zone-1"}}}
    assert cluster.put_node(msgspec.convert(moved, Node)).services == set(cluster.services)
    assert cluster.put_node(msgspec.convert(moved, Node)).services == set()
