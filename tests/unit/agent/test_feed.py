"""What each event of a source does to the cluster's state."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec

from antrea_proxy.agent.feed import Feed
from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.events import Added, Deleted, Listed, Listing, Modified, Undecodable
from antrea_proxy.kubernetes.kinds import ENDPOINT_SLICES, KINDS, NODES, SERVICES, AnyKind
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import EndpointSlice, Node, Service
from worlds import endpoint_slice, service

A = NamespacedName("default", "a")
SLICE = NamespacedName("default", "a-ipv4")


def a_service(address: str = "10.96.0.1") -> Service:
    return msgspec.convert(service("a", address), Service)


def a_slice(*addresses: str) -> EndpointSlice:
    return msgspec.convert(endpoint_slice("a", *((address, "pod", "n1") for address in addresses)), EndpointSlice)


def a_node(name: str) -> Node:
    return msgspec.convert({"metadata": {"name": name}}, Node)


def listed(kind: AnyKind, *objects: Any, undecodable: tuple[Undecodable, ...] = ()) -> Listed[Any]:  # noqa: ANN401
    return Listed(kind=kind, objects=objects, resource_version="1", undecodable=undecodable)


def unreadable(kind: AnyKind, name: NamespacedName) -> Undecodable:
    return Undecodable(kind=kind, name=name, path="spec", reason="is no object")


def endpoints(cluster: ClusterState) -> int:
    return sum(len(item.rows) for item in cluster.slices_of(A))


def test_it_is_complete_when_every_kind_was_listed_an_empty_one_too() -> None:
    feed = Feed(ClusterState())
    for kind in KINDS:
        assert not feed.complete
        feed.apply([listed(kind)])
        feed.apply([listed(kind)])
    assert feed.complete


def test_services_come_change_and_go() -> None:
    cluster = ClusterState()
    feed = Feed(cluster)
    assert feed.apply([Added(kind=SERVICES, object=a_service())]).services == {A}
    assert feed.apply([Modified(kind=SERVICES, object=a_service("10.96.0.2"))]).services == {A}
    assert cluster.services[A].spec.cluster_ip == "10.96.0.2"
    assert feed.apply([Deleted(kind=SERVICES, name=A, resource_version="2")]).services == {A}
    assert not cluster.services


def test_endpoint_slices_come_change_and_go() -> None:
    cluster = ClusterState()
    feed = Feed(cluster)
    assert feed.apply([Added(kind=ENDPOINT_SLICES, object=a_slice("10.10.1.2"))]).services == {A}
    assert feed.apply([Modified(kind=ENDPOINT_SLICES, object=a_slice("10.10.1.2", "10.10.1.3"))]).services == {A}
    assert endpoints(cluster) == 2
    assert feed.apply([Deleted(kind=ENDPOINT_SLICES, name=SLICE, resource_version="2")]).services == {A}
    assert endpoints(cluster) == 0


def test_nodes_come_and_go() -> None:
    cluster = ClusterState()
    feed = Feed(cluster)
    assert feed.apply([Added(kind=NODES, object=a_node("n1"))]).nodes
    assert feed.apply([Deleted(kind=NODES, name=NamespacedName("", "n1"), resource_version="2")]).nodes
    assert not feed.apply([Deleted(kind=NODES, name=NamespacedName("", "n1"), resource_version="3")]).nodes


def test_slices_that_are_gathered_keep_their_order_among_deletions() -> None:
    cluster = ClusterState()
    gone = Deleted(kind=ENDPOINT_SLICES, name=SLICE, resource_version="2")
    one, two = (Modified(kind=ENDPOINT_SLICES, object=a_slice(*given)) for given in (["10.10.1.2"], ["10.10.1.3"] * 2))
    Feed(cluster).apply([one, gone, two])
    assert endpoints(cluster) == 2
    Feed(cluster).apply([two, one])
    assert endpoints(cluster) == 1
    Feed(cluster).apply([two, gone])
    assert endpoints(cluster) == 0


def test_the_slices_of_a_service_are_in_the_order_of_their_names_in_whatever_order_they_come() -> None:
    slices = [msgspec.convert(endpoint_slice("a", family=family), EndpointSlice) for family in ("FQDN", "IPv4", "IPv6")]
    for order in permutations(slices):
        cluster = ClusterState()
        Feed(cluster).apply([Added(kind=ENDPOINT_SLICES, object=item) for item in order])
        assert [item.name.name for item in cluster.slices_of(A)] == ["a-fqdn", "a-ipv4", "a-ipv6"]


def test_an_object_that_cannot_be_decoded_keeps_its_last_good_state() -> None:
    cluster = ClusterState()
    feed = Feed(cluster)
    feed.apply([listed(SERVICES, a_service()), listed(ENDPOINT_SLICES, a_slice("10.10.1.2")), listed(NODES)])
    for kind, name in ((SERVICES, A), (ENDPOINT_SLICES, SLICE)):
        assert not feed.apply([unreadable(kind, name)])
        feed.apply([listed(kind, undecodable=(unreadable(kind, name),))])
    assert A in cluster.services
    assert endpoints(cluster) == 1


def test_what_a_list_does_not_name_is_gone() -> None:
    cluster = ClusterState()
    feed = Feed(cluster)
    feed.apply(
        [listed(SERVICES, a_service()), listed(NODES, a_node("n1")), listed(ENDPOINT_SLICES, a_slice("1.2.3.4"))]
    )
    dirty = feed.apply([listed(SERVICES), listed(NODES), listed(ENDPOINT_SLICES)])
    assert dirty.services == {A}
    assert dirty.nodes
    assert not cluster.services
    assert not cluster.nodes
    assert endpoints(cluster) == 0


def test_what_a_list_named_while_it_arrived_stays_and_what_it_did_not_is_gone() -> None:
    """Nothing is gone before the list's end; then, all that none of its pieces named."""
    cluster = ClusterState()
    feed = Feed(cluster)
    feed.apply([listed(SERVICES), listed(NODES, a_node("old")), listed(ENDPOINT_SLICES, a_slice("10.10.1.2"))])
    assert feed.apply([Listing(kind=SERVICES, objects=(a_service(),))]).services == {A}
    assert feed.apply([Listing(kind=NODES, objects=(a_node("new"),))]).nodes
    assert feed.apply([Listing(kind=ENDPOINT_SLICES, objects=(a_slice("10.10.1.2", "10.10.1.3"),))]).services == {A}
    assert set(cluster.nodes) == {"old", "new"}
    for kind, told in ((SERVICES, A), (NODES, NamespacedName("", "new")), (ENDPOINT_SLICES, SLICE)):
        feed.apply([Listed(kind=kind, objects=(), resource_version="2", told_before=frozenset({told}))])
    assert set(cluster.services) == {A}
    assert set(cluster.nodes) == {"new"}
    assert endpoints(cluster) == 2


def test_a_list_that_is_still_arriving_is_not_complete() -> None:
    feed = Feed(ClusterState())
    feed.apply([listed(SERVICES), listed(NODES), Listing(kind=ENDPOINT_SLICES, objects=(a_slice("10.10.1.2"),))])
    assert not feed.complete
