"""Keeps as many Pods as a ReplicaSet asks for, as kube-controller-manager's replicaset controller does."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import PODS, REPLICA_SETS
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.controller import Controller, Key
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.control_plane.pod_views import PodView, view_of

JsonObject = dict[str, Any]
_PENDING = {"Pending": 0, "Unknown": 1}


def available_in(pod: PodView, minimum: int, now: datetime) -> float | None:
    """Give in how many seconds a Pod counts as available; None where it is not ready."""
    if not pod.ready or pod.terminating:
        return None
    if minimum == 0:
        return 0.0
    since = datetime.fromisoformat(pod.ready_since)
    return max(0.0, minimum - (now - since).total_seconds())


def to_delete(pods: Sequence[PodView], count: int) -> list[PodView]:
    """Choose the Pods that go first: unplaced, pending, unready, then where most of the set are, then the youngest.

    Source: kubernetes `pkg/controller`, ActivePodsWithRanks.
    """
    crowd = Counter(pod.node for pod in pods if pod.ready)

    def rank(pod: PodView) -> tuple[bool, int, bool, int, str, str]:
        return (bool(pod.node), _PENDING.get(pod.phase, 2), pod.ready, -crowd[pod.node], _later_first(pod), pod.name)

    chosen: list[PodView] = []
    left = list(pods)
    for _ in range(min(count, len(left))):
        first = min(left, key=rank)
        left.remove(first)
        chosen.append(first)
        crowd[first.node] -= first.ready
    return chosen


def _later_first(pod: PodView) -> str:
    # Reversed order of a text of digits: the complement of each.
    return "".join(chr(0x7F - ord(character)) for character in pod.created)


class ReplicaSetController:
    """Follows ReplicaSets and the Pods that they own."""

    def __init__(self, store: Store, events: EventRecorder) -> None:
        self._store = store
        self._events = events
        self._pods: dict[str, dict[str, PodView]] = {}
        self._owners: dict[str, Key] = {}
        self.controller = Controller("replica-sets", self._reconcile)
        store.add_observer(REPLICA_SETS, self._set_changed)
        store.add_observer(PODS, self._pod_changed)

    def pods_of(self, uid: str) -> Iterable[PodView]:
        """Give the Pods that an object owns."""
        return self._pods.get(uid, {}).values()

    def _set_changed(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._owners.pop(event.record.uid, None)
            return
        self._owners[event.record.uid] = event.record.key
        self.controller.enqueue(event.record.key)

    def _pod_changed(self, event: Event) -> None:
        view = view_of(event.object)
        if not view.owner:
            return
        pods = self._pods.setdefault(view.owner, {})
        if event.type is EventType.DELETED:
            pods.pop(view.uid, None)
            if not pods:
                del self._pods[view.owner]
        else:
            pods[view.uid] = view
        if view.owner in self._owners:
            self.controller.enqueue(self._owners[view.owner])

    def _reconcile(self, key: Key) -> float | None:
        try:
            found = self._store.get(REPLICA_SETS, *key)
        except ApiError:
            return None
        if found["metadata"].get("deletionTimestamp"):
            return None
        uid = found["metadata"]["uid"]
        active = [pod for pod in self.pods_of(uid) if not pod.terminating and not pod.finished]
        wanted = found["spec"]["replicas"]
        for _ in range(wanted - len(active)):
            self._create_pod(found)
        for pod in to_delete(active, len(active) - wanted):
            with contextlib.suppress(ApiError):
                self._store.delete(PODS, pod.namespace, pod.name)
            self._tell(found, "SuccessfulDelete", f"Deleted pod: {pod.name}")
        return self._write_status(key, found)

    def _create_pod(self, owner: JsonObject) -> None:
        metadata, template = owner["metadata"], owner["spec"]["template"]
        described = template.get("metadata") or {}
        pod = self._store.create(
            PODS,
            {
                "metadata": {
                    "generateName": f"{metadata['name']}-",
                    "namespace": metadata["namespace"],
                    "labels": described.get("labels") or {},
                    "annotations": described.get("annotations") or {},
                    "ownerReferences": [controller_reference(REPLICA_SETS.api_version, REPLICA_SETS.kind, metadata)],
                },
                "spec": template["spec"],
            },
        )
        self._tell(owner, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")

    def _write_status(self, key: Key, found: JsonObject) -> float | None:
        labels = (found["spec"]["template"].get("metadata") or {}).get("labels") or {}
        pods = [pod for pod in self.pods_of(found["metadata"]["uid"]) if not pod.terminating and not pod.finished]
        minimum = found["spec"].get("minReadySeconds") or 0
        waits = [wait for pod in pods if (wait := available_in(pod, minimum, self._store.now())) is not None]
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(labels.items() <= pod.labels.items() for pod in pods),
            "readyReplicas": sum(pod.ready for pod in pods),
            "availableReplicas": sum(wait == 0 for wait in waits),
            "observedGeneration": found["metadata"].get("generation", 1),
        }
        status = {name: value for name, value in status.items() if value or name in {"replicas", "observedGeneration"}}

        def change(obj: JsonObject) -> None:
            obj["status"] = status

        self._store.modify(REPLICA_SETS, *key, change, subresource="status")
        return min((wait for wait in waits if wait > 0), default=None)

    def _tell(self, owner: JsonObject, reason: str, message: str) -> None:
        self._events.record(
            REPLICA_SETS, owner, kind="Normal", reason=reason, message=message, component="replicaset-controller"
        )


def controller_reference(api_version: str, kind: str, metadata: JsonObject) -> JsonObject:
    """Give the owner reference to a controlling object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
