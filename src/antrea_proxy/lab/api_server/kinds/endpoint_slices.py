"""Rules of EndpointSlices. Source: kubernetes `pkg/apis/discovery/validation`."""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import (
    FieldError,
    JsonObject,
    duplicate,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from antrea_proxy.lab.api_server.kinds.addresses import (
    PROTOCOLS,
    family_address_errors,
    port_errors,
    special_address_errors,
)
from antrea_proxy.lab.api_server.kinds.metadata import label_errors
from antrea_proxy.lab.api_server.kinds.names import dns_label_errors, dns_subdomain_errors, qualified_name_errors
from antrea_proxy.lab.api_server.kinds.strategy import Strategy

MOST_ENDPOINTS = 1000
MOST_PORTS = 100
_MOST_ADDRESSES = 100
_MOST_HINTS = 8
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


def _default(slice_: JsonObject) -> None:
    for port in slice_.get("ports") or ():
        port.setdefault("name", "")
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    slice_.setdefault("endpoints", [])
    slice_["endpoints"] = slice_["endpoints"] or []
    slice_.setdefault("ports", [])


def _errors(slice_: JsonObject) -> list[FieldError]:
    kind = slice_.get("addressType") or ""
    errors: list[FieldError] = []
    if not kind:
        errors.append(required("addressType"))
    elif kind not in _ADDRESS_TYPES:
        errors.append(not_supported("addressType", kind, _ADDRESS_TYPES))
    endpoints = slice_["endpoints"]
    if len(endpoints) > MOST_ENDPOINTS:
        errors.append(too_many("endpoints", len(endpoints), MOST_ENDPOINTS))
    else:
        for index, endpoint in enumerate(endpoints):
            errors.extend(_endpoint_errors(f"endpoints[{index}]", endpoint, kind))
    errors.extend(_ports_errors(slice_.get("ports") or []))
    return errors


def _endpoint_errors(path: str, endpoint: JsonObject, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    addresses = endpoint.get("addresses") or []
    if not addresses:
        errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MOST_ADDRESSES:
        errors.append(too_many(f"{path}.addresses", len(addresses), _MOST_ADDRESSES))
    for index, address in enumerate(addresses):
        errors.extend(_address_errors(f"{path}.addresses[{index}]", address, kind))
    if node := endpoint.get("nodeName"):
        errors.extend(invalid_value(f"{path}.nodeName", node, text) for text in dns_subdomain_errors(node))
    if host := endpoint.get("hostname"):
        errors.extend(invalid_value(f"{path}.hostname", host, text) for text in dns_label_errors(host))
    errors.extend(label_errors(f"{path}.deprecatedTopology", endpoint.get("deprecatedTopology")))
    for name in ("forZones", "forNodes"):
        errors.extend(_hint_errors(f"{path}.hints.{name}", (endpoint.get("hints") or {}).get(name) or []))
    return errors


def _address_errors(path: str, address: str, kind: str) -> list[FieldError]:
    if kind == "FQDN":
        return [invalid_value(path, address, text) for text in dns_subdomain_errors(address.removesuffix("."))]
    if kind not in {"IPv4", "IPv6"}:
        return []
    return family_address_errors(path, address, kind) or special_address_errors(path, address)


def _hint_errors(path: str, hints: list[JsonObject]) -> list[FieldError]:
    if len(hints) > _MOST_HINTS:
        return [too_many(path, len(hints), _MOST_HINTS)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, hint in enumerate(hints):
        name = hint.get("name", "")
        errors.extend(invalid_value(f"{path}[{index}].name", name, text) for text in dns_subdomain_errors(name))
        if name in seen:
            errors.append(duplicate(f"{path}[{index}].name", name))
        seen.add(name)
    return errors


def _ports_errors(ports: list[JsonObject]) -> list[FieldError]:
    if len(ports) > MOST_PORTS:
        return [too_many("ports", len(ports), MOST_PORTS)]
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"ports[{index}]"
        name = port.get("name") or ""
        if name:
            errors.extend(invalid_value(f"{path}.name", name, text) for text in dns_label_errors(name))
        if name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
        if port["protocol"] not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", port["protocol"], PROTOCOLS))
        if port.get("port") is not None:
            errors.extend(port_errors(f"{path}.port", port["port"]))
        if application := port.get("appProtocol"):
            errors.extend(
                invalid_value(f"{path}.appProtocol", application, text) for text in qualified_name_errors(application)
            )
    return errors


def _change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    if new.get("addressType") == old.get("addressType"):
        return []
    return [invalid_value("addressType", new.get("addressType"), "field is immutable")]


ENDPOINT_SLICE_STRATEGY = Strategy(default=_default, validate=_errors, validate_change=_change_errors)
