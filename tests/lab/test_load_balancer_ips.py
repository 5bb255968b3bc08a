"""Load-balancer IPs as Pods reach them: in the switch, without a way through the load balancer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from lab_cluster import Cluster, JsonObject, wait_until
from lab_stage import BOTH_PROTOCOLS, Stage, held_by_the_node, reconfigured
from lab_traffic import many, outcome

NODE = "node-1"
V4, OTHER_V4, V6 = "172.30.0.201", "172.30.0.202", "fd00:30::201"
SOMEBODY_ELSES = "tests.example/by-hand"
"""A loadBalancerClass that the lab leaves alone, so that tests are the load balancer."""


def ingress(*addresses: str, mode: str = "VIP") -> JsonObject:
    """Give the status that a load balancer writes."""
    return {"loadBalancer": {"ingress": [{"ip": address, "ipMode": mode} for address in addresses]}}


@pytest.fixture
def balanced(stage: Stage) -> Iterator[str]:
    """A Service of three servers whose load balancer has given it an address of each family."""
    ports = [*BOTH_PROTOCOLS, {"name": "more", "port": 8000, "targetPort": 8080}]
    stage.service("balanced", endpoints=3, type="LoadBalancer", loadBalancerClass=SOMEBODY_ELSES, ports=ports)
    stage.patch("balanced", status=ingress(V4, V6))
    yield "balanced"
    stage.remove("balanced")


def _served(stage: Stage, address: str, port: int = 80, *, node: str = NODE) -> None:
    answers = (*stage.servers,)
    wait_until(lambda: outcome(stage.clients[node], address, port) in answers, f"{address}:{port} served on {node}")


def test_every_address_and_port_is_served_over_both_protocols(stage: Stage, balanced: str) -> None:
    for node, client in stage.clients.items():
        for address in (V4, V6):
            _served(stage, address, node=node)
            for protocol, port in (("tcp", 80), ("udp", 80), ("tcp", 8000)):
                tally = many(client, protocol, (address, port), count=40)
                assert not tally.failed
                assert set(tally.answers) == set(stage.servers)


def test_from_a_pod_the_external_policy_local_means_all_endpoints(stage: Stage, balanced: str) -> None:
    """The short circuit that kube-proxy makes, too: the policy is for traffic from outside."""
    _served(stage, V4)
    stage.patch(balanced, externalTrafficPolicy="Local")
    tally = many(stage.clients[NODE], "tcp", (V4, 80), (V6, 80), count=60)
    assert not tally.failed
    assert set(tally.answers) == set(stage.servers)


def test_addresses_come_go_and_are_swapped(cluster: Cluster, stage: Stage, balanced: str) -> None:
    """What is no longer the Service's goes into the Node's own stack, where these addresses are held meanwhile."""
    client = stage.clients[NODE]
    states: Sequence[set[str]] = ({V4, V6}, {V4, OTHER_V4, V6}, {OTHER_V4, V6}, {V4}, set(), {V4, V6})
    with held_by_the_node(cluster.node(NODE), [V4, OTHER_V4, V6], 80):
        for given in states:
            stage.patch(balanced, status=ingress(*sorted(given)))
            for address in (V4, OTHER_V4, V6):
                expected = set(stage.servers) if address in given else {"the-node"}
                wait_until(
                    lambda address=address, expected=expected: outcome(client, address) in expected,  # type: ignore[misc]
                    f"{address} answered by {expected} while the Service has {given}",
                )


def test_an_address_in_mode_proxy_is_left_to_the_load_balancer(cluster: Cluster, stage: Stage, balanced: str) -> None:
    """KEP 1860: it may do more than balance, so no traffic may pass it by."""
    client = stage.clients[NODE]
    with held_by_the_node(cluster.node(NODE), [V4, V6], 80):
        _served(stage, V4)
        stage.patch(balanced, status=ingress(V4, V6, mode="Proxy"))
        for address in (V4, V6):
            wait_until(lambda address=address: outcome(client, address) == "the-node", f"{address} left alone")  # type: ignore[misc]
        for address in stage.cluster_ips(balanced):
            assert outcome(client, address) in stage.servers
        stage.patch(balanced, status=ingress(V4, V6))
        _served(stage, V4)
        _served(stage, V6)


def test_without_proxy_load_balancer_ips_they_are_left_to_the_load_balancer(
    cluster: Cluster, stage: Stage, balanced: str
) -> None:
    client = stage.clients[NODE]
    _served(stage, V4, node="node-2")
    with (
        held_by_the_node(cluster.node(NODE), [V4, V6], 80),
        reconfigured(cluster, NODE, antreaProxy={"proxyLoadBalancerIPs": False}),
    ):
        for address in (V4, V6):
            wait_until(lambda address=address: outcome(client, address) == "the-node", f"{address} left alone")  # type: ignore[misc]
        for address in stage.cluster_ips(balanced):
            assert outcome(client, address) in stage.servers
        assert outcome(stage.clients["node-2"], V4) in stage.servers
    _served(stage, V4)


def test_source_ranges_let_in_whom_they_name_and_drop_all_others(stage: Stage, balanced: str) -> None:
    """At load-balancer IPs alone, for Pods as for everybody. Ranges of one family shut the other one out."""
    here, elsewhere = stage.clients[NODE], stage.clients["node-2"]
    (own, own_v6) = stage.addresses_of(here.name)
    _served(stage, V4)
    _served(stage, V6, node="node-2")
    stage.patch(balanced, loadBalancerSourceRanges=[f"{own}/32", "192.0.2.0/24"])
    wait_until(lambda: outcome(elsewhere, V4) == "dropped", "another Pod dropped")
    wait_until(lambda: outcome(here, V6) == "dropped", "the other family dropped")
    assert outcome(here, V4) in stage.servers
    assert outcome(elsewhere, V6) == "dropped"
    for address in stage.cluster_ips(balanced):
        assert outcome(elsewhere, address) in stage.servers
    with pytest.raises(TimeoutError):
        elsewhere.ask_udp(V4, 80, timeout=0.7)
    assert here.ask_udp(V4, 80) in stage.servers

    stage.patch(balanced, loadBalancerSourceRanges=[f"{own_v6}/128"])
    wait_until(lambda: outcome(here, V6) in stage.servers, "the IPv6 client let in")
    wait_until(lambda: outcome(here, V4) == "dropped", "the IPv4 client dropped")
    stage.patch(balanced, loadBalancerSourceRanges=None)
    _served(stage, V4, node="node-2")
    _served(stage, V4)


def test_a_service_that_is_no_load_balancer_any_more_keeps_its_cluster_ips_alone(
    cluster: Cluster, stage: Stage, balanced: str
) -> None:
    client = stage.clients[NODE]
    with held_by_the_node(cluster.node(NODE), [V4], 80):
        _served(stage, V4)
        stage.patch(balanced, type="ClusterIP", loadBalancerClass=None)
        wait_until(lambda: outcome(client, V4) == "the-node", "the address left alone")
        for address in stage.cluster_ips(balanced):
            assert outcome(client, address) in stage.servers
