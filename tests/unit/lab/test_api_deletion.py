"""How objects go, and what goes with them."""

from __future__ import annotations

import pytest

from antrea_proxy.lab.api_server import ApiError, Store
from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.deletion import Propagation
from api_samples import ManualClock, config_map, deployment, owned_by, pod, replica_set


@pytest.fixture
def clock() -> ManualClock:
    """Give a clock that stands still."""
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Store:
    """Give an empty store."""
    return Store(clock=clock)


def _names(store: Store, kind: kinds.Resource) -> list[str]:
    return [found["metadata"]["name"] for found in store.list(kind)[0]]


def _workload(store: Store) -> None:
    """Create a Deployment that owns a ReplicaSet that owns two Pods on a Node."""
    top = store.create(kinds.DEPLOYMENTS, deployment())
    middle = store.create(kinds.REPLICA_SETS, replica_set(ownerReferences=owned_by(top)))
    for name in ("web-1", "web-2"):
        store.create(kinds.PODS, pod(name, ownerReferences=owned_by(middle)))


def test_a_pod_on_a_node_stays_marked_until_its_runner_deletes_it_with_no_grace(
    store: Store, clock: ManualClock
) -> None:
    """A deletion gives the Pod its grace period; the second, with 0 seconds, removes it."""
    store.create(kinds.PODS, pod())
    clock.advance(10)
    deletion = store.delete(kinds.PODS, "default", "web-1")
    metadata = store.get(kinds.PODS, "default", "web-1")["metadata"]
    assert not deletion.removed
    assert metadata["deletionTimestamp"] == "2026-01-02T03:04:45Z"
    assert metadata["deletionGracePeriodSeconds"] == 30
    assert store.delete(kinds.PODS, "default", "web-1", grace_period_seconds=0).removed
    assert _names(store, kinds.PODS) == []


def test_a_second_deletion_may_shorten_the_grace_period_and_not_lengthen_it(store: Store) -> None:
    """Users may become impatient."""
    store.create(kinds.PODS, pod())
    for asked, kept in ((None, 30), (5, 5), (20, 5)):
        store.delete(kinds.PODS, "default", "web-1", grace_period_seconds=asked)
        assert store.get(kinds.PODS, "default", "web-1")["metadata"]["deletionGracePeriodSeconds"] == kept


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_runs_nowhere_goes_at_once(store: Store, phase: str) -> None:
    """A Pod without a Node, or one that has ended, needs no grace."""
    store.create(kinds.PODS, pod("waiting", node=None))
    store.create(kinds.PODS, pod("ended"))
    store.modify(kinds.PODS, "default", "ended", lambda obj: obj["status"].update(phase=phase), subresource="status")
    assert store.delete(kinds.PODS, "default", "waiting").removed
    assert store.delete(kinds.PODS, "default", "ended").removed


def test_a_finalizer_keeps_an_object_until_it_is_taken_away(store: Store) -> None:
    """Whoever put a finalizer on an object has the last word."""
    held = config_map()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    store.create(kinds.CONFIG_MAPS, held)
    assert not store.delete(kinds.CONFIG_MAPS, "default", "settings").removed
    assert "deletionTimestamp" in store.get(kinds.CONFIG_MAPS, "default", "settings")["metadata"]
    store.modify(kinds.CONFIG_MAPS, "default", "settings", lambda obj: obj["metadata"].pop("finalizers"))
    assert _names(store, kinds.CONFIG_MAPS) == []


def test_a_deployment_takes_its_replica_sets_and_pods_with_it(store: Store) -> None:
    """Deleting the owner deletes what it owns; Pods still have their grace period."""
    _workload(store)
    assert store.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.BACKGROUND).removed
    assert _names(store, kinds.REPLICA_SETS) == []
    assert all("deletionTimestamp" in found["metadata"] for found in store.list(kinds.PODS)[0])
    for name in ("web-1", "web-2"):
        store.delete(kinds.PODS, "default", name, grace_period_seconds=0)
    assert _names(store, kinds.PODS) == []


