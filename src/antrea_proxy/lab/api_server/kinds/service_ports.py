"""Checks of a Service's ports. Source: kubernetes `pkg/apis/core/validation`, validateServicePort."""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import (
    FieldError,
    FieldErrorKind,
    JsonObject,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
)
from antrea_proxy.lab.api_server.kinds.addresses import PROTOCOLS, port_errors
from antrea_proxy.lab.api_server.kinds.names import dns_label_errors, port_name_errors, qualified_name_errors
from antrea_proxy.lab.api_server.kinds.service_defaults import HEADLESS

NODE_PORTS = range(30_000, 32_768)
_KUBELET_PORT = 10250


def node_port_errors(path: str, value: object) -> list[FieldError]:
    """Check a port on Nodes against the range of the cluster."""
    if value in NODE_PORTS:
        return []
    allowed = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
    detail = f"provided port is not in the valid range. The range of valid ports is {allowed}"
    return [invalid_value(path, value, detail)]


def service_ports_errors(spec: JsonObject) -> list[FieldError]:
    """Check spec.ports."""
    ports = spec.get("ports") or []
    kind = spec.get("type", "ClusterIP")
    errors: list[FieldError] = []
    if not ports and spec.get("clusterIP") != HEADLESS and kind != "ExternalName":
        errors.append(required("spec.ports"))
    names: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        errors.extend(_name_errors(path, port, names, needed=len(ports) > 1))
        errors.extend(_number_errors(path, port))
        if kind == "LoadBalancer" and port.get("port") == _KUBELET_PORT:
            detail = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
            errors.append(invalid_value(f"{path}.port", _KUBELET_PORT, detail))
        errors.extend(_node_port_field_errors(path, port, kind))
    errors.extend(_repetition_errors(ports))
    return errors


def _name_errors(path: str, port: JsonObject, names: set[str], *, needed: bool) -> list[FieldError]:
    name = port.get("name") or ""
    if not name:
        return [required(f"{path}.name")] if needed else []
    errors = [invalid_value(f"{path}.name", name, text) for text in dns_label_errors(name)]
    if name in names:
        errors.append(duplicate(f"{path}.name", name))
    names.add(name)
    return errors


def _number_errors(path: str, port: JsonObject) -> list[FieldError]:
    errors = port_errors(f"{path}.port", port.get("port", 0))
    protocol = port.get("protocol")
    if not protocol:
        errors.append(required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    target = port.get("targetPort")
    if isinstance(target, str):
        errors.extend(invalid_value(f"{path}.targetPort", target, text) for text in port_name_errors(target))
    else:
        errors.extend(port_errors(f"{path}.targetPort", target))
    if application := port.get("appProtocol"):
        errors.extend(
            invalid_value(f"{path}.appProtocol", application, text) for text in qualified_name_errors(application)
        )
    return errors


def _node_port_field_errors(path: str, port: JsonObject, kind: str) -> list[FieldError]:
    if not (node_port := port.get("nodePort")):
        return []
    if kind in {"ClusterIP", "ExternalName"}:
        return [forbidden_field(f"{path}.nodePort", f"may not be used when `type` is '{kind}'")]
    return node_port_errors(f"{path}.nodePort", node_port)


def _repetition_errors(ports: list[JsonObject]) -> list[FieldError]:
    errors: list[FieldError] = []
    node_ports: set[tuple[object, object]] = set()
    numbers: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        protocol = port.get("protocol")
        if node_port := port.get("nodePort"):
            if (protocol, node_port) in node_ports:
                errors.append(duplicate(f"{path}.nodePort", node_port))
            node_ports.add((protocol, node_port))
        key = (protocol, port.get("port"))
        if key in numbers:
            shown = {"protocol": protocol, "port": port.get("port")}
            errors.append(FieldError(path, FieldErrorKind.DUPLICATE, shown))
        numbers.add(key)
    return errors
