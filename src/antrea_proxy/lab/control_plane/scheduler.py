"""Gives Pods a Node: ready, with room, selected by the Pod, and with the fewest of the Pod's siblings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import NODES, PODS
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.controller import Controller, Key
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.control_plane.nodes import MOST_PODS, is_ready
from antrea_proxy.lab.control_plane.pod_views import PodView, owner_of, view_of

JsonObject = dict[str, Any]


def why_not(pod: JsonObject, node: JsonObject, pods_there: int) -> str:
    """Say why a Pod cannot go to a Node; empty where it can."""
    spec = node.get("spec") or {}
    if not is_ready(node):
        return "node is not ready"
    if spec.get("unschedulable"):
        return "node is unschedulable"
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in spec.get("taints") or ():
        if taint.get("effect") != "PreferNoSchedule" and not any(_tolerates(t, taint) for t in tolerations):
            return f"node has untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    wanted: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return "node didn't match Pod's node affinity/selector"
    if pods_there >= MOST_PODS:
        return "Too many pods"
    return ""


def _tolerates(toleration: JsonObject, taint: JsonObject) -> bool:
    if toleration.get("effect") not in {None, "", taint.get("effect")}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", taint["key"]}
    same_key: bool = toleration.get("key") == taint["key"]
    return same_key and bool(toleration.get("value", "") == taint.get("value", ""))


def choose(pod: JsonObject, nodes: Sequence[JsonObject], others: Iterable[PodView]) -> tuple[str, str]:
    """Choose a Node; gives its name, or an empty name and why there is none, in the scheduler's words.

    Siblings (Pods of the same owner) are spread first, then all Pods, then the Nodes' order decides.
    """
    owner = owner_of(pod)
    siblings: Counter[str] = Counter()
    everybody: Counter[str] = Counter()
    for other in others:
        if other.node and not other.terminating and not other.finished:
            everybody[other.node] += 1
            siblings[other.node] += bool(owner) and other.owner == owner
    reasons: Counter[str] = Counter()
    fitting = []
    for order, node in enumerate(nodes):
        name = node["metadata"]["name"]
        reason = why_not(pod, node, everybody[name])
        if reason:
            reasons[reason] += 1
        else:
            fitting.append((siblings[name], everybody[name], order, name))
    if fitting:
        return min(fitting)[3], ""
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "no nodes"
    return "", f"0/{len(nodes)} nodes are available: {listed}."


class Scheduler:
    """Binds Pods as they appear, and those that found no place again when a Node changes."""

    def __init__(self, store: Store, events: EventRecorder) -> None:
        self._store = store
        self._events = events
        self._waiting: set[Key] = set()
        self._pods: dict[str, PodView] = {}
        self.controller = Controller("scheduler", self._reconcile)
        store.add_observer(PODS, self._pod_changed)
        store.add_observer(NODES, self._node_changed)

    def _pod_changed(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._pods.pop(event.record.uid, None)
            for waiting in [*self._waiting]:
                self.controller.enqueue(waiting)
            return
        self._pods[event.record.uid] = view_of(event.object)
        if event.type is EventType.ADDED:
            self.controller.enqueue(event.record.key)

    def _node_changed(self, _event: Event) -> None:
        for waiting in [*self._waiting]:
            self.controller.enqueue(waiting)

    def _reconcile(self, key: Key) -> None:
        self._waiting.discard(key)
        try:
            pod = self._store.get(PODS, *key)
        except ApiError:
            return
        if pod["metadata"].get("deletionTimestamp") or pod["spec"].get("nodeName"):
            return
        nodes, _ = self._store.list(NODES)
        node, problem = choose(pod, nodes, self._pods.values())
        now = self._store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        if not node:
            self._waiting.add(key)
            self._tell(pod, kind="Warning", reason="FailedScheduling", message=problem)
            condition = {"status": "False", "reason": "Unschedulable", "message": problem}
        else:
            bind(self._store, *key, node)
            self._tell(
                pod, kind="Normal", reason="Scheduled", message=f"Successfully assigned {key[0]}/{key[1]} to {node}"
            )
            condition = {"status": "True"}

        def change(found: JsonObject) -> None:
            conditions = found.setdefault("status", {}).setdefault("conditions", [])
            former = next((c for c in conditions if c["type"] == "PodScheduled"), None)
            if former is not None and former["status"] == condition["status"]:
                return
            conditions[:] = [c for c in conditions if c["type"] != "PodScheduled"]
            conditions.append({"type": "PodScheduled", "lastProbeTime": None, "lastTransitionTime": now} | condition)

        self._store.modify(PODS, *key, change, subresource="status")

    def _tell(self, pod: JsonObject, *, kind: str, reason: str, message: str) -> None:
        self._events.record(PODS, pod, kind=kind, reason=reason, message=message, component="default-scheduler")


def bind(store: Store, namespace: str, name: str, node: str) -> None:
    """Give a Pod its Node, as POST to its binding does."""

    def change(pod: JsonObject) -> None:
        pod["spec"]["nodeName"] = node

    store.modify(PODS, namespace, name, change)