def test_orphans_stay_and_lose_the_reference(store: Store) -> None:
    """With propagationPolicy Orphan the dependents stay."""
    _workload(store)
    store.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.ORPHAN)
    assert store.get(kinds.REPLICA_SETS, "default", "web-abc")["metadata"]["ownerReferences"] == []
    assert _names(store, kinds.PODS) == ["web-1", "web-2"]


def test_a_foreground_deletion_lets_the_owner_go_last(store: Store) -> None:
    """With propagationPolicy Foreground the owner stays until its dependents are gone."""
    _workload(store)
    assert not store.delete(kinds.DEPLOYMENTS, "default", "web", propagation=Propagation.FOREGROUND).removed
    store.delete(kinds.PODS, "default", "web-1", grace_period_seconds=0)
    assert _names(store, kinds.DEPLOYMENTS) == ["web"]
    assert _names(store, kinds.REPLICA_SETS) == ["web-abc"]
    store.delete(kinds.PODS, "default", "web-2", grace_period_seconds=0)
    assert _names(store, kinds.REPLICA_SETS) == []
    assert _names(store, kinds.DEPLOYMENTS) == []


def test_an_object_with_another_owner_that_lives_stays(store: Store) -> None:
    """Only the reference to the owner that is gone is taken away."""
    first, second = (store.create(kinds.CONFIG_MAPS, config_map(name)) for name in ("first", "second"))
    child = config_map("child")
    child["metadata"]["ownerReferences"] = [*owned_by(first), *owned_by(second, controller=False)]
    store.create(kinds.CONFIG_MAPS, child)
    store.delete(kinds.CONFIG_MAPS, "default", "first")
    references = store.get(kinds.CONFIG_MAPS, "default", "child")["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in references] == ["second"]


def test_an_object_whose_owner_is_gone_already_is_collected(store: Store) -> None:
    """A controller that is late cannot leave something behind that nobody owns."""
    owner = store.create(kinds.CONFIG_MAPS, config_map("owner"))
    store.delete(kinds.CONFIG_MAPS, "default", "owner")
    child = config_map("child")
    child["metadata"]["ownerReferences"] = owned_by(owner)
    store.create(kinds.CONFIG_MAPS, child)
    assert _names(store, kinds.CONFIG_MAPS) == []


def test_a_namespace_goes_when_its_last_object_is_gone_and_takes_no_new_ones(store: Store) -> None:
    """A namespace terminates: contents first, then itself; meanwhile nothing new is let in."""
    store.create(kinds.NAMESPACES, {"metadata": {"name": "apart"}})
    for kind, obj in ((kinds.PODS, pod()), (kinds.CONFIG_MAPS, config_map())):
        obj["metadata"]["namespace"] = "apart"
        store.create(kind, obj)
    assert not store.delete(kinds.NAMESPACES, None, "apart").removed
    assert store.get(kinds.NAMESPACES, None, "apart")["status"]["phase"] == "Terminating"
    assert _names(store, kinds.CONFIG_MAPS) == []
    with pytest.raises(ApiError, match="because it is being terminated") as refused:
        store.create(kinds.CONFIG_MAPS, {"metadata": {"name": "late", "namespace": "apart"}})
    assert refused.value.code == 403
    store.delete(kinds.PODS, "apart", "web-1", grace_period_seconds=0)
    assert "apart" not in _names(store, kinds.NAMESPACES)


def test_the_namespaces_that_a_cluster_stands_on_may_not_be_deleted(store: Store) -> None:
    """default, kube-public and kube-system stay."""
    with pytest.raises(ApiError, match='namespaces "kube-system" is forbidden: this namespace may not be deleted'):
        store.delete(kinds.NAMESPACES, None, "kube-system")


def test_a_deletion_of_another_object_of_the_same_name_is_refused(store: Store) -> None:
    """A precondition on the UID protects what was created anew."""
    store.create(kinds.CONFIG_MAPS, config_map())
    with pytest.raises(ApiError, match="Precondition failed: UID in precondition: other"):
        store.delete(kinds.CONFIG_MAPS, "default", "settings", uid="other")
    with pytest.raises(ApiError, match="the object has been modified"):
        store.delete(kinds.CONFIG_MAPS, "default", "settings", resource_version="1")
