"""Objects and a clock for tests of the lab's API server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

JsonObject = dict[str, Any]
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.moment += timedelta(seconds=seconds)


def config_map(name: str = "settings", **data: str) -> JsonObject:
    """Make a ConfigMap."""
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def service(name: str = "web", **spec: Any) -> JsonObject:  # noqa: ANN401 - any JSON value
    """Make a Service of one port, with further fields of its spec."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], **spec},
    }


def pod(name: str = "web-1", *, node: str | None = "node-1", **metadata: object) -> JsonObject:
    """Make a Pod of one container."""
    spec: JsonObject = {"containers": [{"name": "web", "image": "web:1"}]}
    if node is not None:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "namespace": "default", **metadata}, "spec": spec}


def deployment(name: str = "web", replicas: int = 3, **metadata: object) -> JsonObject:
    """Make a Deployment."""
    return {
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
    }


def replica_set(name: str = "web-abc", **metadata: object) -> JsonObject:
    """Make a ReplicaSet."""
    found = deployment(name)
    found["metadata"].update(metadata)
    found["spec"]["selector"] = {"matchLabels": {"app": name}}
    return found


def owned_by(owner: JsonObject, **more: object) -> list[JsonObject]:
    """Make the ownerReferences of a dependent."""
    metadata = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }
    return [{**reference, **more}]


def endpoint_slice(name: str = "web-1", *addresses: str, **fields: object) -> JsonObject:
    """Make an IPv4 EndpointSlice with one endpoint for each address."""
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": [{"addresses": [address]} for address in addresses],
        **fields,
    }
