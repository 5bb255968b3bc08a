"""What the store of the lab's API server promises to controllers and clients."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from antrea_proxy.lab.api_server import ApiError, Event, EventType, Operation, Store
from antrea_proxy.lab.api_server import errors as api_errors
from antrea_proxy.lab.api_server import resources as kinds
from api_samples import ManualClock, config_map, deployment, endpoint_slice, pod, service


@pytest.fixture
def store() -> Store:
    """Give an empty store whose time stands still."""
    return Store(clock=ManualClock())


def _relabel(obj: dict[str, dict[str, object]], labels: dict[str, str]) -> None:
    obj["metadata"]["labels"] = labels


async def _next_events(store: Store, count: int, kind: kinds.Resource, since: str, **narrowed: str) -> list[Event]:
    found: list[Event] = []
    async with asyncio.timeout(5):
        async for event in store.watch(kind, None, since, **narrowed):
            found.append(event)
            if len(found) == count:
                break
    return found


def test_a_new_object_gets_the_metadata_that_only_the_server_gives(store: Store) -> None:
    """A new object has a UID, a creation time, a resourceVersion, and its kind."""
    created = store.create(kinds.CONFIG_MAPS, config_map(a="1"))
    metadata = created["metadata"]
    assert (created["kind"], created["apiVersion"]) == ("ConfigMap", "v1")
    assert metadata["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert len(metadata["uid"]) == 36
    assert metadata["resourceVersion"] == str(store.resource_version)


def test_what_a_caller_does_to_an_object_it_got_does_not_change_the_store(store: Store) -> None:
    """The store hands out copies and takes copies."""
    mine = config_map(a="1")
    store.create(kinds.CONFIG_MAPS, mine)["data"]["a"] = "changed"
    mine["data"]["a"] = "changed too"
    store.get(kinds.CONFIG_MAPS, "default", "settings")["data"]["a"] = "and this"
    assert store.get(kinds.CONFIG_MAPS, "default", "settings")["data"] == {"a": "1"}


def test_two_objects_of_one_name_are_refused_as_already_existing(store: Store) -> None:
    """The second creation of a name is a 409 AlreadyExists."""
    store.create(kinds.DEPLOYMENTS, deployment())
    with pytest.raises(ApiError, match=r'deployments.apps "web" already exists') as refused:
        store.create(kinds.DEPLOYMENTS, deployment())
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")


def test_an_object_in_an_unknown_namespace_is_refused_by_the_name_of_the_namespace(store: Store) -> None:
    """A missing namespace is a 404 that names it."""
    with pytest.raises(ApiError, match='namespaces "nowhere" not found'):
        store.create(kinds.CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "nowhere"}})


def test_generate_name_is_completed_by_random_letters(store: Store) -> None:
    """Objects with generateName get names of their own."""
    given = {"metadata": {"generateName": "web-", "namespace": "default"}}
    names = {store.create(kinds.CONFIG_MAPS, given)["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("web-") and len(name) == len("web-") + 5 for name in names)


def test_an_update_from_an_older_version_is_a_conflict(store: Store) -> None:
    """Whoever writes what it read before somebody else wrote is told to read again."""
    first = store.create(kinds.CONFIG_MAPS, config_map(a="1"))
    store.update(kinds.CONFIG_MAPS, {**first, "data": {"a": "2"}})
    with pytest.raises(ApiError, match="the object has been modified") as refused:
        store.update(kinds.CONFIG_MAPS, {**first, "data": {"a": "3"}})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


def test_an_update_without_a_version_wins(store: Store) -> None:
    """An update that names no resourceVersion replaces whatever is there."""
    store.create(kinds.CONFIG_MAPS, config_map(a="1"))
    assert store.update(kinds.CONFIG_MAPS, config_map(a="2"))["data"] == {"a": "2"}


def test_an_update_that_changes_nothing_is_no_event(store: Store) -> None:
    """Controllers may write what is there already without waking anybody."""
    created = store.create(kinds.SERVICES, service())
    before = store.resource_version
    assert store.update(kinds.SERVICES, created) == created
    assert store.resource_version == before


def test_an_update_cannot_change_what_the_server_gave(store: Store) -> None:
    """UID and creation time stay."""
    created = store.create(kinds.CONFIG_MAPS, config_map(a="1"))
    changed = config_map(a="2")
    changed["metadata"]["creationTimestamp"] = "1999-01-01T00:00:00Z"
    updated = store.update(kinds.CONFIG_MAPS, changed)
    assert updated["metadata"]["uid"] == created["metadata"]["uid"]
    assert updated["metadata"]["creationTimestamp"] == created["metadata"]["creationTimestamp"]


def test_status_and_spec_are_written_apart(store: Store) -> None:
    """An update of the object leaves its status alone, and one of the status leaves the spec alone."""
    store.create(kinds.DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})
    assert store.get(kinds.DEPLOYMENTS, "default", "web")["status"] == {}

    def report(obj: dict[str, object]) -> None:
        obj["status"] = {"replicas": 3}
        obj["spec"] = deployment(replicas=7)["spec"]

    after = store.modify(kinds.DEPLOYMENTS, "default", "web", report, subresource="status")
    assert (after["status"], after["spec"]["replicas"]) == ({"replicas": 3}, 3)

    after = store.update(kinds.DEPLOYMENTS, {**deployment(replicas=5), "status": {"replicas": 0}})
    assert (after["status"], after["spec"]["replicas"]) == ({"replicas": 3}, 5)


def test_generation_counts_what_the_user_wants_and_not_what_controllers_report(store: Store) -> None:
    """metadata.generation grows with the spec only."""
    store.create(kinds.DEPLOYMENTS, deployment())

    def generation() -> int:
        found = store.get(kinds.DEPLOYMENTS, "default", "web")["metadata"]["generation"]
        assert isinstance(found, int)
        return found

    assert generation() == 1
    store.modify(kinds.DEPLOYMENTS, "default", "web", lambda obj: obj["spec"].update(replicas=4))
    assert generation() == 2
    store.modify(
        kinds.DEPLOYMENTS, "default", "web", lambda obj: obj.update(status={"replicas": 4}), subresource="status"
    )
    store.modify(kinds.DEPLOYMENTS, "default", "web", lambda obj: obj["metadata"].update(labels={"a": "b"}))
    assert generation() == 2


def test_the_scale_subresource_reads_and_writes_the_number_of_replicas(store: Store) -> None:
    """Scale shows replicas and the selector, and setting it is an ordinary change of the spec."""
    store.create(kinds.DEPLOYMENTS, deployment(replicas=3))
    scale = store.get(kinds.DEPLOYMENTS, "default", "web", subresource="scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == ("Scale", {"replicas": 3}, "app=web")
    scale["spec"]["replicas"] = 6
    assert store.update(kinds.DEPLOYMENTS, scale, subresource="scale")["spec"] == {"replicas": 6}
    found = store.get(kinds.DEPLOYMENTS, "default", "web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (6, 2)
    scale["spec"]["replicas"] = -1
    scale["metadata"].pop("resourceVersion")
    with pytest.raises(ApiError, match="must be greater than or equal to 0"):
        store.update(kinds.DEPLOYMENTS, scale, subresource="scale")


def test_a_list_is_sorted_and_narrowed_by_namespace_labels_and_fields(store: Store) -> None:
    """Lists come by namespace and name, and only what the selectors match."""
    store.create(kinds.NAMESPACES, {"metadata": {"name": "apart"}})
    store.create(kinds.PODS, pod("b", labels={"app": "web"}))
    store.create(kinds.PODS, pod("a", node="node-2", labels={"app": "db"}))
    store.create(kinds.PODS, {**pod("c"), "metadata": {"name": "c", "namespace": "apart"}})

    def names(**narrowed: str) -> list[str]:
        return [found["metadata"]["name"] for found in store.list(kinds.PODS, **narrowed)[0]]

    assert names() == ["c", "a", "b"]
    assert names(namespace="default") == ["a", "b"]
    assert names(label_selector="app in (web, api)") == ["b"]
    assert names(field_selector="spec.nodeName=node-1,metadata.namespace=default") == ["b"]
    assert store.list(kinds.PODS)[1] == str(store.resource_version)


def test_a_watch_tells_every_change_after_its_version_in_order(store: Store) -> None:
    """A watcher that was told of version N misses nothing after N."""
    store.create(kinds.CONFIG_MAPS, config_map("before"))
    since = str(store.resource_version)
    store.create(kinds.CONFIG_MAPS, config_map(a="1"))
    store.update(kinds.CONFIG_MAPS, config_map(a="2"))
    store.create(kinds.SECRETS, config_map("other-kind"))
    store.delete(kinds.CONFIG_MAPS, "default", "settings")
    events = asyncio.run(_next_events(store, 3, kinds.CONFIG_MAPS, since))
    assert [event.type for event in events] == [EventType.ADDED, EventType.MODIFIED, EventType.DELETED]
    versions = [event.resource_version for event in events]
    assert versions == sorted(set(versions))
    assert events[2].object["data"] == {"a": "2"}


def test_a_watch_without_a_version_first_tells_what_is_there(store: Store) -> None:
    """A watch from nowhere begins with every object as ADDED and then goes on with changes."""
    store.create(kinds.CONFIG_MAPS, config_map("one"))

    async def watch() -> list[tuple[str, str]]:
        found = []
        async for event in store.watch(kinds.CONFIG_MAPS):
            found.append((event.type.value, event.record.name))
            if len(found) == 1:
                store.create(kinds.CONFIG_MAPS, config_map("two"))
            if len(found) == 2:
                break
        return found

    assert asyncio.run(watch()) == [("ADDED", "one"), ("ADDED", "two")]


def test_a_watch_that_waits_is_woken_by_a_change(store: Store) -> None:
    """A change reaches a watcher that is already waiting."""

    async def scenario() -> list[Event]:
        waiting = asyncio.create_task(_next_events(store, 1, kinds.CONFIG_MAPS, str(store.resource_version)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        store.create(kinds.CONFIG_MAPS, config_map())
        return await waiting

    assert asyncio.run(scenario())[0].record.name == "settings"


def test_an_object_that_ceases_to_match_a_watch_is_deleted_for_it(store: Store) -> None:
    """A narrowed watch sees objects come and go as their labels change."""
    since = str(store.resource_version)
    store.create(kinds.PODS, pod(labels={"app": "web"}))
    for labels in ({"app": "db"}, {"app": "db", "more": "1"}, {"app": "web"}):
        store.modify(kinds.PODS, "default", "web-1", partial(_relabel, labels=labels))
    events = asyncio.run(_next_events(store, 3, kinds.PODS, since, label_selector="app=web"))
    assert [event.type.value for event in events] == ["ADDED", "DELETED", "ADDED"]


def test_a_watch_from_before_compaction_is_told_that_its_version_is_gone(store: Store) -> None:
    """A version whose events are forgotten is a 410, and the present one is not."""
    since = str(store.resource_version)
    store.create(kinds.CONFIG_MAPS, config_map())
    store.compact()
    with pytest.raises(ApiError, match="too old resource version") as refused:
        asyncio.run(_next_events(store, 1, kinds.CONFIG_MAPS, since))
    assert (refused.value.code, refused.value.reason) == (410, "Expired")
    present = str(store.resource_version)
    store.create(kinds.CONFIG_MAPS, config_map("next"))
    assert asyncio.run(_next_events(store, 1, kinds.CONFIG_MAPS, present))[0].record.name == "next"


def test_a_watcher_that_lags_behind_the_events_kept_is_told_so() -> None:
    """A slow watcher costs no memory without bound: it is told 410 instead."""
    store = Store(events_kept=5)
    since = str(store.resource_version)

    async def slow() -> None:
        async for _ in store.watch(kinds.CONFIG_MAPS, None, since):
            for number in range(10):
                store.create(kinds.CONFIG_MAPS, config_map(f"c{number}"))

    store.create(kinds.CONFIG_MAPS, config_map())
    with pytest.raises(ApiError, match="fell behind"):
        asyncio.run(slow())


def test_a_watch_from_a_version_that_is_yet_to_come_must_list_again(store: Store) -> None:
    """After a restart of the server a client's old, larger version is answered by 410, not by silence."""
    with pytest.raises(ApiError, match="Too large resource version"):
        asyncio.run(_next_events(store, 1, kinds.CONFIG_MAPS, "999999"))


