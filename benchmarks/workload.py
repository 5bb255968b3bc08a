"""A cluster of any size, as the API server would list it: JSON bytes with all the fields that real objects carry."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

import msgspec

NODE_NAME: Final = "node-0"
"""The Node whose agent is measured."""

ENDPOINTS_PER_NODE: Final = 1000
ENDPOINTS_PER_SLICE: Final = 1000
ENDPOINT_PORT: Final = 8080
_CREATED: Final = "2024-05-01T12:00:00Z"
_NODE_NETWORK: Final = IPv4Network("172.16.0.0/12")
_POD_NETWORK: Final = IPv4Network("10.128.0.0/9")
_SERVICE_NETWORK: Final = IPv4Network("10.64.0.0/10")
_POD_BITS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`services` Services of one port, each with `endpoints` endpoints, spread over the Nodes.

    A slice has a thousand endpoints at most, as of the API's own controller.
    """

    services: int
    endpoints: int
    least_nodes: int = 10

    @property
    def nodes(self) -> int:
        """One Node for a thousand endpoints, and never fewer than `least_nodes`."""
        return max(self.least_nodes, -(-self.services * self.endpoints // ENDPOINTS_PER_NODE))

    def lists(self) -> dict[str, bytes]:
        """Return the answers to the list requests, by path."""
        return {
            "/api/v1/services": _list("v1", "ServiceList", map(_service, range(self.services))),
            "/apis/discovery.k8s.io/v1/endpointslices": _list(
                "discovery.k8s.io/v1", "EndpointSliceList", self._slices()
            ),
            "/api/v1/nodes": _list("v1", "NodeList", map(_node, range(self.nodes))),
        }

    def _slices(self) -> Iterator[dict[str, Any]]:
        for number in range(self.services):
            whole = self.slice(number)
            endpoints = whole["endpoints"]
            for start in range(0, len(endpoints), ENDPOINTS_PER_SLICE):
                name = whole["metadata"]["name"] + (f"-{start}" if start else "")
                part = {"metadata": {**whole["metadata"], "name": name}}
                yield whole | part | {"endpoints": endpoints[start : start + ENDPOINTS_PER_SLICE]}

    def slice(self, number: int, *, version: int = 1, moved: int = 0) -> dict[str, Any]:
        """Return a Service's EndpointSlice; the last `moved` endpoints have addresses that no other Service uses."""
        numbers = [number * self.endpoints + place for place in range(self.endpoints)]
        unused = self.services * self.endpoints + (version - 1) * self.endpoints
        kept = len(numbers) - moved
        numbers[kept:] = [unused + place for place in range(moved)]
        return {
            "metadata": {
                **_metadata(f"service-{number}-x7k2p", f"service-{number}", version, "kube-controller-manager"),
                "generateName": f"service-{number}-",
                "ownerReferences": [
                    {
                        "apiVersion": "v1", "kind": "Service", "name": f"service-{number}",
                        "uid": _uid("service", number), "controller": True, "blockOwnerDeletion": True,
                    }
                ],
            },
            "addressType": "IPv4",
            "endpoints": [self._endpoint(endpoint) for endpoint in numbers],
            "ports": [{"name": "http", "protocol": "TCP", "port": ENDPOINT_PORT}],
        }  # fmt: skip

    def _endpoint(self, number: int) -> dict[str, Any]:
        node, place = number % self.nodes, number // self.nodes % ((1 << _POD_BITS) - 3)
        return {
            "addresses": [str(_POD_NETWORK[(node << _POD_BITS) + 2 + place])],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {
                "kind": "Pod", "namespace": "default", "name": f"pod-{number}", "uid": _uid("pod", number),
            },
            "nodeName": f"node-{node}",
            "zone": f"zone-{node % 3}",
        }  # fmt: skip


def node_address(number: int) -> IPv4Address:
    """Return a Node's InternalIP."""
    return _NODE_NETWORK[number + 1]


def watch_line(kind: str, item: dict[str, Any]) -> bytes:
    """Return one line of a watch, as `MODIFIED` with the object."""
    return msgspec.json.encode({"type": kind, "object": item}) + b"\n"


def _list(api_version: str, kind: str, items: Iterator[dict[str, Any]]) -> bytes:
    return msgspec.json.encode(
        {"kind": kind, "apiVersion": api_version, "metadata": {"resourceVersion": "1"}, "items": list(items)}
    )


def _uid(kind: str, number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}-{number}"))


def _metadata(name: str, service: str, version: int, manager: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "default",
        "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": _CREATED,
        "labels": {
            "app.kubernetes.io/name": service,
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        },
        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": _CREATED},
        "managedFields": [
            {
                "manager": manager, "operation": "Update", "apiVersion": "v1", "time": _CREATED,
                "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}},
                    "f:spec": {"f:internalTrafficPolicy": {}, "f:ports": {}, "f:selector": {}, "f:type": {}},
                },
            }
        ],
    }  # fmt: skip


def _service(number: int) -> dict[str, Any]:
    name, address = f"service-{number}", str(_SERVICE_NETWORK[number + 10])
    return {
        "metadata": {**_metadata(name, name, 1, "kubectl-client-side-apply"), "uid": _uid("service", number)},
        "spec": {
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
            "selector": {"app.kubernetes.io/name": name},
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }


def _node(number: int) -> dict[str, Any]:
    name = f"node-{number}"
    pods = str(IPv4Network((int(_POD_NETWORK[number << _POD_BITS]), 32 - _POD_BITS)))
    conditions: Sequence[str] = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    return {
        "metadata": {
            "name": name, "uid": _uid("node", number), "resourceVersion": "1", "creationTimestamp": _CREATED,
            "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{number % 3}"},
        },
        "spec": {"podCIDR": pods, "podCIDRs": [pods]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": str(node_address(number))}, {"type": "Hostname", "address": name},
            ],
            "conditions": [{"type": kind, "status": str(kind == "Ready")} for kind in conditions],
        },
    }  # fmt: skip
