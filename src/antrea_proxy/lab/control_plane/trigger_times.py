"""When what EndpointSlices tell happened: what proxies measure their latency from.

Source: kubernetes `staging/src/k8s.io/endpointslice/trigger_time_tracker.go`. Times are metav1.Time's, of whole seconds
in UTC, so that their texts are in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from antrea_proxy.lab.control_plane.controller import Key
from antrea_proxy.lab.control_plane.pod_views import PodView

JsonObject = dict[str, Any]
ANNOTATION: Final = "endpoints.kubernetes.io/last-change-trigger-time"


@dataclass(slots=True)
class TriggerTimes:
    """Remembers, for each Service, since when its Pods are as ready as they were when its slices were written."""

    _pods: dict[Key, dict[str, str]] = field(default_factory=dict)

    def next(self, key: Key, created: str, pods: Iterable[PodView]) -> str:
        """Give the earliest of what happened since the last call, empty where nothing did.

        For a Service that is new that is its creation. Pods without addresses stand in no slice: what befalls them is
        told when they have one.
        """
        before = self._pods.get(key)
        self._pods[key] = now = {pod.name: pod.ready_since for pod in pods if pod.ips and pod.ready_since}
        if before is None:
            return created
        return min((since for name, since in now.items() if since > before.get(name, "")), default="")

    def forget(self, key: Key) -> None:
        """Note that a Service is no more."""
        self._pods.pop(key, None)


def annotate(endpoint_slice: JsonObject, triggered: str) -> None:
    """Write the time onto a slice, or take an earlier one off where nothing happened since."""
    annotations = {**(endpoint_slice["metadata"].get("annotations") or {}), ANNOTATION: triggered}
    if not triggered:
        del annotations[ANNOTATION]
    endpoint_slice["metadata"]["annotations"] = annotations