def test_an_admission_hook_completes_and_refuses_objects(store: Store) -> None:
    """The control plane gives a Service its address, and refuses one that is taken."""
    seen = []

    def allocate(operation: Operation, new: dict[str, dict[str, object]], old: object) -> dict[str, dict[str, object]]:
        seen.append((operation, old is not None))
        if new["metadata"]["name"] == "refused":
            error = api_errors.invalid_value("spec.clusterIP", "10.96.0.1", "provided IP is already allocated")
            raise api_errors.invalid(kinds.SERVICES, "refused", [error])
        new["spec"]["clusterIP"] = "10.96.0.9"
        return new

    store.add_admission(kinds.SERVICES, allocate)
    assert store.create(kinds.SERVICES, service())["spec"]["clusterIP"] == "10.96.0.9"
    with pytest.raises(ApiError, match=r'spec.clusterIP: Invalid value: "10.96.0.1": provided IP is already allocated'):
        store.create(kinds.SERVICES, service("refused"))
    store.modify(kinds.SERVICES, "default", "web", lambda obj: obj["spec"].update(sessionAffinity="ClientIP"))
    store.delete(kinds.SERVICES, "default", "web")
    assert seen == [
        (Operation.CREATE, False),
        (Operation.CREATE, False),
        (Operation.UPDATE, True),
        (Operation.DELETE, True),
    ]


