"""The functional core against the plain model of the Service API's rules."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointSlice, Node, ObjectMeta, Service
from antrea_proxy.proxy.load_balancers import LoadBalancer, desired_load_balancers
from properties import clusters
from properties.service_rules import Answer, answers

Json = dict[str, Any]
NODE = "node-1"
ZONE = "zone-1"


def decode(services: list[Json], slices: list[Json]) -> tuple[list[Service], list[EndpointSlice]]:
    return msgspec.convert(services, list[Service]), msgspec.convert(slices, list[EndpointSlice])


def empty_cluster() -> ClusterState:
    cluster = ClusterState()
    cluster.put_node(Node(metadata=ObjectMeta(name=NODE, labels={"topology.kubernetes.io/zone": ZONE})))
    return cluster


def answer_of(load_balancer: LoadBalancer) -> Answer:
    used = frozenset((item.address, item.port) for item in load_balancer.endpoints if item.verdict.used)
    return Answer(used, {"BALANCED": "", "REFUSED": "refused", "DROPPED": "dropped"}[load_balancer.outcome.name])


def decided(cluster: ClusterState, names: set[NamespacedName]) -> dict[tuple[str, str, int], Answer]:
    return {
        (str(frontend.address), item.port.protocol.name, frontend.port): answer_of(item)
        for item in desired_load_balancers(cluster, names, node_name=NODE)
        for frontend in item.port.frontends
    }


@given(services=clusters.services(), slices=clusters.slices())
def test_every_address_and_port_is_answered_as_the_service_api_promises(
    services: list[Json], slices: list[Json]
) -> None:
    cluster = empty_cluster()
    typed_services, typed_slices = decode(services, slices)
    cluster.list_services(typed_services)
    cluster.list_slices(typed_slices)
    assert decided(cluster, set(cluster.services)) == answers(services, slices, NODE, ZONE)


@given(
    first=clusters.services(),
    last=clusters.services(),
    slices=clusters.slices(),
    later=clusters.slices(),
    seed=st.integers(),
)
def test_single_changes_in_any_order_end_where_a_fresh_start_from_the_last_state_does(
    first: list[Json], last: list[Json], slices: list[Json], later: list[Json], seed: int
) -> None:
    """Only what an event marks dirty is decided anew, and that is enough."""
    cluster = empty_cluster()
    typed_services, typed_slices = decode(first, slices)
    cluster.list_services(typed_services)
    cluster.list_slices(typed_slices)
    known = {name: decided(cluster, {name}) for name in cluster.services}

    new_services, new_slices = decode(last, later)
    steps: list[Any] = [lambda item=item: cluster.put_service(item) for item in new_services]
    steps += [lambda item=item: cluster.put_slices([item]) for item in new_slices]
    kept_services = {item.metadata.namespaced_name for item in new_services}
    kept_slices = {item.metadata.namespaced_name for item in new_slices}
    for service in typed_services:
        name = service.metadata.namespaced_name
        if name not in kept_services:
            steps.append(lambda name=name: cluster.remove_service(name))
    for item in typed_slices:
        name = item.metadata.namespaced_name
        if name not in kept_slices:
            steps.append(lambda name=name: cluster.remove_slice(name))
    random.Random(seed).shuffle(steps)
    for step in steps:
        for name in step().services:
            known[name] = decided(cluster, {name})

    found = {key: answer for answer_by_key in known.values() for key, answer in answer_by_key.items()}
    assert found == answers(last, later, NODE, ZONE)
