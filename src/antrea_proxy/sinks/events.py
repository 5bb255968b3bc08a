"""Kubernetes Events: what `kubectl describe` and `kubectl get events` show about an object."""

from __future__ import annotations

import datetime as dt
import enum
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import msgspec

from antrea_proxy.kubernetes.kinds import Kind, KubernetesObject
from antrea_proxy.sources.client import ApiClient, Request

COMPONENT: Final = "antrea-proxy"
NAME_MAX: Final = 253 - len(".") - 2 * 8
"""Characters of the object's name that fit into the Event's, a DNS subdomain of at most 253 (RFC 1123)."""
MESSAGE_MAX: Final = 1024
"""Characters: what the API server takes as the note of an Event (core validation)."""
NAMESPACE_OF_NODES: Final = "default"
"""Where Events about objects without a namespace belong (client-go's recorder does so)."""


class Severity(enum.StrEnum):
    """The type of an Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventText:
    """What is said: `reason` is one CamelCase word for programs, `message` a sentence for people."""

    severity: Severity
    reason: str
    message: str


async def create_event(
    client: ApiClient, kind: Kind[KubernetesObject], about: KubernetesObject, text: EventText, *, node: str
) -> None:
    """Write one Event about an object, reported by the agent on `node`. Repeating itself is the caller's to avoid.

    Raises the SourceError of sources.errors: RefusedError with code 403 without the right to create Events.
    """
    metadata = about.metadata
    namespace = metadata.namespace or NAMESPACE_OF_NODES
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata.name[:NAME_MAX]}.{secrets.token_hex(8)}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "type": text.severity.value,
        "reason": text.reason,
        "message": text.message[:MESSAGE_MAX],
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
    await client.fetch(Request(method="POST", path=path, body=msgspec.json.encode(event)))
