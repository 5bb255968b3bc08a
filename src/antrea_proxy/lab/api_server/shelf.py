"""Where the objects stand: records by kind, namespace and name, who owns whom, and the events of every change.

Knows no rule of the API; `Store` and `Deleter` decide, this keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from antrea_proxy.lab.api_server.errors import JsonObject, not_found
from antrea_proxy.lab.api_server.history import History
from antrea_proxy.lab.api_server.records import Event, EventType, Record, make_record
from antrea_proxy.lab.api_server.resources import RESOURCES, Resource
from antrea_proxy.lab.api_server.selectors import Selection
from antrea_proxy.lab.api_server.views import VIEWS

Observer = Callable[[Event], None]


class Shelf:
    """Records and their indexes; every change gets the next resourceVersion and is told at once."""

    def __init__(self, *, events_kept: int) -> None:
        self.resource_version = 0
        self.histories = {kind: History(limit=events_kept, start=0) for kind in RESOURCES}
        self.observers: dict[Resource, list[Observer]] = {}
        self._records: dict[Resource, dict[str, dict[str, Record]]] = {kind: {} for kind in RESOURCES}
        self._places: dict[str, tuple[Resource, Record]] = {}
        self._dependents: dict[str, set[str]] = {}

    def find(self, resource: Resource, namespace: str | None, name: str) -> Record | None:
        """Give an object's record, None where there is none."""
        return self._records[resource].get(namespace or "", {}).get(name)

    def get(self, resource: Resource, namespace: str | None, name: str) -> Record:
        """Give an object's record. Raises ApiError: 404 where there is none."""
        if (found := self.find(resource, namespace, name)) is None:
            raise not_found(resource, name)
        return found

    def select(self, resource: Resource, selection: Selection) -> list[Record]:
        """Give all selected records of a kind, sorted by namespace and name."""
        by_namespace = self._records[resource]
        wanted = by_namespace if selection.namespace is None else (selection.namespace,)
        found = [record for namespace in wanted for record in by_namespace.get(namespace, {}).values()]
        if not selection.is_everything:
            found = [record for record in found if selection.matches(record)]
        found.sort(key=lambda record: record.key)
        return found

    def contents(self, namespace: str) -> list[tuple[Resource, Record]]:
        """Give everything that is in a namespace."""
        return [
            (resource, record)
            for resource in RESOURCES
            if resource.namespaced
            for record in self._records[resource].get(namespace, {}).values()
        ]

    def is_empty(self, namespace: str) -> bool:
        """Tell whether nothing is in a namespace."""
        return not any(self._records[resource].get(namespace) for resource in RESOURCES if resource.namespaced)

    def lives(self, uid: str) -> bool:
        """Tell whether the object of a UID is still there."""
        return uid in self._places

    def place(self, uid: str) -> tuple[Resource, Record]:
        """Give the object of a UID that lives."""
        return self._places[uid]

    def dependents(self, uid: str) -> Iterator[tuple[Resource, Record]]:
        """Give the objects that name this one as an owner."""
        for dependent in sorted(self._dependents.get(uid, ())):
            if dependent in self._places:
                yield self._places[dependent]

    def keep(self, resource: Resource, obj: JsonObject, old: Record | None) -> Record:
        """Keep a new version of an object, the first where `old` is None."""
        record = self._next_version(obj)
        self._records[resource].setdefault(record.namespace, {})[record.name] = record
        self._places[record.uid] = (resource, record)
        for owner in set(old.owners if old else ()) - set(record.owners):
            self._dependents.get(owner, set()).discard(record.uid)
        for owner in record.owners:
            self._dependents.setdefault(owner, set()).add(record.uid)
        kind = EventType.ADDED if old is None else EventType.MODIFIED
        self._tell(Event(type=kind, resource=resource, record=record, previous=old))
        self._show_in_views(resource, record, kind)
        return record

    def remove(self, resource: Resource, current: Record, last: JsonObject) -> None:
        """Take an object away; watchers see its last form."""
        record = self._next_version(last)
        del self._records[resource][current.namespace][current.name]
        del self._places[current.uid]
        for owner in current.owners:
            self._dependents.get(owner, set()).discard(current.uid)
        self._tell(Event(type=EventType.DELETED, resource=resource, record=record, previous=current))
        self._show_in_views(resource, record, EventType.DELETED)

    def _show_in_views(self, source: Resource, record: Record, kind: EventType) -> None:
        for resource, view in VIEWS.items():
            if view.source is source:
                shown = make_record(view.show(record.object))
                before = self.find(resource, record.namespace, record.name)
                by_name = self._records[resource].setdefault(record.namespace, {})
                if kind is EventType.DELETED:
                    del by_name[record.name]
                else:
                    by_name[record.name] = shown
                self._tell(Event(type=kind, resource=resource, record=shown, previous=before))

    def _next_version(self, obj: JsonObject) -> Record:
        self.resource_version += 1
        obj["metadata"]["resourceVersion"] = str(self.resource_version)
        return make_record(obj)

    def _tell(self, event: Event) -> None:
        self.histories[event.resource].append(event)
        for observer in self.observers.get(event.resource, ()):
            observer(event)
