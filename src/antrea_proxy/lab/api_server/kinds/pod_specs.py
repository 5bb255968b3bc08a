"""Rules of Pod specs, alone and inside of templates.

Source: kubernetes `pkg/apis/core/v1` SetDefaults_PodSpec and `pkg/apis/core/validation` ValidatePodSpec, of which what
the lab makes use of is checked here.
"""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import (
    FieldError,
    JsonObject,
    duplicate,
    invalid_value,
    not_supported,
    required,
)
from antrea_proxy.lab.api_server.kinds.addresses import PROTOCOLS, port_errors
from antrea_proxy.lab.api_server.kinds.names import dns_label_errors, dns_subdomain_errors, port_name_errors
from antrea_proxy.lab.api_server.lifecycle import DEFAULT_POD_GRACE_SECONDS

_RESTART_POLICIES = ("Always", "Never", "OnFailure")
_DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
_CONTAINER_LISTS = ("initContainers", "containers")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def default_pod_spec(spec: JsonObject) -> None:
    """Fill in what the user left out."""
    spec.setdefault("containers", [])
    for name in _CONTAINER_LISTS:
        for container in spec.get(name) or ():
            _default_container(container, host_network=bool(spec.get("hostNetwork")))
    _fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": DEFAULT_POD_GRACE_SECONDS,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )


def _fill(fields: JsonObject, defaults: JsonObject) -> None:
    for name, value in defaults.items():
        if fields.get(name) in (None, ""):
            fields[name] = value.copy() if isinstance(value, dict) else value


def _default_container(container: JsonObject, *, host_network: bool) -> None:
    image = container.get("image") or ""
    tag = image.rpartition("/")[2].partition(":")[2]
    _fill(
        container,
        {
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always" if tag in {"", "latest"} and "@" not in image else "IfNotPresent",
        },
    )
    for port in container.get("ports") or ():
        _fill(port, {"protocol": "TCP"})
        if host_network and not port.get("hostPort"):
            port["hostPort"] = port.get("containerPort", 0)
    for name in _PROBES:
        if probe := container.get(name):
            _fill(probe, _PROBE_DEFAULTS)
            if (request := probe.get("httpGet")) is not None:
                _fill(request, {"path": "/", "scheme": "HTTP"})


def pod_spec_errors(spec: JsonObject, path: str) -> list[FieldError]:
    """Check a Pod's spec; `path` is where it stands, such as `spec` or `spec.template.spec`."""
    errors: list[FieldError] = []
    names: set[str] = set()
    if not spec.get("containers"):
        errors.append(required(f"{path}.containers"))
    for list_name in _CONTAINER_LISTS:
        for index, container in enumerate(spec.get(list_name) or ()):
            errors.extend(_container_errors(f"{path}.{list_name}[{index}]", container, names))
    if spec["restartPolicy"] not in _RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", spec["restartPolicy"], _RESTART_POLICIES))
    if spec["dnsPolicy"] not in _DNS_POLICIES:
        errors.append(not_supported(f"{path}.dnsPolicy", spec["dnsPolicy"], _DNS_POLICIES))
    if spec["terminationGracePeriodSeconds"] < 0:
        seconds = spec["terminationGracePeriodSeconds"]
        detail = "must be greater than or equal to 0"
        errors.append(invalid_value(f"{path}.terminationGracePeriodSeconds", seconds, detail))
    if node := spec.get("nodeName"):
        errors.extend(invalid_value(f"{path}.nodeName", node, text) for text in dns_subdomain_errors(node))
    if host := spec.get("hostname"):
        errors.extend(invalid_value(f"{path}.hostname", host, text) for text in dns_label_errors(host))
    return errors


def _container_errors(path: str, container: JsonObject, names: set[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    name = container.get("name") or ""
    if not name:
        errors.append(required(f"{path}.name"))
    else:
        errors.extend(invalid_value(f"{path}.name", name, text) for text in dns_label_errors(name))
        if name in names:
            errors.append(duplicate(f"{path}.name", name))
        names.add(name)
    image = container.get("image") or ""
    if not image:
        errors.append(required(f"{path}.image"))
    elif image != image.strip():
        errors.append(invalid_value(f"{path}.image", image, "must not have leading or trailing whitespace"))
    errors.extend(_container_port_errors(f"{path}.ports", container.get("ports") or []))
    errors.extend(
        required(f"{path}.env[{index}].name")
        for index, variable in enumerate(container.get("env") or ())
        if not variable.get("name")
    )
    for probe in _PROBES:
        errors.extend(_probe_errors(f"{path}.{probe}", container.get(probe)))
    return errors


def _container_port_errors(path: str, ports: list[JsonObject]) -> list[FieldError]:
    errors: list[FieldError] = []
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if name := port.get("name"):
            errors.extend(invalid_value(f"{here}.name", name, text) for text in port_name_errors(name))
            if name in names:
                errors.append(duplicate(f"{here}.name", name))
            names.add(name)
        if not port.get("containerPort"):
            errors.append(required(f"{here}.containerPort"))
        else:
            errors.extend(port_errors(f"{here}.containerPort", port["containerPort"]))
        if port.get("hostPort"):
            errors.extend(port_errors(f"{here}.hostPort", port["hostPort"]))
        if port["protocol"] not in PROTOCOLS:
            errors.append(not_supported(f"{here}.protocol", port["protocol"], PROTOCOLS))
    return errors


def _probe_errors(path: str, probe: JsonObject | None) -> list[FieldError]:
    if not probe:
        return []
    errors: list[FieldError] = []
    handlers = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if probe.get(name) is not None]
    if not handlers:
        errors.append(required(path, "must specify a handler type"))
    for name in handlers:
        if name in {"httpGet", "tcpSocket"}:
            port = probe[name].get("port")
            here = f"{path}.{name}.port"
            if isinstance(port, str):
                errors.extend(invalid_value(here, port, text) for text in port_name_errors(port))
            else:
                errors.extend(port_errors(here, port))
    errors.extend(
        invalid_value(f"{path}.{name}", value, "must be greater than or equal to 0")
        for name in (*_PROBE_DEFAULTS, "initialDelaySeconds")
        if (value := probe.get(name, 0)) < 0
    )
    return errors
