"""Rolls Deployments out by ReplicaSets, as kube-controller-manager's deployment controller does."""

from __future__ import annotations

import contextlib
from typing import Any

from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import DEPLOYMENTS, REPLICA_SETS
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.controller import Controller, Key
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.control_plane.replica_sets import controller_reference
from antrea_proxy.lab.control_plane.rollouts import (
    HASH_LABEL,
    SetState,
    next_sizes,
    surge_and_unavailable,
    template_hash,
)

JsonObject = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = frozenset({REVISION, DESIRED, MOST, "kubectl.kubernetes.io/last-applied-configuration"})


class DeploymentController:
    """Follows Deployments and the ReplicaSets that they own."""

    def __init__(self, store: Store, events: EventRecorder) -> None:
        self._store = store
        self._events = events
        self._owned: dict[str, set[Key]] = {}
        self._owners: dict[str, Key] = {}
        self.controller = Controller("deployments", self._reconcile)
        store.add_observer(DEPLOYMENTS, self._deployment_changed)
        store.add_observer(REPLICA_SETS, self._set_changed)

    def _deployment_changed(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._owners.pop(event.record.uid, None)
            return
        self._owners[event.record.uid] = event.record.key
        self.controller.enqueue(event.record.key)

    def _set_changed(self, event: Event) -> None:
        for owner in event.record.owners:
            owned = self._owned.setdefault(owner, set())
            if event.type is EventType.DELETED:
                owned.discard(event.record.key)
                if not owned:
                    del self._owned[owner]
            else:
                owned.add(event.record.key)
            if owner in self._owners:
                self.controller.enqueue(self._owners[owner])

    def _reconcile(self, key: Key) -> None:
        try:
            deployment = self._store.get(DEPLOYMENTS, *key)
        except ApiError:
            return
        if deployment["metadata"].get("deletionTimestamp"):
            return
        owned = [self._store.get(REPLICA_SETS, *place) for place in self._owned.get(deployment["metadata"]["uid"], ())]
        owned.sort(key=_revision)
        wanted_hash = template_hash(deployment["spec"]["template"])
        new = next((one for one in owned if one["metadata"]["labels"].get(HASH_LABEL) == wanted_hash), None)
        old = [one for one in owned if one is not new]
        if deployment["spec"].get("paused"):
            self._scale_proportionally(deployment, owned)
        else:
            new = self._ensure_new(deployment, new, old, wanted_hash)
            sizes = next_sizes(deployment["spec"], _state(new), [_state(one) for one in old])
            for one in (new, *old):
                if one["metadata"]["name"] in sizes:
                    self._scale(deployment, one, sizes[one["metadata"]["name"]])
            self._forget_old(deployment, old)
        self._write_status(key, deployment, new, owned if new in owned or new is None else [*owned, new])

    def _ensure_new(
        self, deployment: JsonObject, new: JsonObject | None, old: list[JsonObject], wanted_hash: str
    ) -> JsonObject:
        metadata, spec = deployment["metadata"], deployment["spec"]
        highest = max((_revision(one) for one in old), default=0)
        revision = highest + 1 if new is None or _revision(new) <= highest else _revision(new)
        surge, _ = surge_and_unavailable(spec.get("strategy") or {}, spec["replicas"])
        annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _NOT_COPIED}
        annotations |= {REVISION: str(revision), DESIRED: str(spec["replicas"]), MOST: str(spec["replicas"] + surge)}
        minimum = spec.get("minReadySeconds") or 0
        if new is None:
            new = self._create_set(deployment, wanted_hash, annotations, minimum)
        elif (new["metadata"].get("annotations") or {}) != annotations or new["spec"].get(
            "minReadySeconds", 0
        ) != minimum:

            def change(one: JsonObject) -> None:
                one["metadata"]["annotations"] = annotations
                if minimum or "minReadySeconds" in one["spec"]:
                    one["spec"]["minReadySeconds"] = minimum

            new = self._store.modify(REPLICA_SETS, new["metadata"]["namespace"], new["metadata"]["name"], change)
        if (metadata.get("annotations") or {}).get(REVISION) != str(revision):

            def note(one: JsonObject) -> None:
                one["metadata"].setdefault("annotations", {})[REVISION] = str(revision)

            self._store.modify(DEPLOYMENTS, metadata["namespace"], metadata["name"], note)
        return new

    def _create_set(
        self, deployment: JsonObject, wanted_hash: str, annotations: dict[str, str], minimum: int
    ) -> JsonObject:
        metadata, spec = deployment["metadata"], deployment["spec"]
        template = spec["template"]
        labels = {**((template.get("metadata") or {}).get("labels") or {}), HASH_LABEL: wanted_hash}
        selector = {
            **spec["selector"],
            "matchLabels": {**(spec["selector"].get("matchLabels") or {}), HASH_LABEL: wanted_hash},
        }
        return self._store.create(
            REPLICA_SETS,
            {
                "metadata": {
                    "name": f"{metadata['name']}-{wanted_hash}",
                    "namespace": metadata["namespace"],
                    "labels": labels,
                    "annotations": annotations,
                    "ownerReferences": [controller_reference(DEPLOYMENTS.api_version, DEPLOYMENTS.kind, metadata)],
                },
                "spec": {
                    "replicas": 0,
                    "selector": selector,
                    "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
                }
                | ({"minReadySeconds": minimum} if minimum else {}),
            },
        )

    def _scale(self, deployment: JsonObject, one: JsonObject, size: int) -> None:
        before, name = one["spec"]["replicas"], one["metadata"]["name"]
        if size == before:
            return

        def change(found: JsonObject) -> None:
            found["spec"]["replicas"] = size

        self._store.modify(REPLICA_SETS, one["metadata"]["namespace"], name, change)
        direction = "up" if size > before else "down"
        self._events.record(
            DEPLOYMENTS,
            deployment,
            kind="Normal",
            reason="ScalingReplicaSet",
            message=f"Scaled {direction} replica set {name} from {before} to {size}",
            component="deployment-controller",
        )

    def _scale_proportionally(self, deployment: JsonObject, owned: list[JsonObject]) -> None:
        """While paused only the total follows spec.replicas; the newest set that runs takes the difference."""
        running = [one for one in owned if one["spec"]["replicas"]] or owned[-1:]
        if running:
            others = sum(one["spec"]["replicas"] for one in owned if one is not running[-1])
            self._scale(deployment, running[-1], max(0, deployment["spec"]["replicas"] - others))

    def _forget_old(self, deployment: JsonObject, old: list[JsonObject]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        idle = [one for one in old if not one["spec"]["replicas"] and not (one.get("status") or {}).get("replicas")]
        for one in idle[: max(0, len(idle) - limit)]:
            with contextlib.suppress(ApiError):
                self._store.delete(REPLICA_SETS, one["metadata"]["namespace"], one["metadata"]["name"])

    def _write_status(self, key: Key, deployment: JsonObject, new: JsonObject | None, owned: list[JsonObject]) -> None:
        spec = deployment["spec"]

        def total(name: str, sets: list[JsonObject]) -> int:
            return sum((one.get("status") or {}).get(name, 0) for one in sets)

        available = total("availableReplicas", owned)
        updated = total("replicas", [new] if new is not None else [])
        _, unavailable = surge_and_unavailable(spec.get("strategy") or {}, spec["replicas"])
        counts = {
            "observedGeneration": deployment["metadata"].get("generation", 1),
            "replicas": total("replicas", owned),
            "updatedReplicas": updated,
            "readyReplicas": total("readyReplicas", owned),
            "availableReplicas": available,
            "unavailableReplicas": max(0, max(spec["replicas"], total("replicas", owned)) - available),
        }
        enough = available >= spec["replicas"] - unavailable
        complete = updated == spec["replicas"] == available == counts["replicas"]
        set_name = new["metadata"]["name"] if new is not None else ""
        conditions = [
            ("Available", enough, *_AVAILABLE[enough]),
            (
                "Progressing",
                True,
                "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated",
                f'ReplicaSet "{set_name}" has successfully progressed.'
                if complete
                else f'ReplicaSet "{set_name}" is progressing.',
            ),
        ]
        now = self._store.now().strftime("%Y-%m-%dT%H:%M:%SZ")

        def change(found: JsonObject) -> None:
            status = found.get("status") or {}
            former = {condition["type"]: condition for condition in status.get("conditions") or ()}
            found["status"] = {name: value for name, value in counts.items() if value}
            found["status"]["conditions"] = [
                _condition(former.get(kind), kind, value=value, reason=reason, message=message, now=now)
                for kind, value, reason, message in conditions
            ]

        self._store.modify(DEPLOYMENTS, *key, change, subresource="status")


_AVAILABLE = {
    True: ("MinimumReplicasAvailable", "Deployment has minimum availability."),
    False: ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
}


def _condition(former: JsonObject | None, kind: str, *, value: bool, reason: str, message: str, now: str) -> JsonObject:
    status = "True" if value else "False"
    if former is not None and (former["status"], former["reason"], former["message"]) == (status, reason, message):
        return former
    since = former["lastTransitionTime"] if former is not None and former["status"] == status else now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": now,
        "lastTransitionTime": since,
    }


def _revision(one: JsonObject) -> int:
    text = (one["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _state(one: JsonObject) -> SetState:
    status = one.get("status") or {}
    return SetState(
        name=one["metadata"]["name"],
        wanted=one["spec"]["replicas"],
        replicas=status.get("replicas", 0),
        available=status.get("availableReplicas", 0),
    )
