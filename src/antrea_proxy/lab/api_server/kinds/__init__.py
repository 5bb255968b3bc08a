"""The rules of each kind: what is filled in, what is reset, what is refused. Plain functions of plain objects."""

from __future__ import annotations

from antrea_proxy.lab.api_server import resources
from antrea_proxy.lab.api_server.kinds import daemon_sets, others, rbac, workloads
from antrea_proxy.lab.api_server.kinds.endpoint_slices import ENDPOINT_SLICE_STRATEGY
from antrea_proxy.lab.api_server.kinds.pods import POD_STRATEGY
from antrea_proxy.lab.api_server.kinds.services import SERVICE_STRATEGY
from antrea_proxy.lab.api_server.kinds.strategy import Strategy
from antrea_proxy.lab.api_server.resources import Resource

_PLAIN = Strategy()
_STRATEGIES: dict[Resource, Strategy] = {
    resources.CONFIG_MAPS: others.CONFIG_MAP_STRATEGY,
    resources.CLUSTER_ROLES: rbac.CLUSTER_ROLE_STRATEGY,
    resources.CLUSTER_ROLE_BINDINGS: rbac.CLUSTER_ROLE_BINDING_STRATEGY,
    resources.DAEMON_SETS: daemon_sets.DAEMON_SET_STRATEGY,
    resources.DEPLOYMENTS: workloads.DEPLOYMENT_STRATEGY,
    resources.ENDPOINT_SLICES: ENDPOINT_SLICE_STRATEGY,
    resources.EVENTS: others.EVENT_STRATEGY,
    resources.LEASES: others.LEASE_STRATEGY,
    resources.NAMESPACES: others.NAMESPACE_STRATEGY,
    resources.NODES: others.NODE_STRATEGY,
    resources.PODS: POD_STRATEGY,
    resources.REPLICA_SETS: workloads.REPLICA_SET_STRATEGY,
    resources.SECRETS: others.SECRET_STRATEGY,
    resources.SERVICES: SERVICE_STRATEGY,
}


def strategy_of(resource: Resource) -> Strategy:
    """Give the rules of a kind."""
    return _STRATEGIES.get(resource, _PLAIN)
