"""Deployments, DaemonSets and ReplicaSets as kubectl prints them. Source: kubernetes `pkg/printers/internalversion`."""

from __future__ import annotations

from datetime import datetime

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.tables.formats import (
    AGE,
    NAME,
    Cells,
    Column,
    TableFormat,
    containers,
    created,
    label_selector,
    wide,
)

_TEMPLATE_COLUMNS = (wide("Containers"), wide("Images"), wide("Selector"))


def _deployment_cells(obj: JsonObject, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    names, images = containers(spec.get("template"))
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj, now),
        names,
        images,
        label_selector(spec.get("selector")),
    ]


DEPLOYMENTS_TABLE = TableFormat(
    columns=(
        NAME,
        Column(name="Ready"),
        Column(name="Up-to-date", type="integer"),
        Column(name="Available", type="integer"),
        AGE,
        *_TEMPLATE_COLUMNS,
    ),
    cells=_deployment_cells,
)


def _replica_set_cells(obj: JsonObject, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    names, images = containers(spec.get("template"))
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj, now),
        names,
        images,
        label_selector(spec.get("selector")),
    ]


REPLICA_SETS_TABLE = TableFormat(
    columns=(
        NAME,
        Column(name="Desired", type="integer"),
        Column(name="Current", type="integer"),
        Column(name="Ready", type="integer"),
        AGE,
        *_TEMPLATE_COLUMNS,
    ),
    cells=_replica_set_cells,
)


def _daemon_set_cells(obj: JsonObject, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    template = spec.get("template") or {}
    names, images = containers(template)
    on = (template.get("spec") or {}).get("nodeSelector") or {}
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        ",".join(f"{key}={value}" for key, value in sorted(on.items())) or "<none>",
        created(obj, now),
        names,
        images,
        label_selector(spec.get("selector")),
    ]


DAEMON_SETS_TABLE = TableFormat(
    columns=(
        NAME,
        Column(name="Desired", type="integer"),
        Column(name="Current", type="integer"),
        Column(name="Ready", type="integer"),
        Column(name="Up-to-date", type="integer"),
        Column(name="Available", type="integer"),
        Column(name="Node Selector"),
        AGE,
        *_TEMPLATE_COLUMNS,
    ),
    cells=_daemon_set_cells,
)
