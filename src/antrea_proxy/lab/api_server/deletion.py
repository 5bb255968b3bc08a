"""How objects go: grace periods, finalizers, what a deleted owner takes with it, and Namespaces with their contents.

What a cluster's garbage collector and namespace controller do in time is done here at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from antrea_proxy.lab.api_server.errors import JsonObject, forbidden
from antrea_proxy.lab.api_server.lifecycle import grace_seconds, is_going, mark_deleted
from antrea_proxy.lab.api_server.records import Record
from antrea_proxy.lab.api_server.resources import NAMESPACES, RESOURCES, Resource
from antrea_proxy.lab.api_server.shelf import Shelf

FOREGROUND_FINALIZER = "foregroundDeletion"
LASTING_NAMESPACES = frozenset({"default", "kube-public", "kube-system"})
"""Namespaces that may not be deleted."""


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
    """False where it stays for now: marked, waiting for its grace period, finalizers or contents."""


class Deleter:
    """Performs deletions on a shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def delete(
        self,
        resource: Resource,
        current: Record,
        *,
        now: datetime,
        grace_period_seconds: int | None = None,
        propagation: Propagation | None = None,
    ) -> Deletion:
        """Delete an object, or mark it where something still holds it.

        Raises ApiError: 403 for a Namespace that may not be deleted.
        """
        obj = current.object
        if resource is NAMESPACES:
            return self._delete_namespace(current, obj, now)
        if propagation is Propagation.ORPHAN:
            for kind, dependent in self._shelf.dependents(current.uid):
                self._drop_owner(kind, dependent, current.uid)
        finalizers: list[str] = obj["metadata"].get("finalizers") or []
        waits_for_dependents = propagation is Propagation.FOREGROUND and any(self._shelf.dependents(current.uid))
        if waits_for_dependents and FOREGROUND_FINALIZER not in finalizers:
            finalizers = [*finalizers, FOREGROUND_FINALIZER]
            obj["metadata"]["finalizers"] = finalizers
        grace = grace_seconds(resource, obj, grace_period_seconds)
        if grace == 0 and not finalizers:
            self.remove(resource, current, obj, now=now)
            return Deletion(object=obj, removed=True)
        mark_deleted(obj, now=now, grace=grace)
        if obj != current.object:
            obj = self._shelf.keep(resource, obj, current).object
        if waits_for_dependents:
            self._delete_dependents(current.uid, now, Propagation.FOREGROUND)
        return Deletion(object=obj, removed=not self._shelf.lives(current.uid))

    def _delete_namespace(self, current: Record, obj: JsonObject, now: datetime) -> Deletion:
        if current.name in LASTING_NAMESPACES:
            raise forbidden(NAMESPACES, current.name, "this namespace may not be deleted")
        mark_deleted(obj, now=now, grace=0)
        obj["metadata"].pop("deletionGracePeriodSeconds", None)
        obj.setdefault("status", {})["phase"] = "Terminating"
        if obj != current.object:
            obj = self._shelf.keep(NAMESPACES, obj, current).object
        for resource, record in self._shelf.contents(current.name):
            # What an earlier one has taken with it is gone, or has changed, by now.
            if (there := self._shelf.find(resource, record.namespace, record.name)) is not None:
                self.delete(resource, there, now=now)
        self._remove_namespace_if_empty(current.name, now)
        return Deletion(object=obj, removed=not self._shelf.lives(current.uid))

    def may_go(self, resource: Resource, obj: JsonObject) -> bool:
        """Tell whether nothing holds a marked object any more."""
        metadata = obj["metadata"]
        if resource is NAMESPACES:
            return not metadata.get("finalizers") and self._shelf.is_empty(metadata["name"])
        return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")

    def remove(self, resource: Resource, current: Record, last: JsonObject, *, now: datetime) -> None:
        """Take an object away for good, and let go what depended on it or waited for it."""
        self._shelf.remove(resource, current, last)
        self._delete_dependents(current.uid, now, None)
        for owner in current.owners:
            self._finish_foreground(owner, now)
        if current.namespace:
            self._remove_namespace_if_empty(current.namespace, now)

    def _delete_dependents(self, uid: str, now: datetime, propagation: Propagation | None) -> None:
        """Delete what has no owner left but this one; the rest only loses the reference."""
        for resource, record in self._shelf.dependents(uid):
            if any(owner != uid and self._shelf.lives(owner) for owner in record.owners):
                self._drop_owner(resource, record, uid)
            else:
                self.delete(resource, record, now=now, propagation=propagation)

    def _drop_owner(self, resource: Resource, record: Record, uid: str) -> None:
        obj = record.object
        references = obj["metadata"]["ownerReferences"]
        obj["metadata"]["ownerReferences"] = [reference for reference in references if reference["uid"] != uid]
        self._shelf.keep(resource, obj, record)

    def _finish_foreground(self, owner: str, now: datetime) -> None:
        """Let an owner go that waited for its last dependent."""
        if not self._shelf.lives(owner) or any(self._shelf.dependents(owner)):
            return
        resource, record = self._shelf.place(owner)
        obj = record.object
        finalizers = obj["metadata"].get("finalizers") or []
        if not is_going(obj) or FOREGROUND_FINALIZER not in finalizers:
            return
        finalizers.remove(FOREGROUND_FINALIZER)
        if self.may_go(resource, obj):
            self.remove(resource, record, obj, now=now)
        else:
            self._shelf.keep(resource, obj, record)

    def collect_if_ownerless(self, resource: Resource, record: Record, *, now: datetime) -> None:
        """Delete a new object whose owners, all of kinds kept here, are gone already."""
        if not record.owners or any(self._shelf.lives(owner) for owner in record.owners):
            return
        kept_here = {(kind.api_version, kind.kind) for kind in RESOURCES}
        references = record.object["metadata"]["ownerReferences"]
        if all((reference["apiVersion"], reference["kind"]) in kept_here for reference in references):
            self.delete(resource, record, now=now)

    def _remove_namespace_if_empty(self, name: str, now: datetime) -> None:
        namespace = self._shelf.find(NAMESPACES, None, name)
        if namespace is None:
            return
        obj = namespace.object
        if is_going(obj) and self.may_go(NAMESPACES, obj):
            self.remove(NAMESPACES, namespace, obj, now=now)
