"""Node objects, as the cloud and the kubelets would register them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from antrea_proxy import __version__
from antrea_proxy.lab.api_server.resources import NODES
from antrea_proxy.lab.api_server.store import Store

JsonObject = dict[str, Any]
MOST_PODS = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What is known of a Node when it joins."""

    name: str
    addresses: Sequence[str]
    pod_cidrs: Sequence[str]
    zone: str
    kernel: str
    machine: str


def node_object(facts: NodeFacts, *, now: str) -> JsonObject:
    """Give the Node, not ready yet."""
    room = {"cpu": "8", "memory": "16Gi", "pods": str(MOST_PODS)}
    return {
        "metadata": {
            "name": facts.name,
            "labels": {
                "kubernetes.io/hostname": facts.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(facts.machine, facts.machine),
                "topology.kubernetes.io/region": "lab",
                "topology.kubernetes.io/zone": facts.zone,
            },
        },
        "spec": {"podCIDR": facts.pod_cidrs[0], "podCIDRs": list(facts.pod_cidrs), "providerID": f"lab://{facts.name}"},
        "status": {
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in facts.addresses),
                {"type": "Hostname", "address": facts.name},
            ],
            "capacity": room,
            "allocatable": room,
            "conditions": [_ready(value="False", reason="KubeletNotReady", message="the agent starts", now=now)],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": "",
                "containerRuntimeVersion": f"antrea-proxy-lab://{__version__}",
                "kernelVersion": facts.kernel,
                "kubeProxyVersion": "",
                "kubeletVersion": "v1.32.0",
                "machineID": "",
                "operatingSystem": "linux",
                "osImage": "antrea-proxy lab",
                "systemUUID": "",
            },
        },
    }


def register(store: Store, facts: NodeFacts) -> None:
    """Create the Node."""
    now = store.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    obj = node_object(facts, now=now)
    store.create(NODES, obj)
    store.update(NODES, obj, subresource="status")


def set_ready(store: Store, name: str, *, ready: bool, message: str) -> None:
    """Write a Node's Ready condition, where it changes."""
    now = store.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    def change(node: JsonObject) -> None:
        conditions = node.setdefault("status", {}).setdefault("conditions", [])
        former = next((c for c in conditions if c["type"] == "Ready"), None)
        value, reason = ("True", "KubeletReady") if ready else ("False", "KubeletNotReady")
        if former is not None and former["status"] == value and former["message"] == message:
            return
        since = former["lastTransitionTime"] if former is not None and former["status"] == value else now
        conditions[:] = [c for c in conditions if c["type"] != "Ready"]
        conditions.append(_ready(value=value, reason=reason, message=message, now=now) | {"lastTransitionTime": since})

    store.modify(NODES, None, name, change, subresource="status")


def is_ready(node: JsonObject) -> bool:
    """Whether the Ready condition holds."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _ready(*, value: str, reason: str, message: str, now: str) -> JsonObject:
    return {
        "type": "Ready",
        "status": value,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
