"""The list that a watch begins with: events that add objects, up to the bookmark that ends it (KEP 3157)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic

from antrea_proxy.kubernetes.events import (
    Added,
    Bookmark,
    Deleted,
    ErrorEvent,
    Event,
    Listed,
    Listing,
    Modified,
    Undecodable,
    WatchEvent,
)
from antrea_proxy.kubernetes.kinds import Kind, ObjectT
from antrea_proxy.kubernetes.names import NamespacedName

SWITCH: Final = "KUBE_FEATURE_WatchListClient"
"""The environment variable by which client-go's users switch streaming lists on and off."""


def streaming_lists(environment: Mapping[str, str]) -> bool:
    """Whether lists are to be streamed by servers that can: unless the environment says no, as Go writes it."""
    return environment.get(SWITCH, "").lower() not in {"false", "f", "0"}


class StreamedList(Generic[ObjectT]):
    """Takes a watch's events and gives the list's pieces; `end` is there once the list is whole."""

    def __init__(self, kind: Kind[ObjectT]) -> None:
        self._kind = kind
        self._told: set[NamespacedName] = set()
        self._undecodable: dict[NamespacedName, Undecodable] = {}
        self.end: Listed[ObjectT] | None = None

    def take(self, events: list[WatchEvent[ObjectT]]) -> tuple[list[Event[ObjectT]], list[WatchEvent[ObjectT]]]:
        """Return what of the events belongs to the list, and those that are behind it: its end, or a refusal."""
        told: list[Event[ObjectT]] = []
        objects: list[ObjectT] = []
        for place, event in enumerate(events):
            if isinstance(event, Added | Modified):
                objects.append(event.object)
                if self._undecodable:
                    self._undecodable.pop(event.object.metadata.namespaced_name, None)
            elif isinstance(event, Undecodable):
                self._undecodable[event.name] = event
            elif isinstance(event, Deleted):  # of an object that the list had already
                told += self._piece(objects)
                objects = []
                told.append(event)
                self._told.discard(event.name)
                self._undecodable.pop(event.name, None)
            elif isinstance(event, ErrorEvent):
                return told + self._piece(objects), events[place:]
            elif event.ends_list:
                told += self._piece(objects)
                self.end = self._whole(event)
                return told, events[place + 1 :]
        return told + self._piece(objects), []

    def _piece(self, objects: list[ObjectT]) -> list[Event[ObjectT]]:
        if not objects:
            return []
        self._told.update(item.metadata.namespaced_name for item in objects)
        return [Listing(kind=self._kind, objects=tuple(objects))]

    def _whole(self, bookmark: Bookmark) -> Listed[ObjectT]:
        return Listed(
            kind=self._kind,
            objects=(),
            resource_version=bookmark.resource_version,
            told_before=frozenset(self._told),
            undecodable=tuple(self._undecodable.values()),
        )
