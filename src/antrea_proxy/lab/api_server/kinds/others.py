"""Rules of the small kinds: Namespaces, Nodes, ConfigMaps, Secrets, Events, Leases.

Source: kubernetes `pkg/apis/core/validation` and the strategies of `pkg/registry/core`.
"""

from __future__ import annotations

from base64 import b64encode

from antrea_proxy.lab.api_server.errors import FieldError, JsonObject, forbidden_field, invalid_value, too_long
from antrea_proxy.lab.api_server.kinds.addresses import cidr_errors
from antrea_proxy.lab.api_server.kinds.names import config_key_errors, dns_label_errors
from antrea_proxy.lab.api_server.kinds.strategy import Strategy

LARGEST_DATA = 1024 * 1024
"""Bytes of a ConfigMap's or Secret's values together."""
_NAME_LABEL = "kubernetes.io/metadata.name"
_MOST_POD_CIDRS = 2


def _keep_status(new: JsonObject, old: JsonObject) -> None:
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)


def _default_namespace(namespace: JsonObject) -> None:
    namespace["metadata"].setdefault("labels", {})[_NAME_LABEL] = namespace["metadata"].get("name", "")
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])


def _prepare_new_namespace(namespace: JsonObject) -> None:
    namespace["status"] = {"phase": "Active"}


def _keep_namespace(new: JsonObject, old: JsonObject) -> None:
    _keep_status(new, old)
    new["spec"] = old["spec"]


NAMESPACE_STRATEGY = Strategy(
    name_errors=dns_label_errors,
    default=_default_namespace,
    prepare_create=_prepare_new_namespace,
    prepare_update=_keep_namespace,
)


def _default_node(node: JsonObject) -> None:
    spec = node.setdefault("spec", {})
    if spec.get("podCIDR") and not spec.get("podCIDRs"):
        spec["podCIDRs"] = [spec["podCIDR"]]
    elif spec.get("podCIDRs"):
        spec["podCIDR"] = spec["podCIDRs"][0]
    node.setdefault("status", {})


def _node_errors(node: JsonObject) -> list[FieldError]:
    ranges = node["spec"].get("podCIDRs") or []
    errors = [error for index, text in enumerate(ranges) for error in cidr_errors(f"spec.podCIDRs[{index}]", text)]
    families = {":" in text for text in ranges}
    if len(ranges) > _MOST_POD_CIDRS or (len(ranges) == _MOST_POD_CIDRS and len(families) == 1):
        detail = "may specify no more than one CIDR for each IP family"
        errors.append(invalid_value("spec.podCIDRs", ranges, detail))
    return errors


def _node_change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    before = old["spec"].get("podCIDRs") or []
    if before and new["spec"].get("podCIDRs") != before:
        detail = 'node updates may not change podCIDR except from "" to valid'
        return [forbidden_field("spec.podCIDRs", detail)]
    return []


NODE_STRATEGY = Strategy(
    default=_default_node,
    prepare_update=_keep_status,
    validate=_node_errors,
    validate_change=_node_change_errors,
)


def _data_errors(obj: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    size = 0
    plain = obj.get("data") or {}
    binary = obj.get("binaryData") or {}
    for name, values in (("data", plain), ("binaryData", binary)):
        for key, value in values.items():
            errors.extend(invalid_value(f"{name}[{key}]", key, text) for text in config_key_errors(key))
            size += len((value or "").encode())
    errors.extend(
        invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData") for key in plain if key in binary
    )
    if size > LARGEST_DATA:
        errors.append(too_long("data", LARGEST_DATA))
    return errors


def _data_change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    if old.get("immutable"):
        detail = "field is immutable when `immutable` is set"
        if not new.get("immutable"):
            errors.append(forbidden_field("immutable", detail))
        errors.extend(
            forbidden_field(name, detail)
            for name in ("data", "binaryData")
            if (new.get(name) or {}) != (old.get(name) or {})
        )
    if new.get("type") != old.get("type"):
        errors.append(invalid_value("type", new.get("type"), "field is immutable"))
    return errors


CONFIG_MAP_STRATEGY = Strategy(validate=_data_errors, validate_change=_data_change_errors)


def _default_secret(secret: JsonObject) -> None:
    if not secret.get("type"):
        secret["type"] = "Opaque"
    for key, value in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[key] = b64encode(value.encode()).decode()


SECRET_STRATEGY = Strategy(default=_default_secret, validate=_data_errors, validate_change=_data_change_errors)


def _event_errors(event: JsonObject) -> list[FieldError]:
    namespace = (event.get("involvedObject") or {}).get("namespace") or "default"
    # Events about objects outside of namespaces are kept in the namespace default.
    if namespace == event["metadata"]["namespace"]:
        return []
    return [invalid_value("involvedObject.namespace", namespace, "does not match event.namespace")]


EVENT_STRATEGY = Strategy(validate=_event_errors)


def _lease_errors(lease: JsonObject) -> list[FieldError]:
    seconds = (lease.get("spec") or {}).get("leaseDurationSeconds")
    if seconds is None or seconds > 0:
        return []
    return [invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0")]


LEASE_STRATEGY = Strategy(validate=_lease_errors)