def test_a_dry_run_says_what_would_be_and_keeps_nothing(store: Store) -> None:
    """With dry_run every check is made, and nothing is kept."""
    before = store.resource_version
    assert store.create(kinds.SERVICES, service(), dry_run=True)["spec"]["type"] == "ClusterIP"
    with pytest.raises(ApiError, match="not found"):
        store.get(kinds.SERVICES, "default", "web")
    store.create(kinds.SERVICES, service())
    store.update(kinds.SERVICES, service(sessionAffinity="ClientIP"), dry_run=True)
    store.delete(kinds.SERVICES, "default", "web", dry_run=True)
    assert store.get(kinds.SERVICES, "default", "web")["spec"]["sessionAffinity"] == "None"
    assert store.resource_version == before + 1


def test_an_observer_is_told_at_once_of_what_was_kept(store: Store) -> None:
    """Indexes of the control plane follow the store without a task in between."""
    told: list[str] = []
    store.add_observer(kinds.SERVICES, lambda event: told.append(f"{event.type.value} {event.record.name}"))
    store.create(kinds.SERVICES, service())
    store.delete(kinds.SERVICES, "default", "web")
    assert told == ["ADDED web", "DELETED web"]


def test_events_of_both_api_groups_are_the_same_events(store: Store) -> None:
    """An Event written as events.k8s.io/v1 is read as core/v1, and the other way around."""
    written = {
        "metadata": {"name": "web.1", "namespace": "default"},
        "regarding": {"kind": "Service", "name": "web", "namespace": "default"},
        "note": "no endpoint",
        "reason": "Empty",
        "type": "Warning",
    }
    since = str(store.resource_version)
    assert store.create(kinds.EVENTS_V1, written)["note"] == "no endpoint"
    core = store.get(kinds.EVENTS, "default", "web.1")
    assert (core["apiVersion"], core["message"], core["involvedObject"]["name"]) == ("v1", "no endpoint", "web")
    core["count"] = 2
    store.update(kinds.EVENTS, core)
    assert store.list(kinds.EVENTS_V1, field_selector="regarding.name=web")[0][0]["deprecatedCount"] == 2
    store.delete(kinds.EVENTS_V1, "default", "web.1")
    assert store.list(kinds.EVENTS)[0] == []
    events = asyncio.run(_next_events(store, 3, kinds.EVENTS_V1, since))
    assert [event.object["note"] for event in events] == ["no endpoint"] * 3


def test_fields_that_are_null_are_as_if_not_named(store: Store) -> None:
    """Null means absent, at any depth, as Go's decoder reads it."""
    given = endpoint_slice("web-1", "10.0.0.1")
    given["metadata"]["creationTimestamp"] = None
    given["endpoints"][0].update(conditions=None, hints={"forZones": None})
    created = store.create(kinds.ENDPOINT_SLICES, given)
    assert created["endpoints"] == [{"addresses": ["10.0.0.1"], "hints": {}}]
