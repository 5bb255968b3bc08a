"""Kinds that show the objects of another kind: events.k8s.io/v1 Events are the core/v1 Events in newer words.

Source: kubernetes `pkg/apis/events/v1` conversion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.resources import EVENTS, EVENTS_V1, Resource

_NEW_NAMES = {
    "message": "note",
    "involvedObject": "regarding",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_OLD_NAMES = {new: old for old, new in _NEW_NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A kind whose objects are kept as another kind's."""

    source: Resource
    show: Callable[[JsonObject], JsonObject]
    """From the kind that is kept to this one."""
    keep: Callable[[JsonObject], JsonObject]
    """From this kind to the one that is kept."""


def _renamed(obj: JsonObject, names: dict[str, str], resource: Resource) -> JsonObject:
    fields = {names.get(key, key): value for key, value in obj.items() if key not in {"kind", "apiVersion"}}
    return {"kind": resource.kind, "apiVersion": resource.api_version, **fields}


VIEWS = {
    EVENTS_V1: View(
        source=EVENTS,
        show=lambda obj: _renamed(obj, _NEW_NAMES, EVENTS_V1),
        keep=lambda obj: _renamed(obj, _OLD_NAMES, EVENTS),
    )
}
