"""Rules of DaemonSets. Source: kubernetes `pkg/apis/apps/v1` SetDefaults_DaemonSet and ValidateDaemonSetSpec.

The lab keeps them and runs none of their Pods: its agents are processes of its own.
"""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import FieldError, JsonObject, invalid_value, not_supported
from antrea_proxy.lab.api_server.kinds.strategy import Strategy
from antrea_proxy.lab.api_server.kinds.workloads import (
    DEFAULT_REVISIONS,
    change_errors,
    default_template,
    is_zero,
    number_or_percent_errors,
    workload_errors,
)

_STRATEGIES = ("RollingUpdate", "OnDelete")
_COUNTS = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")


def _default(daemon_set: JsonObject) -> None:
    spec = daemon_set.setdefault("spec", {})
    default_template(spec)
    strategy = spec.get("updateStrategy") or {}
    spec["updateStrategy"] = strategy
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": 1, "maxSurge": 0, **(strategy.get("rollingUpdate") or {})}
    spec.setdefault("revisionHistoryLimit", DEFAULT_REVISIONS)
    daemon_set["status"] = dict.fromkeys(_COUNTS, 0) | (daemon_set.get("status") or {})


def _errors(daemon_set: JsonObject) -> list[FieldError]:
    errors = workload_errors(daemon_set)
    strategy = daemon_set["spec"]["updateStrategy"]
    if strategy["type"] not in _STRATEGIES:
        return [*errors, not_supported("spec.updateStrategy", strategy["type"], _STRATEGIES)]
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"]
        path = "spec.updateStrategy.rollingUpdate"
        for name in ("maxUnavailable", "maxSurge"):
            errors.extend(number_or_percent_errors(f"{path}.{name}", rolling[name]))
        if is_zero(rolling["maxUnavailable"]) and is_zero(rolling["maxSurge"]):
            detail = "cannot be 0 when maxSurge is 0"
            errors.append(invalid_value(f"{path}.maxUnavailable", rolling["maxUnavailable"], detail))
        elif not is_zero(rolling["maxUnavailable"]) and not is_zero(rolling["maxSurge"]):
            detail = "may not be set when maxUnavailable is non-zero"
            errors.append(invalid_value(f"{path}.maxSurge", rolling["maxSurge"], detail))
    return errors


def _prepare_create(daemon_set: JsonObject) -> None:
    daemon_set["status"] = dict.fromkeys(_COUNTS, 0)


def _prepare_update(new: JsonObject, old: JsonObject) -> None:
    new["status"] = old.get("status") or {}


DAEMON_SET_STRATEGY = Strategy(
    default=_default,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=_errors,
    validate_change=change_errors,
)
