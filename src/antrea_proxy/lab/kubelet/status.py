"""The status that a kubelet reports of a Pod, from what its containers do. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class ContainerState:
    """One container as its worker sees it. Times are RFC 3339; `exit_code` None while it has not ended."""

    name: str
    image: str
    waiting: str = "ContainerCreating"
    message: str = ""
    started_at: str = ""
    finished_at: str = ""
    exit_code: int | None = None
    last: JsonObject | None = None
    restarts: int = 0
    ready: bool = False

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return bool(self.started_at) and self.exit_code is None and not self.waiting

    def lose(self) -> None:
        """Note that its process went with the Node, and that it is to be started again."""
        if self.started_at:
            self.exit_code = -9 if self.exit_code is None else self.exit_code
            self.last = self.terminated()
            self.restarts += 1
        self.waiting, self.message, self.ready = "ContainerCreating", "", False
        self.started_at = self.finished_at = ""
        self.exit_code = None

    def as_json(self, pod_uid: str) -> JsonObject:
        """Give the core/v1 ContainerStatus."""
        state: JsonObject
        if self.waiting:
            state = {"waiting": {"reason": self.waiting} | ({"message": self.message} if self.message else {})}
        elif self.exit_code is None:
            state = {"running": {"startedAt": self.started_at}}
        else:
            state = {"terminated": self.terminated()}
        return {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "containerID": f"lab://{pod_uid}/{self.name}/{self.restarts}" if self.started_at else "",
            "ready": self.ready,
            "started": self.running,
            "restartCount": self.restarts,
            "state": state,
            "lastState": {"terminated": self.last} if self.last else {},
        }

    def terminated(self) -> JsonObject:
        """Give the core/v1 ContainerStateTerminated; a signal N is reported as exit code 128 + N."""
        code = self.exit_code or 0
        return {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Completed" if code == 0 else "Error",
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PodReport:
    """Everything that goes into a Pod's status."""

    uid: str
    host_ips: tuple[str, ...]
    pod_ips: tuple[str, ...]
    sandbox: bool
    restart_policy: str
    init: Sequence[ContainerState]
    containers: Sequence[ContainerState]
    failure: str = ""


def phase_of(report: PodReport) -> str:
    """Give the Pod's phase (API reference, PodStatus.phase)."""
    if report.failure:
        return "Failed"
    if report.restart_policy != "Always":
        codes = [container.exit_code for container in report.containers if not container.waiting]
        if len(codes) == len(report.containers) and None not in codes:
            failed = any(codes)
            if not failed or report.restart_policy == "Never":
                return "Failed" if failed else "Succeeded"
    if any(container.started_at for container in report.containers):
        return "Running"
    return "Pending"


def apply_report(status: JsonObject, report: PodReport, *, now: str) -> None:
    """Write a report into a Pod's status; a condition that keeps its value keeps its time."""
    phase = phase_of(report)
    status["phase"] = phase
    if report.failure:
        status["reason"], status["message"] = "Failed", report.failure
    if report.host_ips:
        status["hostIP"] = report.host_ips[0]
        status["hostIPs"] = [{"ip": address} for address in report.host_ips]
    if report.pod_ips:
        status["podIP"] = report.pod_ips[0]
        status["podIPs"] = [{"ip": address} for address in report.pod_ips]
    status.setdefault("startTime", now)
    status["containerStatuses"] = [container.as_json(report.uid) for container in report.containers]
    if report.init:
        status["initContainerStatuses"] = [container.as_json(report.uid) for container in report.init]
    initialized = all(container.exit_code == 0 for container in report.init)
    unready = [container.name for container in report.containers if not container.ready]
    done = phase in {"Succeeded", "Failed"}
    reason = "PodCompleted" if done else "ContainersNotReady"
    message = f"containers with unready status: [{' '.join(unready)}]"
    set_condition(status, "PodReadyToStartContainers", report.sandbox and not done, now=now)
    set_condition(status, "Initialized", initialized, now=now)
    for kind in ("Ready", "ContainersReady"):
        if unready or done:
            set_condition(status, kind, False, now=now, reason=reason, message="" if done else message)  # noqa: FBT003 - the condition's value
        else:
            set_condition(status, kind, True, now=now)  # noqa: FBT003 - the condition's value


def set_condition(
    status: JsonObject,
    kind: str,
    value: bool,  # noqa: FBT001 - the condition's value
    *,
    now: str,
    reason: str = "",
    message: str = "",
) -> None:
    """Set one condition; lastTransitionTime changes only with the value."""
    conditions = status.setdefault("conditions", [])
    text = "True" if value else "False"
    found = next((condition for condition in conditions if condition["type"] == kind), None)
    if found is None:
        found = {"type": kind, "status": "", "lastProbeTime": None, "lastTransitionTime": now}
        conditions.append(found)
    if found["status"] != text:
        found["status"] = text
        found["lastTransitionTime"] = now
    for key, words in (("reason", reason), ("message", message)):
        if words:
            found[key] = words
        else:
            found.pop(key, None)
