"""Keeps the EndpointSlices of Services with a selector in step with Services, Pods and Nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import ENDPOINT_SLICES, NODES, PODS, SERVICES
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.controller import Controller, Key
from antrea_proxy.lab.control_plane.endpoint_slices import MANAGED_BY_LABEL, MANAGER, SERVICE_NAME_LABEL, reconcile
from antrea_proxy.lab.control_plane.pod_views import PodView, view_of
from antrea_proxy.lab.control_plane.trigger_times import TriggerTimes, annotate

JsonObject = dict[str, Any]
ZONE_LABEL = "topology.kubernetes.io/zone"


class EndpointSliceController:
    """Indexes Pods, selectors, zones and its own slices as the store tells of them; writes what `reconcile` says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pods: dict[str, dict[str, PodView]] = {}
        self._selectors: dict[str, dict[str, Mapping[str, str]]] = {}
        self._slices: dict[Key, dict[str, JsonObject]] = {}
        self._zones: dict[str, str] = {}
        self._trigger_times = TriggerTimes()
        self.controller = Controller("endpoint-slices", self._reconcile)
        store.add_observer(SERVICES, self._service_changed)
        store.add_observer(PODS, self._pod_changed)
        store.add_observer(NODES, self._node_changed)
        store.add_observer(ENDPOINT_SLICES, self._slice_changed)

    def _service_changed(self, event: Event) -> None:
        namespace, name = event.record.namespace, event.record.name
        selectors = self._selectors.setdefault(namespace, {})
        selectors.pop(name, None)
        if event.type is not EventType.DELETED:
            spec = event.object["spec"]
            if spec.get("selector") and spec.get("type") != "ExternalName":
                selectors[name] = spec["selector"]
            self.controller.enqueue((namespace, name))

    def _pod_changed(self, event: Event) -> None:
        namespace = event.record.namespace
        pods = self._pods.setdefault(namespace, {})
        before = pods.pop(event.record.uid, None)
        after = None
        if event.type is not EventType.DELETED:
            after = pods[event.record.uid] = view_of(event.object)
        if before == after:
            return
        for name, selector in self._selectors.get(namespace, {}).items():
            if any(pod is not None and _selects(selector, pod.labels) for pod in (before, after)):
                self.controller.enqueue((namespace, name))

    def _node_changed(self, event: Event) -> None:
        name = event.record.name
        before = self._zones.get(name, "")
        zone = "" if event.type is EventType.DELETED else event.record.labels.get(ZONE_LABEL, "")
        self._zones[name] = zone
        if zone != before:
            for namespace, selectors in self._selectors.items():
                for service in selectors:
                    self.controller.enqueue((namespace, service))

    def _slice_changed(self, event: Event) -> None:
        before = event.previous
        for record in (before, event.record):
            if record is not None and record.labels.get(MANAGED_BY_LABEL) == MANAGER:
                key = (record.namespace, record.labels.get(SERVICE_NAME_LABEL, ""))
                self._slices.setdefault(key, {}).pop(record.name, None)
                self.controller.enqueue(key)  # somebody may have written to a slice that is ours
        if event.type is not EventType.DELETED and event.record.labels.get(MANAGED_BY_LABEL) == MANAGER:
            key = (event.record.namespace, event.record.labels.get(SERVICE_NAME_LABEL, ""))
            self._slices.setdefault(key, {})[event.record.name] = event.object

    def _reconcile(self, key: Key) -> None:
        namespace, name = key
        slices = list(self._slices.get(key, {}).values())
        selector = self._selectors.get(namespace, {}).get(name)
        try:
            service = self._store.get(SERVICES, namespace, name)
        except ApiError:
            self._slices.pop(key, None)  # the owner reference takes the slices away
            self._trigger_times.forget(key)
            return
        if selector is None or service["metadata"].get("deletionTimestamp"):
            return
        pods = [pod for pod in self._pods.get(namespace, {}).values() if _selects(selector, pod.labels)]
        changes = reconcile(service, pods, self._zones, slices)
        triggered = self._trigger_times.next(key, service["metadata"]["creationTimestamp"], pods)
        for written in (*changes.create, *changes.update):
            annotate(written, triggered)
        for created in changes.create:
            self._store.create(ENDPOINT_SLICES, created)
        for updated in changes.update:
            self._store.update(ENDPOINT_SLICES, updated)
        for gone in changes.delete:
            self._store.delete(ENDPOINT_SLICES, namespace, gone)


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())
