"""Checks of Services. Source: kubernetes `pkg/apis/core/validation`, ValidateService and ValidateServiceUpdate."""

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
from antrea_proxy.lab.api_server.kinds.addresses import (
    IP_FAMILIES,
    address_errors,
    cidr_errors,
    parse_address,
    special_address_errors,
)
from antrea_proxy.lab.api_server.kinds.metadata import label_errors
from antrea_proxy.lab.api_server.kinds.names import dns_1035_label_errors, dns_subdomain_errors, qualified_name_errors
from antrea_proxy.lab.api_server.kinds.service_defaults import (
    HEADLESS,
    default_service,
    is_externally_accessible,
    needs_cluster_ip,
    needs_health_check,
    prepare_changed_service,
    prepare_new_service,
)
from antrea_proxy.lab.api_server.kinds.service_ports import node_port_errors, service_ports_errors
from antrea_proxy.lab.api_server.kinds.strategy import Strategy

LONGEST_AFFINITY_SECONDS = 86_400
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_POLICIES = ("Cluster", "Local")
_AFFINITIES = ("ClientIP", "None")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_DUAL = 2


def _service_errors(service: JsonObject) -> list[FieldError]:
    spec = service["spec"]
    errors = service_ports_errors(spec)
    errors.extend(label_errors("spec.selector", spec.get("selector")))
    kind = spec["type"]
    if kind not in _TYPES:
        errors.append(not_supported("spec.type", kind, _TYPES))
    errors.extend(_type_errors(spec))
    errors.extend(_affinity_errors(spec))
    errors.extend(_cluster_ip_errors(spec))
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        errors.extend(address_errors(path, address) or special_address_errors(path, address))
    errors.extend(_load_balancer_errors(spec))
    errors.extend(_traffic_errors(spec))
    errors.extend(_status_errors(service))
    return errors


def _type_errors(spec: JsonObject) -> list[FieldError]:
    kind = spec["type"]
    headless = spec.get("clusterIP") == HEADLESS
    if kind in {"NodePort", "LoadBalancer"} and headless:
        return [invalid_value("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    errors = [
        forbidden_field(f"spec.{name}", "may not be set for ExternalName services")
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(name)
    ]
    target = (spec.get("externalName") or "").removesuffix(".")
    if not target:
        errors.append(required("spec.externalName"))
    else:
        errors.extend(invalid_value("spec.externalName", target, text) for text in dns_subdomain_errors(target))
    return errors


def _affinity_errors(spec: JsonObject) -> list[FieldError]:
    affinity = spec["sessionAffinity"]
    if affinity not in _AFFINITIES:
        return [not_supported("spec.sessionAffinity", affinity, _AFFINITIES)]
    if affinity == "None":
        return []
    path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
    seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
    if 0 < seconds <= LONGEST_AFFINITY_SECONDS:
        return []
    return [invalid_value(path, seconds, f"must be greater than 0 and less than {LONGEST_AFFINITY_SECONDS}")]


def _cluster_ip_errors(spec: JsonObject) -> list[FieldError]:
    if spec["type"] == "ExternalName":
        return []
    errors: list[FieldError] = []
    address, addresses = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if addresses and not address:
        errors.append(invalid_value("spec.clusterIPs", addresses, "must be empty when `clusterIP` is not specified"))
    elif addresses and addresses[0] != address:
        errors.append(invalid_value("spec.clusterIPs", addresses, "first value must match `clusterIP`"))
    if len(addresses) > _DUAL:
        errors.append(invalid_value("spec.clusterIPs", addresses, "may only hold up to 2 values"))
    if HEADLESS in addresses[1:]:
        errors.append(invalid_value("spec.clusterIPs", addresses, "'None' must be the first and only value"))
    for index, item in enumerate(addresses):
        if item != HEADLESS:
            errors.extend(address_errors(f"spec.clusterIPs[{index}]", item))
    errors.extend(_family_errors(spec, addresses))
    return errors


def _family_errors(spec: JsonObject, addresses: list[str]) -> list[FieldError]:
    families = spec.get("ipFamilies") or []
    policy = spec.get("ipFamilyPolicy")
    errors: list[FieldError] = []
    for index, family in enumerate(families):
        path = f"spec.ipFamilies[{index}]"
        if family not in IP_FAMILIES:
            errors.append(not_supported(path, family, IP_FAMILIES))
        elif family in families[:index]:
            errors.append(duplicate(path, family))
    if policy is not None and policy not in _FAMILY_POLICIES:
        errors.append(not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES))
    if policy == "SingleStack":
        for name, values in (("clusterIPs", addresses), ("ipFamilies", families)):
            if len(values) > 1:
                detail = f"must be RequireDualStack or PreferDualStack when multiple {name} are specified"
                errors.append(invalid_value("spec.ipFamilyPolicy", policy, detail))
    errors.extend(_family_match_errors(addresses, families))
    return errors


