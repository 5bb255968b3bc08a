"""What the API fills in, drops and keeps of a Service.

Source: kubernetes `pkg/apis/core/v1` SetDefaults_Service, `pkg/registry/core/service` patchAllocatedValues and
dropTypeDependentFields.
"""

from __future__ import annotations

from antrea_proxy.lab.api_server.errors import JsonObject

DEFAULT_AFFINITY_SECONDS = 10_800
HEADLESS = "None"


def is_externally_accessible(spec: JsonObject) -> bool:
    """Tell whether clients outside of the cluster may reach the Service."""
    kind = spec.get("type", "ClusterIP")
    return kind in {"NodePort", "LoadBalancer"} or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_cluster_ip(spec: JsonObject) -> bool:
    """Tell whether the Service has an address of its own (or says None)."""
    return spec.get("type", "ClusterIP") in {"ClusterIP", "NodePort", "LoadBalancer"}


def needs_node_port(spec: JsonObject) -> bool:
    """Tell whether the Service is reached on Nodes."""
    kind = spec.get("type", "ClusterIP")
    return kind == "NodePort" or (kind == "LoadBalancer" and bool(spec.get("allocateLoadBalancerNodePorts", True)))


def needs_health_check(spec: JsonObject) -> bool:
    """Tell whether the Service has a healthCheckNodePort."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def default_service(service: JsonObject) -> None:
    """Fill in what the user left out."""
    spec: JsonObject = service.setdefault("spec", {})
    spec["type"] = spec.get("type") or "ClusterIP"
    _default_ports(spec)
    _default_affinity(spec)
    _default_policies(spec)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    status: JsonObject = service.setdefault("status", {})
    balancer: JsonObject = status.setdefault("loadBalancer", {})
    for ingress in balancer.get("ingress") or ():
        if ingress.get("ip") and not ingress.get("ipMode"):
            ingress["ipMode"] = "VIP"


def _default_ports(spec: JsonObject) -> None:
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, "", 0):
            port["targetPort"] = port.get("port", 0)


def _default_affinity(spec: JsonObject) -> None:
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if config.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": DEFAULT_AFFINITY_SECONDS}}


def _default_policies(spec: JsonObject) -> None:
    if is_externally_accessible(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if needs_cluster_ip(spec) and not spec.get("internalTrafficPolicy"):
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def prepare_new_service(service: JsonObject) -> None:
    """Take away what only controllers may say."""
    service["status"] = {"loadBalancer": {}}


def prepare_changed_service(new: JsonObject, old: JsonObject) -> None:
    """Keep what was allocated, and drop it where the new type has no use for it."""
    new["status"] = old.get("status") or {"loadBalancer": {}}
    spec, before = new.setdefault("spec", {}), old["spec"]
    _follow_cluster_ip(spec, before)
    _keep_allocated(spec, before)
    _drop_what_the_type_lost(spec, before)
    if spec.get("type") != "LoadBalancer":
        new["status"] = {**new["status"], "loadBalancer": {}}


def _follow_cluster_ip(spec: JsonObject, before: JsonObject) -> None:
    """Let clusterIPs follow clusterIP, for users who know only the older field."""
    same_list = spec.get("clusterIPs") == before.get("clusterIPs")
    address, old_address = spec.get("clusterIP"), before.get("clusterIP")
    if address == old_address or not same_list or not spec.get("clusterIPs"):
        return
    if not address:
        spec.pop("clusterIPs")
    else:
        spec["clusterIPs"] = [address, *spec["clusterIPs"][1:]]


def _keep_allocated(spec: JsonObject, before: JsonObject) -> None:
    if needs_cluster_ip(spec) and needs_cluster_ip(before):
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP") and before.get("clusterIPs"):
            spec["clusterIPs"] = list(before["clusterIPs"])
        for name in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    if needs_node_port(spec) and needs_node_port(before):
        used = {port.get("nodePort") for port in spec.get("ports") or ()}
        known = {port.get("name", ""): port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            known_port = known.get(port.get("name", ""))
            if not port.get("nodePort") and known_port and known_port not in used:
                port["nodePort"] = known_port
    if needs_health_check(spec) and needs_health_check(before) and not spec.get("healthCheckNodePort"):
        _carry(spec, before, "healthCheckNodePort")


def _carry(spec: JsonObject, before: JsonObject, name: str) -> None:
    if before.get(name):
        spec[name] = before[name]


def _drop_what_the_type_lost(spec: JsonObject, before: JsonObject) -> None:
    if needs_cluster_ip(before) and not needs_cluster_ip(spec):
        _drop_unchanged(spec, before, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
        _drop_unchanged(spec, before, "internalTrafficPolicy")
    if needs_node_port(before) and not needs_node_port(spec):
        known = {port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in known:
                port.pop("nodePort", None)
    if needs_health_check(before) and not needs_health_check(spec):
        _drop_unchanged(spec, before, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        _drop_unchanged(spec, before, "allocateLoadBalancerNodePorts", "loadBalancerClass")
    if is_externally_accessible(before) and not is_externally_accessible(spec):
        _drop_unchanged(spec, before, "externalTrafficPolicy")


def _drop_unchanged(spec: JsonObject, before: JsonObject, *names: str) -> None:
    for name in names:
        if name in spec and spec[name] == before.get(name):
            del spec[name]
