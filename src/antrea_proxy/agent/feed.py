"""From a source's events to the cluster's state: what each event changes, and which kinds have been listed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antrea_proxy.kubernetes.cluster import ClusterState, Dirty
from antrea_proxy.kubernetes.events import Added, Deleted, Event, Listed, Listing, Modified, Undecodable
from antrea_proxy.kubernetes.kinds import ENDPOINT_SLICES, KINDS, SERVICES
from antrea_proxy.kubernetes.objects import EndpointSlice


class Feed:
    """Applies events to a ClusterState.

    An object that cannot be decoded keeps its last good state: it is the source's status that tells of it.
    """

    def __init__(self, cluster: ClusterState) -> None:
        self._cluster = cluster
        self._listed: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether every kind has been listed once."""
        return len(self._listed) == len(KINDS)

    def apply(self, events: Iterable[Event[Any]]) -> Dirty:
        """Apply events of one kind in their order; return what became dirty."""
        dirty: list[Dirty] = []
        slices: list[EndpointSlice] = []
        for event in events:
            if isinstance(event, Added | Modified) and event.kind is ENDPOINT_SLICES:
                slices.append(event.object)
                continue
            dirty += (self._flush(slices), self._apply_one(event))
        return Dirty.together([*dirty, self._flush(slices)])

    def _flush(self, slices: list[EndpointSlice]) -> Dirty:
        """Apply gathered EndpointSlices together, of each the last state."""
        if not slices:
            return Dirty()
        latest = {item.metadata.namespaced_name: item for item in slices}
        slices.clear()
        return self._cluster.put_slices(list(latest.values()))

    def _apply_one(self, event: Event[Any]) -> Dirty:
        if isinstance(event, Listed):
            self._listed.add(event.kind.name)
            return self._list(event)
        if isinstance(event, Listing):
            return self._take_some(event)
        if isinstance(event, Undecodable):
            return Dirty()
        if isinstance(event, Deleted):
            return self._delete(event)
        if event.kind is SERVICES:
            return self._cluster.put_service(event.object)
        return self._cluster.put_node(event.object)

    def _list(self, listed: Listed[Any]) -> Dirty:
        kept = listed.told_before.union(item.name for item in listed.undecodable)
        if listed.kind is SERVICES:
            return self._cluster.list_services(listed.objects, kept=kept)
        if listed.kind is ENDPOINT_SLICES:
            return self._cluster.list_slices(listed.objects, kept=kept)
        return self._cluster.list_nodes(listed.objects, kept=kept)

    def _take_some(self, listing: Listing[Any]) -> Dirty:
        if listing.kind is SERVICES:
            return self._cluster.take_services(listing.objects)
        if listing.kind is ENDPOINT_SLICES:
            return self._cluster.take_slices(listing.objects)
        return self._cluster.take_nodes(listing.objects)

    def _delete(self, event: Deleted) -> Dirty:
        if event.kind is SERVICES:
            return self._cluster.remove_service(event.name)
        if event.kind is ENDPOINT_SLICES:
            return self._cluster.remove_slice(event.name)
        return self._cluster.remove_node(event.name.name)