def _family_match_errors(addresses: list[str], families: list[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    parsed = [parse_address(address) for address in addresses]
    versions = [f"IPv{found.version}" for found in parsed if found is not None]
    if len(versions) == _DUAL and len(set(versions)) == 1:
        detail = "may specify no more than one IP for each IP family"
        errors.append(invalid_value("spec.clusterIPs", addresses, detail))
    if len(versions) == len(addresses):
        for index, (version, family) in enumerate(zip(versions, families, strict=False)):
            if version != family:
                detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
                errors.append(invalid_value(f"spec.clusterIPs[{index}]", addresses[index], detail))
    return errors


def _load_balancer_errors(spec: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    balanced = spec["type"] == "LoadBalancer"
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges and not balanced:
        errors.append(forbidden_field("spec.LoadBalancerSourceRanges", _ONLY_LOAD_BALANCER))
    for index, text in enumerate(ranges):
        errors.extend(cidr_errors(f"spec.loadBalancerSourceRanges[{index}]", text.strip()))
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        errors.append(forbidden_field("spec.allocateLoadBalancerNodePorts", _ONLY_LOAD_BALANCER))
    if (chosen := spec.get("loadBalancerClass")) is not None:
        path = "spec.loadBalancerClass"
        if not balanced:
            errors.append(forbidden_field(path, _ONLY_LOAD_BALANCER))
        errors.extend(invalid_value(path, chosen, text) for text in qualified_name_errors(chosen))
    return errors


def _traffic_errors(spec: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    external = spec.get("externalTrafficPolicy")
    if not is_externally_accessible(spec):
        if external:
            detail = "may only be set for externally-accessible services"
            errors.append(invalid_value("spec.externalTrafficPolicy", external, detail))
    elif external not in _POLICIES:
        errors.append(not_supported("spec.externalTrafficPolicy", external, _POLICIES))
    if port := spec.get("healthCheckNodePort"):
        path = "spec.healthCheckNodePort"
        if needs_health_check(spec):
            errors.extend(node_port_errors(path, port))
        else:
            detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errors.append(invalid_value(path, port, detail))
    internal = spec.get("internalTrafficPolicy")
    if internal is not None and internal not in _POLICIES:
        errors.append(not_supported("spec.internalTrafficPolicy", internal, _POLICIES))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        errors.append(not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return errors


def _status_errors(service: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    path = "status.loadBalancer.ingress"
    listed = service["status"]["loadBalancer"].get("ingress") or ()
    if listed and service["spec"]["type"] != "LoadBalancer":
        detail = 'may only be used when `spec.type` is "LoadBalancer"'
        errors.append(FieldError(path, FieldErrorKind.FORBIDDEN, detail=detail))
    for index, ingress in enumerate(listed):
        here = f"{path}[{index}]"
        if ingress.get("ip"):
            errors.extend(address_errors(f"{here}.ip", ingress["ip"]))
            if ingress["ipMode"] not in {"VIP", "Proxy"}:
                errors.append(not_supported(f"{here}.ipMode", ingress["ipMode"], ("Proxy", "VIP")))
        elif ingress.get("ipMode"):
            errors.append(forbidden_field(f"{here}.ipMode", "may not be specified when `ip` is not set"))
        if name := ingress.get("hostname"):
            errors.extend(invalid_value(f"{here}.hostname", name, text) for text in dns_subdomain_errors(name))
            if parse_address(name) is not None:
                errors.append(invalid_value(f"{here}.hostname", name, "must be a DNS name, not an IP address"))
    return errors


def _change_errors(new: JsonObject, old: JsonObject) -> list[FieldError]:
    spec, before = new["spec"], old["spec"]
    errors: list[FieldError] = []
    if needs_cluster_ip(spec) and needs_cluster_ip(before):
        errors.extend(_address_change_errors(spec, before))
    if spec["type"] == before.get("type") == "LoadBalancer":
        chosen, was = spec.get("loadBalancerClass"), before.get("loadBalancerClass")
        if chosen != was:
            errors.append(invalid_value("spec.loadBalancerClass", chosen, "may not change once set"))
    return errors


def _address_change_errors(spec: JsonObject, before: JsonObject) -> list[FieldError]:
    errors: list[FieldError] = []
    addresses, old_addresses = spec.get("clusterIPs") or [], before.get("clusterIPs") or []
    # A second address may come (an upgrade to dual stack) and go; the first may do neither.
    for index, (address, was) in enumerate(zip(addresses, old_addresses, strict=False)):
        if address != was:
            errors.append(invalid_value(f"spec.clusterIPs[{index}]", addresses, "may not change once set"))
    if old_addresses and not addresses:
        errors.append(invalid_value("spec.clusterIPs[0]", addresses, "primary clusterIP can not be unset"))
    families, old_families = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    for index, (family, was) in enumerate(zip(families, old_families, strict=False)):
        if family != was:
            errors.append(invalid_value(f"spec.ipFamilies[{index}]", family, "may not change once set"))
    return errors


SERVICE_STRATEGY = Strategy(
    name_errors=dns_1035_label_errors,
    default=default_service,
    prepare_create=prepare_new_service,
    prepare_update=prepare_changed_service,
    validate=_service_errors,
    validate_change=_change_errors,
)
