"""Tables: the columns that `kubectl get` prints, which the server computes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from antrea_proxy.lab.api_server import resources
from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.tables import cluster, pods, services, workloads
from antrea_proxy.lab.api_server.tables.formats import TableFormat

_FORMATS: dict[Resource, TableFormat] = {
    resources.CLUSTER_ROLES: cluster.CLUSTER_ROLES_TABLE,
    resources.CLUSTER_ROLE_BINDINGS: cluster.CLUSTER_ROLE_BINDINGS_TABLE,
    resources.CONFIG_MAPS: cluster.CONFIG_MAPS_TABLE,
    resources.DAEMON_SETS: workloads.DAEMON_SETS_TABLE,
    resources.DEPLOYMENTS: workloads.DEPLOYMENTS_TABLE,
    resources.ENDPOINTS: services.ENDPOINTS_TABLE,
    resources.ENDPOINT_SLICES: services.ENDPOINT_SLICES_TABLE,
    resources.EVENTS: cluster.EVENTS_TABLE,
    resources.EVENTS_V1: cluster.EVENTS_TABLE,
    resources.LEASES: cluster.LEASES_TABLE,
    resources.NAMESPACES: cluster.NAMESPACES_TABLE,
    resources.NODES: cluster.NODES_TABLE,
    resources.PODS: pods.PODS_TABLE,
    resources.REPLICA_SETS: workloads.REPLICA_SETS_TABLE,
    resources.SECRETS: cluster.SECRETS_TABLE,
    resources.SERVICES: services.SERVICES_TABLE,
    resources.SERVICE_ACCOUNTS: cluster.SERVICE_ACCOUNTS_TABLE,
}


def partial_metadata(obj: JsonObject) -> JsonObject:
    """Show only an object's metadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def table(
    resource: Resource,
    objects: Iterable[JsonObject],
    *,
    now: datetime,
    metadata: JsonObject,
    version: str = "v1",
    include_object: str = "Metadata",
) -> JsonObject:
    """Give a metav1.Table; each row carries its object as `include_object` says: Metadata, Object or None."""
    chosen = _FORMATS[resource]
    rows = []
    for obj in objects:
        row: JsonObject = {"cells": chosen.cells(obj, now)}
        if include_object == "Object":
            row["object"] = obj
        elif include_object != "None":
            row["object"] = partial_metadata(obj)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": metadata,
        "columnDefinitions": [column.to_object() for column in chosen.columns],
        "rows": rows,
    }
