"""Nodes, Namespaces, Events and the small kinds as kubectl prints them.

Source: kubernetes `pkg/printers/internalversion`.
"""

from __future__ import annotations

from datetime import datetime

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.tables.durations import age
from antrea_proxy.lab.api_server.tables.formats import AGE, NAME, Cells, Column, TableFormat, created, wide

_ROLE_PREFIX = "node-role.kubernetes.io/"


def _node_status(obj: JsonObject) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = next((found.get("status") for found in conditions if found.get("type") == "Ready"), None)
    text = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return f"{text},SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else text


def _roles(obj: JsonObject) -> str:
    labels = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return ",".join(sorted(filter(None, roles))) or "<none>"


def _address(obj: JsonObject, kind: str) -> str:
    addresses = (obj.get("status") or {}).get("addresses") or ()
    return next((str(found.get("address", "")) for found in addresses if found.get("type") == kind), "<none>")


def _node_cells(obj: JsonObject, now: datetime) -> Cells:
    info = (obj.get("status") or {}).get("nodeInfo") or {}
    return [
        obj["metadata"]["name"],
        _node_status(obj),
        _roles(obj),
        created(obj, now),
        info.get("kubeletVersion", ""),
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


NODES_TABLE = TableFormat(
    columns=(
        NAME,
        Column(name="Status"),
        Column(name="Roles"),
        AGE,
        Column(name="Version"),
        wide("Internal-IP"),
        wide("External-IP"),
        wide("OS-Image"),
        wide("Kernel-Version"),
        wide("Container-Runtime"),
    ),
    cells=_node_cells,
)

NAMESPACES_TABLE = TableFormat(
    columns=(NAME, Column(name="Status"), AGE),
    cells=lambda obj, now: [
        obj["metadata"]["name"],
        (obj.get("status") or {}).get("phase", "Active"),
        created(obj, now),
    ],
)

CONFIG_MAPS_TABLE = TableFormat(
    columns=(NAME, Column(name="Data"), AGE),
    cells=lambda obj, now: [
        obj["metadata"]["name"],
        str(len(obj.get("data") or ()) + len(obj.get("binaryData") or ())),
        created(obj, now),
    ],
)

SECRETS_TABLE = TableFormat(
    columns=(NAME, Column(name="Type"), Column(name="Data"), AGE),
    cells=lambda obj, now: [
        obj["metadata"]["name"],
        obj.get("type", "Opaque"),
        str(len(obj.get("data") or ())),
        created(obj, now),
    ],
)

SERVICE_ACCOUNTS_TABLE = TableFormat(
    columns=(NAME, Column(name="Secrets"), AGE),
    cells=lambda obj, now: [obj["metadata"]["name"], str(len(obj.get("secrets") or ())), created(obj, now)],
)

LEASES_TABLE = TableFormat(
    columns=(NAME, Column(name="Holder"), AGE),
    cells=lambda obj, now: [
        obj["metadata"]["name"],
        (obj.get("spec") or {}).get("holderIdentity") or "",
        created(obj, now),
    ],
)


def _event_cells(obj: JsonObject, now: datetime) -> Cells:
    involved = obj.get("involvedObject") or {}
    series = obj.get("series") or {}
    source = obj.get("source") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    count = series.get("count") or obj.get("count") or 1
    component = source.get("component") or obj.get("reportingComponent") or ""
    last_seen = age(last, now)
    if count > 1 and first and last != first:
        last_seen = f"{last_seen} (x{count} over {age(first, now)})"
    kind = str(involved.get("kind", "")).lower()
    return [
        last_seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{involved.get('name', '')}",
        involved.get("fieldPath", ""),
        ", ".join(filter(None, (component, source.get("host", "")))),
        str(obj.get("message", "")).strip(),
        age(first, now),
        str(count),
        obj["metadata"]["name"],
    ]


EVENTS_TABLE = TableFormat(
    columns=(
        Column(name="Last Seen"),
        Column(name="Type"),
        Column(name="Reason"),
        Column(name="Object"),
        wide("Subobject"),
        wide("Source"),
        Column(name="Message"),
        wide("First Seen"),
        wide("Count"),
        Column(name="Name", format="name", priority=1),
    ),
    cells=_event_cells,
)


def _cluster_role_cells(obj: JsonObject, _now: datetime) -> Cells:
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]


CLUSTER_ROLES_TABLE = TableFormat(columns=(NAME, Column(name="Created At")), cells=_cluster_role_cells)


def _cluster_role_binding_cells(obj: JsonObject, now: datetime) -> Cells:
    role = obj.get("roleRef") or {}
    by_kind: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = subject.get("name", "")
        inside = f"{subject.get('namespace', '')}/{name}" if subject.get("kind") == "ServiceAccount" else name
        by_kind.setdefault(subject.get("kind", ""), []).append(inside)
    return [
        obj["metadata"]["name"],
        f"{role.get('kind', '')}/{role.get('name', '')}",
        created(obj, now),
        *(", ".join(by_kind[kind]) for kind in ("User", "Group", "ServiceAccount")),
    ]


CLUSTER_ROLE_BINDINGS_TABLE = TableFormat(
    columns=(NAME, Column(name="Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")),
    cells=_cluster_role_binding_cells,
)
