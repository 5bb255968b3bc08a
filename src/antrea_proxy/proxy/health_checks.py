"""What load balancers in front of the cluster are told about this Node: its endpoints, and whether it is to go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.columns import Condition, joined
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import Node, Service
from antrea_proxy.proxy.selection import ServiceSelection

LONGEST_PENDING_S: Final = 60.0
"""An update that is not in force after so many seconds makes the proxy unhealthy (as in kube-proxy)."""

AUTOSCALER_TAINT: Final = "ToBeDeletedByClusterAutoscaler"
"""The taint of a Node that the cluster autoscaler is about to remove (KEP 3836)."""

_FAMILIES: Final = (4, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """What a Service's healthCheckNodePort, `port`, answers. `local_endpoints` are the ready ones on this Node."""

    service: NamespacedName
    port: int
    local_endpoints: int


def health_check(
    cluster: ClusterState, name: NamespacedName, *, node_name: str, selection: ServiceSelection
) -> HealthCheck | None:
    """Return what the Service's healthCheckNodePort answers on a Node; None where it is to have none.

    It is for load balancers that must send to Nodes with endpoints alone: type LoadBalancer, and externalTrafficPolicy
    Local. An endpoint of both families counts once.
    """
    service = cluster.services.get(name)
    if service is None or not _has_health_check(service) or selection.why_left_alone(service) is not None:
        return None
    here = cluster.node_numbers.known(node_name)
    return HealthCheck(
        service=name,
        port=service.spec.health_check_node_port,
        local_endpoints=max(_ready_here(cluster, name, family, here) for family in _FAMILIES),
    )


def is_healthy(pending_since: float | None, now: float) -> bool:
    """Whether the proxy keeps up: no update has been pending for over a minute. Times are Unix times in seconds."""
    return pending_since is None or now - pending_since <= LONGEST_PENDING_S


def is_eligible(node: Node | None) -> bool:
    """Whether new connections may be sent to this Node: it is not being deleted (KEP 3836).

    A Node that is not known counts as eligible: nobody has said otherwise.
    """
    if node is None:
        return True
    leaving = any(taint.key == AUTOSCALER_TAINT for taint in node.spec.taints)
    return node.metadata.deletion_timestamp is None and not leaving


def _has_health_check(service: Service) -> bool:
    spec = service.spec
    return (
        spec.type == "LoadBalancer"
        and spec.external_traffic_policy == "Local"
        and 0 < spec.health_check_node_port < 1 << 16
    )


def _ready_here(cluster: ClusterState, name: NamespacedName, family: int, here: int) -> int:
    """Count the distinct addresses of one family that are ready on the Node with the number `here`."""
    rows = joined(item.rows for item in cluster.slices_of(name) if item.family == family)
    ready = (rows["conditions"] & Condition.READY) != 0
    return len(np.unique(rows["address"][ready & (rows["node"] == here) & (here >= 0)]))
