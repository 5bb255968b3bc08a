"""The objects of the cluster, in memory, with the API's own rules of creation, change and deletion.

Every method but `watch` is synchronous: within one event loop each is atomic. What goes in is copied and what comes out
is a fresh copy, so no caller can change an object behind the store's back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from antrea_proxy.lab.api_server import errors, resources
from antrea_proxy.lab.api_server.admission import Admission, Operation
from antrea_proxy.lab.api_server.deletion import Deleter, Deletion, Propagation
from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.history import History
from antrea_proxy.lab.api_server.kinds import strategy_of
from antrea_proxy.lab.api_server.kinds.metadata import metadata_errors
from antrea_proxy.lab.api_server.lifecycle import (
    carry_metadata_over,
    complete_new_metadata,
    count_generation,
    generated_name,
    is_going,
)
from antrea_proxy.lab.api_server.patches import PatchType, apply_patch
from antrea_proxy.lab.api_server.records import Event, EventType, Record, decode, encode
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.selectors import LabelSelector, Selection, select_event, selection_of
from antrea_proxy.lab.api_server.shelf import Observer, Shelf
from antrea_proxy.lab.api_server.subresources import to_scale, with_scale
from antrea_proxy.lab.api_server.views import VIEWS

EVENTS_KEPT = 20_000
"""Events of each kind that a slow watcher may lag behind before it is told 410 Gone."""
FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")

Clock = Callable[[], datetime]
Claim = Callable[[JsonObject, JsonObject | None], list[JsonObject]]
"""Gives the metadata.managedFields that an object has after a write, from the object as it will be and as it is."""
Objects = list[JsonObject]
Records = list[Record]
Events = list[Event]


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """All objects; methods raise ApiError for what the API refuses."""

    def __init__(self, *, clock: Clock = _utc_now, events_kept: int = EVENTS_KEPT) -> None:
        self._clock = clock
        self._shelf = Shelf(events_kept=events_kept)
        self._deleter = Deleter(self._shelf)
        self._hooks: dict[Resource, list[Admission]] = {}
        self._compacted = 0
        for name in FIRST_NAMESPACES:
            self.create(resources.NAMESPACES, {"metadata": {"name": name}})

    # Reading

    @property
    def resource_version(self) -> int:
        """The moment of the last change of anything."""
        return self._shelf.resource_version

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
        return self._shelf.get(resource, namespace, name)

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
        return [record.object for record in self.records(resource, selection)], str(self._shelf.resource_version)

    def records(self, resource: Resource, selection: Selection | None = None) -> Records:
        """Give the stored forms of all selected objects of a kind, sorted by namespace and name."""
        return self._shelf.select(resource, selection or Selection())

    # Taking part

    def add_admission(self, resource: Resource, hook: Admission) -> None:
        """Let a hook complete or refuse every write of a kind; hooks run in the order in which they were added."""
        self._hooks.setdefault(resource, []).append(hook)

    def add_observer(self, resource: Resource, observer: Observer) -> None:
        """Call a function at once after every kept change of a kind. It must not write to the store itself."""
        self._shelf.observers.setdefault(resource, []).append(observer)

    def _admit(self, resource: Resource, operation: Operation, new: JsonObject, old: JsonObject | None) -> JsonObject:
        for hook in self._hooks.get(resource, ()):
            new = hook(operation, new, old)
        return new

    # Writing

    def create(
        self, resource: Resource, obj: JsonObject, *, dry_run: bool = False, claim: Claim | None = None
    ) -> JsonObject:
        """Keep a new object and give it as it was kept. Namespaced objects must name their namespace.

        Without a `claim` nobody owns its fields.

        Raises ApiError: 404 for an unknown namespace, 409 where the name is taken, 422 where fields do not pass.
        """
        if (view := VIEWS.get(resource)) is not None:
            return view.show(self.create(view.source, view.keep(obj), dry_run=dry_run))
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
        if self._shelf.find(resource, metadata.get("namespace"), name) is not None:
            raise errors.already_exists(resource, name)
        owners = claim(new, None) if claim else []
        new = self._admit(resource, Operation.CREATE, new, None)
        if owners:
            new["metadata"]["managedFields"] = owners
        if dry_run:
            return new
        record = self._shelf.keep(resource, new, None)
        self._deleter.collect_if_ownerless(resource, record, now=self._clock())
        return record.object

    def update(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        subresource: str | None = None,
        dry_run: bool = False,
        claim: Claim | None = None,
    ) -> JsonObject:
        """Replace an object, or only its status, or its number of replicas (subresource "status", "scale").

        Where the object carries a resourceVersion it must be the current one. An update that changes nothing is
        no event. Without a `claim` the owners of its fields stay who they are.

        Raises ApiError: 404 for an unknown object, 409 where it has changed since it was read, 422 where fields do not
        pass.
        """
        if (view := VIEWS.get(resource)) is not None:
            return view.show(self.update(view.source, view.keep(obj), subresource=subresource, dry_run=dry_run))
        given = decode(encode(obj))
        metadata = given.get("metadata") or {}
        current = self.record(resource, self._namespace_of(resource, metadata), metadata.get("name", ""))
        old = current.object
        if subresource == "scale":
            scaled = with_scale(resource, old, given)
            return to_scale(self._replace(resource, current, scaled, None, dry_run=dry_run, claim=claim))
        return self._replace(resource, current, given, subresource, dry_run=dry_run, claim=claim)

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
        claim: Claim | None = None,
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
        if not isinstance(metadata, dict) or (metadata.get("name"), metadata.get("namespace")) != (
            name,
            before["metadata"].get("namespace"),
        ):
            raise errors.bad_request("name and namespace of an object cannot be changed by a patch")
        return self.update(resource, patched, subresource=subresource, dry_run=dry_run, claim=claim)

    def _replace(
        self,
        resource: Resource,
        current: Record,
        new: JsonObject,
        subresource: str | None,
        *,
        dry_run: bool,
        claim: Claim | None,
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
            owners = _owners(new, old, claim)
        else:
            rules.prepare_update(new, old)
            rules.default(new)
            self._validate(resource, new, old)
            owners = _owners(new, old, claim)
            new = self._admit(resource, Operation.UPDATE, new, old)
            count_generation(resource, new, old)
        new["metadata"].pop("managedFields", None)
        if owners:
            new["metadata"]["managedFields"] = owners
        if dry_run or new == old:
            return new
        if is_going(new) and self._deleter.may_go(resource, new):
            self._deleter.remove(resource, current, new, now=self._clock())
            return new
        return self._shelf.keep(resource, new, current).object

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
        view = VIEWS.get(resource)
        resource = view.source if view else resource
        current = self.record(resource, namespace, name)
        self._check_preconditions(resource, current, uid, resource_version)
        obj = current.object
        self._admit(resource, Operation.DELETE, obj, current.object)
        if dry_run:
            return Deletion(object=obj, removed=True)
        return self._deleter.delete(
            resource,
            current,
            now=self._clock(),
            grace_period_seconds=grace_period_seconds,
            propagation=propagation,
        )

    def compact(self, resource_version: int | None = None) -> None:
        """Forget the events up to a moment (by default all): a watch from before it is told 410 Gone."""
        moment = self._shelf.resource_version if resource_version is None else resource_version
        for history in self._shelf.histories.values():
            history.compact(moment)
        self._compacted = max(self._compacted, moment)

    @property
    def compacted(self) -> int:
        """The moment up to which events have been forgotten on purpose."""
        return self._compacted

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
        history = self._shelf.histories[resource]
        while True:
            for event in history.read(position):
                position += 1
                if (selected := select_event(event, selection)) is not None:
                    yield selected
            await history.wait(position)

    def begin_watch(
        self, resource: Resource, selection: Selection, since: str | int | None, *, list_first: bool = False
    ) -> tuple[Events, int]:
        """Give the events with which a watch opens, and the position in the history from which it goes on.

        With `list_first` it opens with all objects, also where the client knows a version.
        """
        history = self._shelf.histories[resource]
        moment = self._known_moment(since)
        if moment and not list_first:
            return [], history.position_after(moment)
        records = self.records(resource, selection)
        return [Event(type=EventType.ADDED, resource=resource, record=record) for record in records], history.end

    def _known_moment(self, since: str | int | None) -> int:
        try:
            moment = int(since or 0)
        except ValueError as cause:
            raise errors.bad_request(f'Invalid value: "{since}": the resourceVersion is not a number') from cause
        if moment > self._shelf.resource_version:
            # As after a restart of the server: only a new list puts the client right.
            raise errors.expired(f"Too large resource version: {moment}, current: {self._shelf.resource_version}")
        return moment

    def history(self, resource: Resource) -> History:
        """Give the events of a kind."""
        return self._shelf.histories[resource]

    # Inside

    def _typed(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Copy an object, its kind, apiVersion and metadata in front."""
        encoded = encode(obj)
        copy = decode(encoded)
        if b"null" in encoded:
            copy = without_nulls(copy)
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
        namespace = self._shelf.get(resources.NAMESPACES, None, name)
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


def _owners(new: JsonObject, old: JsonObject, claim: Claim | None) -> list[JsonObject]:
    if claim is not None:
        return claim(new, old)
    found: list[JsonObject] = old["metadata"].get("managedFields") or []
    return found


def without_nulls(obj: JsonObject) -> JsonObject:
    """Leave out fields that are null: to the API that is the same as not to name them."""
    return {key: _without_nulls(value) for key, value in obj.items() if value is not None}


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return without_nulls(value)
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


__all__ = ["Claim", "Deletion", "Propagation", "Store", "without_nulls"]
