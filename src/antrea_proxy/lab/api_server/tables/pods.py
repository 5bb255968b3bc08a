"""Pods as kubectl prints them. Source: kubernetes `pkg/printers/internalversion`, printPod."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.tables.durations import age
from antrea_proxy.lab.api_server.tables.formats import AGE, NAME, Cells, Column, TableFormat, created, wide


def _waiting_or_terminated(status: JsonObject) -> str:
    """Say why a container does not run; empty where it does or nothing is known."""
    state = status.get("state") or {}
    if reason := (state.get("waiting") or {}).get("reason"):
        return str(reason)
    terminated = state.get("terminated")
    if terminated is None:
        return ""
    if terminated.get("reason"):
        return str(terminated["reason"])
    signal = terminated.get("signal", 0)
    return f"Signal:{signal}" if signal else f"ExitCode:{terminated.get('exitCode', 0)}"


def _init_reason(obj: JsonObject) -> str:
    """Say how far the init containers have come; empty where they are done."""
    total = len(obj["spec"].get("initContainers") or ())
    for index, status in enumerate(obj.get("status", {}).get("initContainerStatuses") or ()):
        terminated = (status.get("state") or {}).get("terminated")
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        reason = _waiting_or_terminated(status)
        return f"Init:{reason}" if reason and reason != "PodInitializing" else f"Init:{index}/{total}"
    return ""


def _condition(status: JsonObject, kind: str) -> Any:  # noqa: ANN401 - a part of the object
    return next((found for found in status.get("conditions") or () if found.get("type") == kind), None)


def _reason(obj: JsonObject) -> str:
    status = obj.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    if initializing := _init_reason(obj):
        reason = initializing
    else:
        running = False
        for container in reversed(status.get("containerStatuses") or ()):
            if why := _waiting_or_terminated(container):
                reason = why
            elif container.get("ready") and (container.get("state") or {}).get("running") is not None:
                running = True
        if reason == "Completed" and running:
            ready = _condition(status, "Ready")
            reason = "Running" if ready and ready.get("status") == "True" else "NotReady"
    if "deletionTimestamp" in obj["metadata"]:
        if status.get("reason") == "NodeLost":
            return "Unknown"
        if status.get("phase") not in {"Succeeded", "Failed"}:
            return "Terminating"
    return reason


def _restarts(obj: JsonObject, now: datetime) -> str:
    statuses = (obj.get("status") or {}).get("containerStatuses") or ()
    count = sum(status.get("restartCount", 0) for status in statuses)
    ends = [((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for status in statuses]
    last = max((end for end in ends if end), default=None)
    return f"{count} ({age(last, now)} ago)" if count and last else str(count)


def _readiness_gates(obj: JsonObject) -> str:
    gates = obj["spec"].get("readinessGates") or ()
    if not gates:
        return "<none>"
    found = [_condition(obj.get("status") or {}, gate.get("conditionType", "")) for gate in gates]
    true = sum(1 for condition in found if condition and condition.get("status") == "True")
    return f"{true}/{len(gates)}"


def _cells(obj: JsonObject, now: datetime) -> Cells:
    status = obj.get("status") or {}
    statuses = status.get("containerStatuses") or ()
    ready = sum(1 for found in statuses if found.get("ready") and (found.get("state") or {}).get("running") is not None)
    addresses = status.get("podIPs") or ()
    return [
        obj["metadata"]["name"],
        f"{ready}/{len(obj['spec'].get('containers') or ())}",
        _reason(obj),
        _restarts(obj, now),
        created(obj, now),
        addresses[0].get("ip") if addresses else status.get("podIP") or "<none>",
        obj["spec"].get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _readiness_gates(obj),
    ]


PODS_TABLE = TableFormat(
    columns=(
        NAME,
        Column(name="Ready"),
        Column(name="Status"),
        Column(name="Restarts"),
        AGE,
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ),
    cells=_cells,
)
