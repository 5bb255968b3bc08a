"""The objects that a Service proxy reads, with only the fields that it reads.

Field names in JSON are the API's own (camelCase). Unknown fields are ignored; a missing field takes the API's default.
Source of the shapes: Kubernetes API reference, core/v1 and discovery.k8s.io/v1.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from antrea_proxy.kubernetes.labels import (
    HEADLESS_LABEL,
    MODE_ANNOTATION,
    PROXY_NAME_LABEL,
    SERVICE_NAME_LABEL,
    TRANSPORT_ANNOTATION,
    TRIGGER_ANNOTATION,
    ZONE_LABEL,
)
from antrea_proxy.kubernetes.names import NamespacedName


class ApiObject(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """Common to all: frozen, and left alone by the garbage collector (the values hold no cycles)."""


class Word(StrEnum):
    """A word that the API uses again and again, in memory once; any other is a word, too, of its own.

    It equals its text, and prints as that.
    """

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"
    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    CLUSTER = "Cluster"
    LOCAL = "Local"
    NONE = "None"
    CLIENT_IP = "ClientIP"
    VIP = "VIP"
    PROXY = "Proxy"
    IPV4 = "IPv4"
    IPV6 = "IPv6"

    __repr__ = str.__repr__

    @classmethod
    def _missing_(cls, value: object) -> Word | None:
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word


class Labels(ApiObject, frozen=True):
    """The labels that decide something here: objects bear many more, of any length."""

    service_name: str = msgspec.field(default="", name=SERVICE_NAME_LABEL)
    zone: str = msgspec.field(default="", name=ZONE_LABEL)
    headless: str | None = msgspec.field(default=None, name=HEADLESS_LABEL)
    proxy_name: str | None = msgspec.field(default=None, name=PROXY_NAME_LABEL)


class Annotations(ApiObject, frozen=True):
    """The annotations that decide something here."""

    load_balancer_mode: str | None = msgspec.field(default=None, name=MODE_ANNOTATION)
    transport_addresses: str = msgspec.field(default="", name=TRANSPORT_ANNOTATION)
    last_change_trigger: str = msgspec.field(default="", name=TRIGGER_ANNOTATION)


class ObjectMeta(ApiObject, frozen=True):
    """The part of metav1.ObjectMeta that decides something here."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    labels: Labels = Labels()
    annotations: Annotations = Annotations()

    @property
    def namespaced_name(self) -> NamespacedName:
        """The object's key within its kind."""
        return NamespacedName(self.namespace, self.name)


class ServicePort(ApiObject, frozen=True):
    """core/v1 ServicePort. `target_port` is a number or the name of a container port; endpoints carry its result."""

    port: int
    name: str = ""
    protocol: Word = Word.TCP
    target_port: int | str = 0
    node_port: int = 0


class ClientIPConfig(ApiObject, frozen=True):
    """core/v1 ClientIPConfig: 1 to 86,400 s."""

    timeout_seconds: int = 10800


class SessionAffinityConfig(ApiObject, frozen=True):
    """core/v1 SessionAffinityConfig."""

    client_ip: ClientIPConfig | None = msgspec.field(default=None, name="clientIP")


class ServiceSpec(ApiObject, frozen=True):
    """core/v1 ServiceSpec, as far as a proxy reads it."""

    type: Word = Word.CLUSTER_IP
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    ports: tuple[ServicePort, ...] = ()
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    load_balancer_source_ranges: tuple[str, ...] = ()
    external_traffic_policy: Word = Word.CLUSTER
    internal_traffic_policy: Word = Word.CLUSTER
    session_affinity: Word = Word.NONE
    session_affinity_config: SessionAffinityConfig | None = None
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False


class LoadBalancerIngress(ApiObject, frozen=True):
    """core/v1 LoadBalancerIngress; `ip_mode` is VIP or Proxy (KEP 1860)."""

    ip: str = ""
    ip_mode: Word = Word.VIP


class LoadBalancerStatus(ApiObject, frozen=True):
    """core/v1 LoadBalancerStatus."""

    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceStatus(ApiObject, frozen=True):
    """core/v1 ServiceStatus."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(ApiObject, frozen=True):
    """core/v1 Service."""

    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(ApiObject, frozen=True):
    """discovery.k8s.io/v1 EndpointConditions; None means unknown: true for ready and serving, false for terminating."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForName(ApiObject, frozen=True):
    """discovery.k8s.io/v1 ForZone and ForNode."""

    name: str


class EndpointHints(ApiObject, frozen=True):
    """discovery.k8s.io/v1 EndpointHints (KEP 2433, 3015)."""

    for_zones: tuple[ForName, ...] = ()
    for_nodes: tuple[ForName, ...] = ()


class TargetRef(ApiObject, frozen=True):
    """The Pod (or other object) behind an endpoint."""

    name: str = ""


class Endpoint(ApiObject, frozen=True):
    """discovery.k8s.io/v1 Endpoint; only the first address counts (the API's own rule)."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    node_name: str | None = None
    hints: EndpointHints | None = None
    target_ref: TargetRef | None = None


class EndpointPort(ApiObject, frozen=True):
    """discovery.k8s.io/v1 EndpointPort; a port of None means all ports, which a proxy cannot serve."""

    name: str | None = ""
    protocol: Word | None = Word.TCP
    port: int | None = None


class EndpointSlice(ApiObject, frozen=True):
    """discovery.k8s.io/v1 EndpointSlice. The label kubernetes.io/service-name says whose it is."""

    metadata: ObjectMeta
    address_type: Word
    endpoints: tuple[Endpoint, ...] | None = ()
    ports: tuple[EndpointPort, ...] | None = ()


class NodeAddress(ApiObject, frozen=True):
    """core/v1 NodeAddress."""

    type: str
    address: str


class Taint(ApiObject, frozen=True):
    """core/v1 Taint."""

    key: str
    effect: str = ""
    value: str = ""


class NodeSpec(ApiObject, frozen=True):
    """core/v1 NodeSpec."""

    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")
    taints: tuple[Taint, ...] = ()


class NodeStatus(ApiObject, frozen=True):
    """core/v1 NodeStatus."""

    addresses: tuple[NodeAddress, ...] = ()


class Node(ApiObject, frozen=True):
    """core/v1 Node."""

    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()
