"""What controllers need of a Pod, read once for each of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A Pod in short. `ports` are the named container ports: (name, protocol) -> number."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    owner: str
    node: str
    ips: tuple[str, ...]
    phase: str
    ready: bool
    ready_since: str
    terminating: bool
    hostname: str
    subdomain: str
    ports: Mapping[tuple[str, str], int]
    created: str

    @property
    def finished(self) -> bool:
        """Whether it has run to its end."""
        return self.phase in {"Succeeded", "Failed"}


def owner_of(pod: JsonObject) -> str:
    """Give the uid of the object that controls a Pod; empty where none does."""
    references = pod["metadata"].get("ownerReferences") or ()
    return next((str(reference["uid"]) for reference in references if reference.get("controller")), "")


def view_of(pod: JsonObject) -> PodView:
    """Read a Pod."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    ready = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    ports: dict[tuple[str, str], int] = {}
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name"):
                ports.setdefault((port["name"], port.get("protocol") or "TCP"), port["containerPort"])
    return PodView(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        labels=metadata.get("labels") or {},
        owner=owner_of(pod),
        node=spec.get("nodeName") or "",
        ips=tuple(entry["ip"] for entry in status.get("podIPs") or ()),
        phase=status.get("phase") or "Pending",
        ready=ready is not None and ready["status"] == "True",
        ready_since=ready["lastTransitionTime"] if ready is not None else "",
        terminating=bool(metadata.get("deletionTimestamp")),
        hostname=spec.get("hostname") or "",
        subdomain=spec.get("subdomain") or "",
        ports=ports,
        created=metadata.get("creationTimestamp") or "",
    )
