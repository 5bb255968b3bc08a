"""Rules of Pods. Source: kubernetes `pkg/registry/core/pod` and ValidatePodUpdate of `pkg/apis/core/validation`."""

from __future__ import annotations

from copy import deepcopy

from antrea_proxy.lab.api_server.errors import FieldError, JsonObject, forbidden_field
from antrea_proxy.lab.api_server.kinds.pod_specs import default_pod_spec, pod_spec_errors
from antrea_proxy.lab.api_server.kinds.strategy import Strategy

_UPDATE_REFUSED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def _default(pod: JsonObject) -> None:
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    # What admission plugins of a cluster add.
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("enableServiceLinks", True)


def _prepare_create(pod: JsonObject) -> None:
    pod["status"] = {"phase": "Pending", "qosClass": _qos_class(pod.get("spec") or {})}


def _qos_class(spec: JsonObject) -> str:
    resources = [container.get("resources") or {} for container in spec.get("containers") or ()]
    if not any(found.get("requests") or found.get("limits") for found in resources):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(found.get("limits") or ())
        and (found.get("requests") or found["limits"]) == found["limits"]
        for found in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _prepare_update(new: JsonObject, old: JsonObject) -> None:
    new["status"] = old.get("status") or {}


def _fixed_part(pod: JsonObject, *, node: str | None) -> JsonObject:
    spec: JsonObject = deepcopy(pod["spec"])
    for name in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"):
        spec.pop(name, None)
    for name in ("containers", "initContainers"):
        for container in spec.get(name) or ():
            container.pop("image", None)
            container.pop("imagePullPolicy", None)
    if node is None:
        spec.pop("nodeName", None)
    return spec


def _change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    # A Pod without a Node may be given one: here an update does what a Binding does.
    node = old["spec"].get("nodeName") or None
    if _fixed_part(new, node=node) == _fixed_part(old, node=node):
        return []
    return [forbidden_field("spec", _UPDATE_REFUSED)]


POD_STRATEGY = Strategy(
    default=_default,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=lambda pod: pod_spec_errors(pod["spec"], "spec"),
    validate_change=_change_errors,
)
