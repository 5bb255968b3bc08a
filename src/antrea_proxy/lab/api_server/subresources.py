"""Subresources that are a view of the object: scale."""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import JsonObject, invalid, invalid_value
from antrea_proxy.lab.api_server.resources import Resource


def to_scale(obj: JsonObject) -> JsonObject:
    """Show a Deployment or ReplicaSet as autoscaling/v1 Scale."""
    metadata = obj["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: JsonObject = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    match_labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    if match_labels:
        status["selector"] = ",".join(f"{key}={value}" for key, value in sorted(match_labels.items()))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in shown if name in metadata},
        "spec": {"replicas": obj["spec"].get("replicas", 0)},
        "status": status,
    }


def with_scale(resource: Resource, obj: JsonObject, scale: JsonObject) -> JsonObject:
    """Give a copy of the object with the replicas of the Scale.

    Raises ApiError (422) where the number is not a whole number of at least 0.
    """
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 0:
        error = invalid_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid(resource, obj["metadata"]["name"], [error])
    metadata = dict(obj["metadata"])
    asked = (scale.get("metadata") or {}).get("resourceVersion")
    if asked:
        metadata["resourceVersion"] = asked
    return {**obj, "metadata": metadata, "spec": {**obj["spec"], "replicas": replicas}}
