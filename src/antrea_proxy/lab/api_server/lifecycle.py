"""What the server itself writes into metadata when an object is made, changed or about to go. Plain functions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from antrea_proxy.lab.api_server import resources
from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.resources import Resource

_GENERATED_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_GENERATED_LENGTH = 5
_LONGEST_GENERATED_BASE = 63 - _GENERATED_LENGTH
DEFAULT_POD_GRACE_SECONDS = 30


def timestamp(moment: datetime) -> str:
    """Print a moment as metav1.Time does: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generated_name(base: str) -> str:
    """Complete metadata.generateName by five random letters, as k8s.io/apiserver `pkg/storage/names` does."""
    letters = random.choices(_GENERATED_ALPHABET, k=_GENERATED_LENGTH)  # noqa: S311 - a name, not a secret
    return base[:_LONGEST_GENERATED_BASE] + "".join(letters)


def complete_new_metadata(resource: Resource, obj: JsonObject, *, now: datetime) -> None:
    """Write what only the server may say of a new object."""
    metadata = obj["metadata"]
    for name in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        metadata.pop(name, None)
    metadata.pop("managedFields", None)
    metadata["uid"] = str(uuid4())
    metadata["creationTimestamp"] = timestamp(now)
    if resource.has_generation:
        metadata["generation"] = 1


def carry_metadata_over(new: JsonObject, old: JsonObject) -> None:
    """Keep what no update may change."""
    metadata, before = new["metadata"], old["metadata"]
    for name in (
        "name",
        "namespace",
        "generateName",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
    ):
        if name in before:
            metadata[name] = before[name]
        else:
            metadata.pop(name, None)
    metadata.pop("selfLink", None)


def count_generation(resource: Resource, new: JsonObject, old: JsonObject) -> None:
    """Increase metadata.generation where what the user wants has changed."""
    if not resource.has_generation:
        return
    changed = _wanted(new) != _wanted(old)
    if resource is resources.DEPLOYMENTS:
        changed = changed or new["metadata"].get("annotations") != old["metadata"].get("annotations")
    if changed:
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _wanted(obj: JsonObject) -> JsonObject:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def grace_seconds(resource: Resource, obj: JsonObject, asked: int | None) -> int:
    """Tell how long an object stays after its deletion, in seconds; only Pods on a Node do.

    Source: the Pod strategy's CheckGracefulDelete in kubernetes `pkg/registry/core/pod`.
    """
    if resource is not resources.PODS:
        return 0
    spec = obj.get("spec") or {}
    finished = (obj.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    if not spec.get("nodeName") or finished:
        return 0
    period = spec.get("terminationGracePeriodSeconds", DEFAULT_POD_GRACE_SECONDS) if asked is None else asked
    return max(0, int(period))


def mark_deleted(obj: JsonObject, *, now: datetime, grace: int) -> bool:
    """Write deletionTimestamp and deletionGracePeriodSeconds; a later deletion may only shorten the period.

    Tells whether anything changed.
    """
    metadata = obj["metadata"]
    if "deletionTimestamp" in metadata:
        if grace >= metadata.get("deletionGracePeriodSeconds", 0):
            return False
        first = datetime.fromisoformat(metadata["deletionTimestamp"])
        begun = first - timedelta(seconds=metadata.get("deletionGracePeriodSeconds", 0))
        metadata["deletionTimestamp"] = timestamp(begun + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        return True
    metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
    metadata["deletionGracePeriodSeconds"] = grace
    if metadata.get("generation"):
        metadata["generation"] += 1
    return True


def is_going(obj: Mapping[str, JsonObject]) -> bool:
    """Tell whether the object is marked as deleted."""
    return "deletionTimestamp" in obj["metadata"]
