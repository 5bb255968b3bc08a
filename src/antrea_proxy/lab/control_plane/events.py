"""Kubernetes Events as the lab's components write them."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import uuid4

from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.resources import EVENTS, Resource
from antrea_proxy.lab.api_server.store import Store

JsonObject = dict[str, Any]
MOST_EVENTS = 2000


class EventRecorder:
    """Writes Events; one that repeats (same object, reason and message) only raises its count."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[tuple[str, str, str], tuple[str, str]] = {}

    def record(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        kind: str,
        reason: str,
        message: str,
        component: str,
        host: str = "",
    ) -> None:
        """Say what happened to an object; `kind` is Normal or Warning. Never fails: an Event may be lost."""
        metadata = obj["metadata"]
        now = self._store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        key = (metadata.get("uid", ""), reason, message)
        if key in self._names:
            namespace, name = self._names[key]
            with contextlib.suppress(ApiError):
                self._store.modify(EVENTS, namespace, name, lambda event: _again(event, now))
                return
        namespace = metadata.get("namespace") or "default"
        event: JsonObject = {
            "metadata": {"name": f"{metadata['name']}.{uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": {
                "kind": resource.kind,
                "apiVersion": resource.api_version,
                "name": metadata["name"],
                "uid": metadata.get("uid", ""),
                "resourceVersion": metadata.get("resourceVersion", ""),
            }
            | ({"namespace": namespace} if resource.namespaced else {}),
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": component} | ({"host": host} if host else {}),
            "reportingComponent": component,
            "reportingInstance": host,
        }
        # The namespace may be on its way out, where the API takes nothing new.
        with contextlib.suppress(ApiError):
            self._store.create(EVENTS, event)
            self._names[key] = (namespace, event["metadata"]["name"])
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._names) > MOST_EVENTS:
            key = next(iter(self._names))
            namespace, name = self._names.pop(key)
            with contextlib.suppress(ApiError):
                self._store.delete(EVENTS, namespace, name)


def _again(event: JsonObject, now: str) -> None:
    event["count"] = (event.get("count") or 1) + 1
    event["lastTimestamp"] = now
