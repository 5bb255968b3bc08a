"""The objects of the cluster, in memory, with the API's own rules of creation, change and deletion.

Every method but `watch` is synchronous: within one event loop each is atomic. What goes in is copied and what comes out
is a fresh copy, so no caller can change an object behind the store's back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from antrea_proxy.lab.api_server import errors, resources
from antrea_proxy.lab.api_server.admission import Admission, Operation
from antrea_proxy.lab.api_server.errors import ApiError, JsonObject
from antrea_proxy.lab.api_server.history import History
from antrea_proxy.lab.api_server.kinds import strategy_of
from antrea_proxy.lab.api_server.kinds.metadata import metadata_errors
from antrea_proxy.lab.api_server.lifecycle import (
    carry_metadata_over,
    complete_new_metadata,
    count_generation,
    generated_name,
    grace_seconds,
    is_going,
    mark_deleted,
)
from antrea_proxy.lab.api_server.patches import PatchType, apply_patch
from antrea_proxy.lab.api_server.records import Event, EventType, Record, decode, encode, make_record
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.selectors import FieldSelector, LabelSelector, Selection
from antrea_proxy.lab.api_server.subresources import to_scale, with_scale

EVENTS_KEPT = 20_000
"""Events of each kind that a slow watcher may lag behind before it is told 410 Gone."""
FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
FOREGROUND_FINALIZER = "foregroundDeletion"

Clock = Callable[[], datetime]
Observer = Callable[[Event], None]
Objects = list[JsonObject]
Records = list[Record]
Events = list[Event]


class Propagation(StrEnum):
    """What a deletion does to the objects that name the deleted one as their owner."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a deletion did."""

    object: JsonObject
    """The object in its last form."""
    removed: bool
    """False where it stays for now: marked, waiting for its grace period or finalizers."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """All objects; methods raise ApiError for what the API refuses."""

    def __init__(self, *, clock: Clock = _utc_now, events_kept: int = EVENTS_KEPT) -> None:
        self._clock = clock
        self._resource_version = 0
        self._records: dict[Resource, dict[str, dict[str, Record]]] = {kind: {} for kind in resources.RESOURCES}
        self._histories = {kind: History(limit=events_kept, start=0) for kind in resources.RESOURCES}
        self._hooks: dict[Resource, list[Admission]] = {}
        self._observers: dict[Resource, list[Observer]] = {}
        self._places: dict[str, tuple[Resource, Record]] = {}
        self._dependents: dict[str, set[str]] = {}
        for name in FIRST_NAMESPACES:
            self.create(resources.NAMESPACES, {"metadata": {"name": name}})

    # Reading

    @property
    def resource_version(self) -> int:
        """The moment of the last change of anything."""
        return self._resource_version

    def now(self) -> datetime:
        """Tell the time by the store's clock."""
        return self._clock()

    def get(
        self, resource: Resource, namespace: str | None, name: str, *, subresource: str | None = None
    ) -> JsonObject:
        """Give a copy of one object; with `subresource="scale"` its Scale.

        Raises ApiError: 404 where there is no such object.
        """
        obj = self.record(resource, namespace, name).object
        return to_scale(obj) if subresource == "scale" else obj

    def record(self, resource: Resource, namespace: str | None, name: str) -> Record:
        """Give the stored form of one object, which has its JSON at hand.

        Raises ApiError: 404 where there is no such object.
        """
        found = self._records[resource].get(namespace or "", {}).get(name)
        if found is None:
            raise errors.not_found(resource, name)
        return found

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: LabelSelector | str | None = None,
        field_selector: str | None = None,
    ) -> tuple[Objects, str]:
        """Give copies of all objects of a kind, of one namespace or of all, sorted by namespace and name.

        The second value is the resourceVersion from which a watch goes on.
        """
        selection = selection_of(resource, namespace, label_selector, field_selector)
        return [record.object for record in self.records(resource, selection)], str(self._resource_version)

    def records(self, resource: Resource, selection: Selection | None = None) -> Records:
        """Give the stored forms of all selected objects of a kind, sorted by namespace and name."""
        selection = selection or Selection()
        by_namespace = self._records[resource]
        wanted = by_namespace if selection.namespace is None else {selection.namespace: {}}
        found = [record for namespace in wanted for record in by_namespace.get(namespace, {}).values()]
        if not selection.is_everything:
            found = [record for record in found if selection.matches(record)]
        found.sort(key=lambda record: record.key)
        return found

    # Taking part

    def add_admission(self, resource: Resource, hook: Admission) -> None:
        """Let a hook complete or refuse every write of a kind; hooks run in the order in which they were added."""
        self._hooks.setdefault(resource, []).append(hook)

    def add_observer(self, resource: Resource, observer: Observer) -> None:
        """Call a function at once after every kept change of a kind. It must not write to the store itself."""
        self._observers.setdefault(resource, []).append(observer)

    def _admit(self, resource: Resource, operation: Operation, new: JsonObject, old: JsonObject | None) -> JsonObject:
        for hook in self._hooks.get(resource, ()):
            new = hook(operation, new, old)
        return new

    # Writing

    def create(self, resource: Resource, obj: JsonObject, *, dry_run: bool = False) -> JsonObject:
        """Keep a new object and give it as it was kept. Namespaced objects must name their namespace.

        Raises ApiError: 404 for an unknown namespace, 409 where the name is taken, 422 where fields do not pass.
        """
        new = self._typed(resource, obj)
        metadata = new["metadata"]
        rules = strategy_of(resource)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = generated_name(metadata["generateName"])
        if resource.namespaced:
            metadata.setdefault("namespace", "default")
            self._check_namespace(resource, metadata)
        complete_new_metadata(resource, new, now=self._clock())
        rules.prepare_create(new)
        rules.default(new)
        self._validate(resource, new, None)
        name = metadata["name"]
        if name in self._records[resource].get(metadata.get("namespace", ""), {}):
            raise errors.already_exists(resource, name)
        new = self._admit(resource, Operation.CREATE, new, None)
        if dry_run:
            return new
        record = self._keep(resource, EventType.ADDED, new, None)
        self._collect_if_ownerless(resource, record)
        return record.object

    def update(
        self, resource: Resource, obj: JsonObject, *, subresource: str | None = None, dry_run: bool = False
    ) -> JsonObject:
        """Replace an object, or only its status, or its number of replicas (subresource "status", "scale").

        Where the object carries a resourceVersion it must be the current one. An update that changes nothing is
        no event.

        Raises ApiError: 404 for an unknown object, 409 where it has changed since it was read, 422 where fields do not
        pass.
        """
        given = decode(encode(obj))
        metadata = given.get("metadata") or {}
        current = self.record(resource, self._namespace_of(resource, metadata), metadata.get("name", ""))
        old = current.object
        if subresource == "scale":
            changed = self._replace(resource, current, with_scale(resource, old, given), None, dry_run=dry_run)
            return to_scale(changed)
        return self._replace(resource, current, given, subresource, dry_run=dry_run)

    def modify(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        change: Callable[[JsonObject], None],
        *,
        subresource: str | None = None,
    ) -> JsonObject:
        """Change an object in one step: `change` gets a copy and alters it.

        Raises ApiError: 404 for an unknown object, 422 where fields do not pass.
        """
        obj = self.get(resource, namespace, name)
        change(obj)
        return self.update(resource, obj, subresource=subresource)

    def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: object,
        *,
        patch_type: PatchType = PatchType.STRATEGIC,
        subresource: str | None = None,
        dry_run: bool = False,
        check: Callable[[JsonObject], None] | None = None,
    ) -> JsonObject:
        """Change an object by a patch (decoded JSON). `check` sees the patched object before anything is kept.

        Raises ApiError: 404 for an unknown object, 400 for a patch that cannot be applied, 409 where it names an older
        resourceVersion, 422 where fields do not pass.
        """
        current = self.record(resource, namespace, name)
        before = to_scale(current.object) if subresource == "scale" else current.object
        patched = apply_patch(patch_type, before, patch)
        if check is not None:
            check(patched)
        metadata = patched.get("metadata")
        if not isinstance(metadata, dict) or metadata.get("name") != name:
            raise errors.bad_request("the name of the object cannot be changed by a patch")
        return self.update(resource, patched, subresource=subresource, dry_run=dry_run)

    def _replace(
        self, resource: Resource, current: Record, new: JsonObject, subresource: str | None, *, dry_run: bool
    ) -> JsonObject:
        old = current.object
        self._check_preconditions(resource, current, new["metadata"].get("uid"), new["metadata"].get("resourceVersion"))
        new = self._typed(resource, new)
        rules = strategy_of(resource)
        carry_metadata_over(new, old)
        if subresource == "status":
            new = {**old, "metadata": new["metadata"], "status": new.get("status") or {}}
            rules.default(new)
            self._validate(resource, new, old)
        else:
            rules.prepare_update(new, old)
            rules.default(new)
            self._validate(resource, new, old)
            new = self._admit(resource, Operation.UPDATE, new, old)
            count_generation(resource, new, old)
        if dry_run or new == old:
            return new
        if is_going(new) and self._may_go(resource, new):
            self._remove(resource, current, new)
            return new
        return self._keep(resource, EventType.MODIFIED, new, current).object

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        grace_period_seconds: int | None = None,
        propagation: Propagation | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """Delete an object, or mark it where it has a grace period, finalizers or (a Namespace) contents.

        A Pod on a Node is marked, and removed when it is deleted again with a grace period of 0. Objects that name it
        as their owner go too (or, by `propagation`, go first, or stay and lose the reference).

        Raises ApiError: 404 for an unknown object, 409 where uid or resourceVersion are not the object's.
        """
        current = self.record(resource, namespace, name)
        self._check_preconditions(resource, current, uid, resource_version)
        obj = current.object
        self._admit(resource, Operation.DELETE, obj, current.object)
        if dry_run:
            return Deletion(object=obj, removed=True)
        if propagation is Propagation.ORPHAN:
            self._orphan(current.uid)
        if propagation is Propagation.FOREGROUND and self._dependents.get(current.uid):
            finalizers = obj["metadata"].setdefault("finalizers", [])
            if FOREGROUND_FINALIZER not in finalizers:
                finalizers.append(FOREGROUND_FINALIZER)
        if resource is resources.NAMESPACES:
            return self._delete_namespace(current, obj)
        grace = grace_seconds(resource, obj, grace_period_seconds)
        if grace == 0 and not obj["metadata"].get("finalizers"):
            self._remove(resource, current, obj)
            return Deletion(object=obj, removed=True)
        if mark_deleted(obj, now=self._clock(), grace=grace) or obj["metadata"].get("finalizers"):
            obj = self._keep_if_changed(resource, obj, current)
        if FOREGROUND_FINALIZER in obj["metadata"].get("finalizers", ()):
            self._delete_dependents(current.uid, Propagation.FOREGROUND)
        return Deletion(object=obj, removed=current.uid not in self._places)

    def _delete_namespace(self, current: Record, obj: JsonObject) -> Deletion:
        mark_deleted(obj, now=self._clock(), grace=0)
        obj["metadata"].pop("deletionGracePeriodSeconds", None)
        obj.setdefault("status", {})["phase"] = "Terminating"
        obj = self._keep_if_changed(resources.NAMESPACES, obj, current)
        for resource in resources.RESOURCES:
            for record in [*self._records[resource].get(current.name, {}).values()] if resource.namespaced else ():
                if record.uid in self._places:
                    self.delete(resource, record.namespace, record.name)
        self._remove_namespace_if_empty(current.name)
        return Deletion(object=obj, removed=current.uid not in self._places)

    def compact(self, resource_version: int | None = None) -> None:
        """Forget the events up to a moment (by default all): a watch from before it is told 410 Gone."""
        moment = self._resource_version if resource_version is None else resource_version
        for history in self._histories.values():
            history.compact(moment)

    # Watching

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        since: str | int | None = None,
        *,
        label_selector: LabelSelector | str | None = None,
        field_selector: str | None = None,
    ) -> AsyncIterator[Event]:
        """Tell of every change after the moment `since`; without one (or "0") first of every object as ADDED.

        Never ends by itself. Raises ApiError: 410 (Expired) where events in between are forgotten.
        """
        selection = selection_of(resource, namespace, label_selector, field_selector)
        first, position = self.begin_watch(resource, selection, since)
        for event in first:
            yield event
        history = self._histories[resource]
        while True:
            for event in history.read(position):
                position += 1
                if (selected := select_event(event, selection)) is not None:
                    yield selected
            await history.wait(position)

    def begin_watch(self, resource: Resource, selection: Selection, since: str | int | None) -> tuple[Events, int]:
        """Give the events with which a watch opens, and the position in the history from which it goes on."""
        history = self._histories[resource]
        if since in (None, "", "0", 0):
            records = self.records(resource, selection)
            events = [Event(type=EventType.ADDED, resource=resource, record=record) for record in records]
            return events, history.end
        try:
            moment = int(since or 0)
        except ValueError as cause:
            raise errors.bad_request(f'Invalid value: "{since}": the resourceVersion is not a number') from cause
        if moment > self._resource_version:
            # As after a restart of the server: only a new list puts the client right.
            raise errors.expired(f"Too large resource version: {moment}, current: {self._resource_version}")
        return [], history.position_after(moment)

    def history(self, resource: Resource) -> History:
        """Give the events of a kind."""
        return self._histories[resource]

    # Inside

    def _typed(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Copy an object, its kind, apiVersion and metadata in front."""
        copy = decode(encode(obj))
        rest = {key: value for key, value in copy.items() if key not in {"kind", "apiVersion", "metadata"}}
        metadata = copy.get("metadata")
        return {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": dict(metadata) if isinstance(metadata, dict) else {},
            **rest,
        }

    def _namespace_of(self, resource: Resource, metadata: JsonObject) -> str:
        return metadata.get("namespace") or "default" if resource.namespaced else ""

    def _check_namespace(self, resource: Resource, metadata: JsonObject) -> None:
        name = metadata["namespace"]
        namespace = self._records[resources.NAMESPACES].get("", {}).get(name)
        if namespace is None:
            raise errors.not_found(resources.NAMESPACES, name)
        if is_going(namespace.object):
            why = f"unable to create new content in namespace {name} because it is being terminated"
            raise errors.forbidden(resource, metadata.get("name", ""), why)

    def _validate(self, resource: Resource, new: JsonObject, old: JsonObject | None) -> None:
        rules = strategy_of(resource)
        metadata = new["metadata"]
        found = metadata_errors(metadata, namespaced=resource.namespaced, name_errors=rules.name_errors)
        found.extend(rules.validate(new))
        if old is not None:
            found.extend(rules.validate_change(new, old))
        if found:
            raise errors.invalid(resource, metadata.get("name", ""), found)

    def _check_preconditions(
        self, resource: Resource, current: Record, uid: str | None, resource_version: str | None
    ) -> None:
        if uid and uid != current.uid:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {current.uid}"
            raise errors.conflict(resource, current.name, why)
        if resource_version and resource_version not in {"0", str(current.resource_version)}:
            raise errors.conflict(resource, current.name)

    def _keep_if_changed(self, resource: Resource, new: JsonObject, current: Record) -> JsonObject:
        if new == current.object:
            return new
        return self._keep(resource, EventType.MODIFIED, new, current).object

    def _keep(self, resource: Resource, kind: EventType, new: JsonObject, old: Record | None) -> Record:
        self._resource_version += 1
        new["metadata"]["resourceVersion"] = str(self._resource_version)
        record = make_record(new)
        self._records[resource].setdefault(record.namespace, {})[record.name] = record
        self._index(resource, record, old)
        self._tell(Event(type=kind, resource=resource, record=record, previous=old))
        return record

    def _index(self, resource: Resource, record: Record, old: Record | None) -> None:
        self._places[record.uid] = (resource, record)
        for owner in set(old.owners if old else ()) - set(record.owners):
            self._dependents.get(owner, set()).discard(record.uid)
        for owner in record.owners:
            self._dependents.setdefault(owner, set()).add(record.uid)

    def _tell(self, event: Event) -> None:
        self._histories[event.resource].append(event)
        for observer in self._observers.get(event.resource, ()):
            observer(event)

    def _may_go(self, resource: Resource, obj: JsonObject) -> bool:
        metadata = obj["metadata"]
        if metadata.get("finalizers") or resource is resources.NAMESPACES:
            return False
        return not metadata.get("deletionGracePeriodSeconds")

    def _remove(self, resource: Resource, current: Record, last: JsonObject) -> None:
        """Take an object out, tell watchers, and let go what depended on it."""
        self._resource_version += 1
        last["metadata"]["resourceVersion"] = str(self._resource_version)
        record = make_record(last)
        del self._records[resource][current.namespace][current.name]
        del self._places[current.uid]
        for owner in current.owners:
            self._dependents.get(owner, set()).discard(current.uid)
        self._tell(Event(type=EventType.DELETED, resource=resource, record=record, previous=current))
        self._delete_dependents(current.uid, None)
        self._dependents.pop(current.uid, None)
        for owner in current.owners:
            self._finish_foreground(owner)
        if current.namespace:
            self._remove_namespace_if_empty(current.namespace)

    def _dependents_of(self, uid: str) -> Iterator[tuple[Resource, Record]]:
        for dependent in sorted(self._dependents.get(uid, ())):
            if dependent in self._places:
                yield self._places[dependent]

    def _delete_dependents(self, uid: str, propagation: Propagation | None) -> None:
        """Delete what has no owner left but this one; the rest only loses the reference."""
        for resource, record in self._dependents_of(uid):
            others = [owner for owner in record.owners if owner != uid and owner in self._places]
            if others:
                self._drop_owner(resource, record, uid)
            else:
                self.delete(resource, record.namespace, record.name, propagation=propagation)

    def _orphan(self, uid: str) -> None:
        for resource, record in self._dependents_of(uid):
            self._drop_owner(resource, record, uid)

    def _drop_owner(self, resource: Resource, record: Record, uid: str) -> None:
        obj = record.object
        references = obj["metadata"]["ownerReferences"]
        obj["metadata"]["ownerReferences"] = [reference for reference in references if reference["uid"] != uid]
        self._keep(resource, EventType.MODIFIED, obj, record)

    def _finish_foreground(self, owner: str) -> None:
        """Let an owner go that waited for its last dependent."""
        if owner not in self._places or any(True for _ in self._dependents_of(owner)):
            return
        resource, record = self._places[owner]
        obj = record.object
        finalizers = obj["metadata"].get("finalizers", [])
        if is_going(obj) and FOREGROUND_FINALIZER in finalizers:
            finalizers.remove(FOREGROUND_FINALIZER)
            if self._may_go(resource, obj):
                self._remove(resource, record, obj)
            else:
                self._keep(resource, EventType.MODIFIED, obj, record)

    def _collect_if_ownerless(self, resource: Resource, record: Record) -> None:
        """Delete an object whose owners, all of kinds kept here, are already gone when it is created."""
        if not record.owners or any(owner in self._places for owner in record.owners):
            return
        kept_here = {(kind.api_version, kind.kind) for kind in resources.RESOURCES}
        references = record.object["metadata"]["ownerReferences"]
        if all((reference["apiVersion"], reference["kind"]) in kept_here for reference in references):
            self.delete(resource, record.namespace, record.name)

    def _remove_namespace_if_empty(self, name: str) -> None:
        namespace = self._records[resources.NAMESPACES].get("", {}).get(name)
        if namespace is None or not is_going(obj := namespace.object) or obj["metadata"].get("finalizers"):
            return
        if not any(self._records[kind].get(name) for kind in resources.RESOURCES if kind.namespaced):
            self._remove(resources.NAMESPACES, namespace, obj)


def selection_of(
    resource: Resource,
    namespace: str | None,
    label_selector: LabelSelector | str | None,
    field_selector: str | None,
) -> Selection:
    """Read what a list or watch is narrowed to. Raises ApiError (400) for a selector that is none."""
    labels = label_selector if isinstance(label_selector, LabelSelector) else LabelSelector.parse(label_selector or "")
    fields = FieldSelector.parse(resource, field_selector or "")
    return Selection(namespace=namespace or None, labels=labels, fields=fields)


def select_event(event: Event, selection: Selection) -> Event | None:
    """Show an event as a narrowed watch sees it: what begins to match is ADDED, what ceases to is DELETED."""
    if selection.is_everything:
        return event if selection.namespace in (None, event.record.namespace) else None
    matched = event.previous is not None and selection.matches(event.previous)
    matches = event.type is not EventType.DELETED and selection.matches(event.record)
    if event.type is EventType.DELETED:
        return event if matched else None
    if matches:
        kind = EventType.MODIFIED if matched else EventType.ADDED
    elif matched:
        kind = EventType.DELETED
    else:
        return None
    return Event(type=kind, resource=event.resource, record=event.record, previous=event.previous)


__all__ = ["ApiError", "Deletion", "Propagation", "Selection", "Store", "select_event", "selection_of"]
