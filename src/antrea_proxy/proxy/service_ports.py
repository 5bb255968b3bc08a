"""Service -> one ServicePort for each port and IP family that this proxy is to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from itertools import takewhile

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import ServicePortName
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.kubernetes.objects import ServicePort as ApiServicePort
from antrea_proxy.proxy.selection import IPAddress, ServiceSelection, cluster_ips, parse_address


class Protocol(IntEnum):
    """The protocols of a Service port, by their IANA numbers."""

    TCP = 6
    UDP = 17
    SCTP = 132


class TrafficPolicy(Enum):
    """internalTrafficPolicy and externalTrafficPolicy (KEP 2086)."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """One port of a Service in one IP family, on its ClusterIP. `family` is 4 or 6, `port` 1 to 65535."""

    name: ServicePortName
    family: int
    protocol: Protocol
    address: IPAddress
    port: int
    internal_traffic_policy: TrafficPolicy = TrafficPolicy.CLUSTER


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePorts:
    """What one Service asks for: its ports, its own addresses, and what is wrong with it.

    `left_alone` says why it is not this proxy's to serve; empty if it is.
    """

    left_alone: str = ""
    ports: tuple[ServicePort, ...] = ()
    addresses: tuple[IPAddress, ...] = ()
    problems: tuple[str, ...] = ()


def service_ports(
    service: Service,
    cluster: ClusterState,
    *,
    selection: ServiceSelection,
    unsupported: dict[Protocol, str] | None = None,
) -> ServicePorts:
    """Read a Service's ports.

    A port that cannot be served (out of range, an unknown protocol, an address that is none, an address and port that
    an older Service has) is named as a problem and left out; the other ports are served. `unsupported` says why a
    protocol cannot be had on this Node.
    """
    if (reason := selection.why_left_alone(service)) is not None:
        return ServicePorts(left_alone=reason)
    name = service.metadata.namespaced_name
    addresses: list[IPAddress] = []
    ports: list[ServicePort] = []
    problems: list[str] = []
    policy = TrafficPolicy.LOCAL if service.spec.internal_traffic_policy == "Local" else TrafficPolicy.CLUSTER
    for index, text in enumerate(cluster_ips(service)):
        address = parse_address(text)
        if address is None:
            problems.append(f"Service {name}: spec.clusterIPs[{index}]: {text!r}: no IP address; it is not served")
            continue
        seniors = _seniors(service, text, cluster, selection)
        if not seniors:
            addresses.append(address)
        for place, port in enumerate(service.spec.ports):
            where = f"Service {name}: spec.ports[{place}]"
            problem = _port_problem(port, where, unsupported or {}) or _conflict(port, text, seniors, where)
            if problem is not None:
                if problem not in problems:
                    problems.append(problem)
                continue
            ports.append(
                ServicePort(
                    name=ServicePortName(name, port.name),
                    family=address.version,
                    protocol=Protocol[port.protocol],
                    address=address,
                    port=port.port,
                    internal_traffic_policy=policy,
                )
            )
    return ServicePorts(ports=tuple(ports), addresses=tuple(addresses), problems=tuple(problems))


def _port_problem(port: ApiServicePort, where: str, unsupported: dict[Protocol, str]) -> str | None:
    if not 0 < port.port < 1 << 16:
        return f"{where}.port: {port.port}: must be 1 to 65535; this port is not served"
    if port.protocol not in Protocol.__members__:
        return f"{where}.protocol: {port.protocol!r}: must be TCP, UDP or SCTP; this port is not served"
    if reason := unsupported.get(Protocol[port.protocol]):
        return f"{where}.protocol: {port.protocol}: {reason}; this port is not served"
    return None


def _conflict(port: ApiServicePort, address: str, seniors: Sequence[Service], where: str) -> str | None:
    """Name the older Service that has this address and port already."""
    for other in seniors:
        if any((theirs.protocol, theirs.port) == (port.protocol, port.port) for theirs in other.spec.ports):
            return (
                f"{where}: {address}:{port.port}/{port.protocol} belongs to the older Service "
                f"{other.metadata.namespaced_name}; this port is not served: give one of them another ClusterIP"
            )
    return None


def _seniors(service: Service, address: str, cluster: ClusterState, selection: ServiceSelection) -> list[Service]:
    """The older Services that have the address, too."""
    claimants = cluster.claimants(address)
    if len(claimants) <= 1:
        return []
    older = takewhile(lambda other: other.metadata.namespaced_name != service.metadata.namespaced_name, claimants)
    return [other for other in older if address in cluster_ips(other) and selection.why_left_alone(other) is None]
