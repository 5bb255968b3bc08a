"""Rules of Deployments and ReplicaSets. Source: kubernetes `pkg/apis/apps/v1` and `pkg/apis/apps/validation`."""

from __future__ import annotations

import re

from antrea_proxy.lab.api_server.errors import (
    FieldError,
    JsonObject,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)
from antrea_proxy.lab.api_server.kinds.metadata import label_errors
from antrea_proxy.lab.api_server.kinds.pod_specs import default_pod_spec, pod_spec_errors
from antrea_proxy.lab.api_server.kinds.strategy import Strategy
from antrea_proxy.lab.api_server.selectors import LabelSelector

_OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")
_NOT_NEGATIVE = "must be greater than or equal to 0"
_STRATEGIES = ("Recreate", "RollingUpdate")
DEFAULT_PROGRESS_SECONDS = 600
DEFAULT_REVISIONS = 10
DEFAULT_SURGE = "25%"


def default_template(spec: JsonObject) -> None:
    """Fill in what the user left out of a workload's template."""
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def _default_replica_set(replica_set: JsonObject) -> None:
    spec = replica_set.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    default_template(spec)
    replica_set.setdefault("status", {}).setdefault("replicas", 0)


def _default_deployment(deployment: JsonObject) -> None:
    spec = deployment.setdefault("spec", {})
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    default_template(spec)
    strategy = spec.setdefault("strategy", {}) or {}
    spec["strategy"] = strategy
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = {"maxUnavailable": DEFAULT_SURGE, "maxSurge": DEFAULT_SURGE, **rolling}
    spec.setdefault("revisionHistoryLimit", DEFAULT_REVISIONS)
    spec.setdefault("progressDeadlineSeconds", DEFAULT_PROGRESS_SECONDS)
    deployment.setdefault("status", {})


def _selector_errors(spec: JsonObject) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    expressions = selector.get("matchExpressions") or []
    errors = label_errors("spec.selector.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(expressions):
        path = f"spec.selector.matchExpressions[{index}]"
        operator = expression.get("operator", "")
        if operator not in _OPERATORS:
            errors.append(invalid_value(f"{path}.operator", operator, "not a valid selector operator"))
        elif operator in {"In", "NotIn"} and not expression.get("values"):
            errors.append(required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in {"Exists", "DoesNotExist"} and expression.get("values"):
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(forbidden_field(f"{path}.values", detail))
    if not selector.get("matchLabels") and not expressions:
        errors.append(invalid_value("spec.selector", {}, "empty selector is invalid for deployment"))
    elif not errors:
        labels = spec["template"]["metadata"].get("labels") or {}
        if not LabelSelector.from_object(selector).matches(labels):
            detail = "`selector` does not match template `labels`"
            errors.append(invalid_value("spec.template.metadata.labels", labels, detail))
    return errors


def workload_errors(obj: JsonObject) -> list[FieldError]:
    """Check what all workloads have: counts, selector and template."""
    spec = obj["spec"]
    errors = [
        invalid_value(f"spec.{name}", value, _NOT_NEGATIVE)
        for name in ("replicas", "minReadySeconds", "revisionHistoryLimit")
        if (value := spec.get(name, 0)) < 0
    ]
    errors.extend(_selector_errors(spec))
    template = spec["template"]
    errors.extend(label_errors("spec.template.labels", template["metadata"].get("labels")))
    errors.extend(pod_spec_errors(template["spec"], "spec.template.spec"))
    policy = template["spec"]["restartPolicy"]
    if policy != "Always":
        errors.append(not_supported("spec.template.spec.restartPolicy", policy, ("Always",)))
    return errors


def number_or_percent_errors(path: str, value: object) -> list[FieldError]:
    """Check a number of Pods, or a share of them such as `25%`."""
    if isinstance(value, str):
        if re.fullmatch("[0-9]+%", value):
            return []
        detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%', or '93%')"
        return [invalid_value(path, value, detail)]
    return [invalid_value(path, value, _NOT_NEGATIVE)] if isinstance(value, int) and value < 0 else []


def is_zero(value: object) -> bool:
    """Whether a number of Pods, or a share of them, is none."""
    return value == 0 or (isinstance(value, str) and re.fullmatch("0+%", value) is not None)


def _deployment_errors(deployment: JsonObject) -> list[FieldError]:
    errors = workload_errors(deployment)
    spec = deployment["spec"]
    strategy = spec["strategy"]
    path = "spec.strategy.rollingUpdate"
    if strategy["type"] not in _STRATEGIES:
        errors.append(not_supported("spec.strategy.type", strategy["type"], _STRATEGIES))
    elif strategy["type"] == "Recreate":
        if strategy.get("rollingUpdate") is not None:
            errors.append(forbidden_field(path, "may not be specified when strategy `type` is 'Recreate'"))
    else:
        rolling = strategy["rollingUpdate"]
        for name in ("maxUnavailable", "maxSurge"):
            errors.extend(number_or_percent_errors(f"{path}.{name}", rolling[name]))
        if is_zero(rolling["maxUnavailable"]) and is_zero(rolling["maxSurge"]):
            value, detail = rolling["maxUnavailable"], "may not be 0 when `maxSurge` is 0"
            errors.append(invalid_value(f"{path}.maxUnavailable", value, detail))
    deadline = spec["progressDeadlineSeconds"]
    if deadline <= spec.get("minReadySeconds", 0):
        errors.append(invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return errors


def _prepare_create(obj: JsonObject) -> None:
    obj["status"] = {}


def _prepare_update(new: JsonObject, old: JsonObject) -> None:
    new["status"] = old.get("status") or {}


def change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    """Check what may not change: the selector."""
    if new["spec"].get("selector") == old["spec"].get("selector"):
        return []
    return [invalid_value("spec.selector", new["spec"].get("selector"), "field is immutable")]


DEPLOYMENT_STRATEGY = Strategy(
    default=_default_deployment,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=_deployment_errors,
    validate_change=change_errors,
)
REPLICA_SET_STRATEGY = Strategy(
    default=_default_replica_set,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=workload_errors,
    validate_change=change_errors,
)
