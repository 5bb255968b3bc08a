"""Service -> one ServicePort for each port and IP family that this proxy is to serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.names import NamespacedName, ServicePortName
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.kubernetes.objects import ServicePort as ApiServicePort
from antrea_proxy.proxy.direct_return import load_balancer_mode
from antrea_proxy.proxy.frontends import (
    Claim,
    Frontend,
    FrontendKind,
    IPNetwork,
    Protocol,
    Rules,
    Scope,
    TrafficPolicy,
    affinity_timeout,
    claims,
    source_ranges,
)
from antrea_proxy.proxy.problems import Problem, Reason
from antrea_proxy.proxy.selection import IPAddress, cluster_ips, parse_address
from antrea_proxy.settings import LoadBalancerMode

USUAL: Final = Rules()

_PROTOCOLS: Final = dict(Protocol.__members__)
"""A plain dict, since every port is looked up in it."""


class ServicePort(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One port of a Service in one IP family (4 or 6), with every address at which it is reached.

    `affinity` is the time in seconds for which a client keeps its endpoint, 0 for no session affinity.
    """

    name: ServicePortName
    family: int
    protocol: Protocol
    frontends: tuple[Frontend, ...]
    affinity: int = 0

    @property
    def scopes(self) -> frozenset[Scope]:
        """Every scope that somebody gets at one of the addresses."""
        first = self.frontends[0].scopes
        return first if len(self.frontends) == 1 else first.union(*(item.scopes for item in self.frontends[1:]))

    @property
    def port(self) -> int:
        """The port of every address but a NodePort's, 1 to 65535."""
        return self.frontends[0].port


class ServicePorts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one Service asks for: its ports, its own ClusterIPs, and what is wrong with it.

    `left_alone` says why it is not this proxy's to serve; empty if it is.
    """

    left_alone: str = ""
    ports: tuple[ServicePort, ...] = ()
    cluster_ips: tuple[IPAddress, ...] = ()
    problems: tuple[Problem, ...] = ()


class Rival(NamedTuple):
    """A Service that has an address before another one, and as what."""

    service: Service
    kind: FrontendKind


def service_ports(name: NamespacedName, cluster: ClusterState, rules: Rules = USUAL) -> ServicePorts:
    """Read a Service's ports; there are none where there is no such Service.

    What cannot be served (a port out of range, an unknown protocol, an address that is none, an address and port that
    another Service has) is named as a problem and left out; the rest is served.
    """
    service = cluster.services.get(name)
    if service is None:
        return ServicePorts()
    if (reason := rules.selection.why_left_alone(service)) is not None:
        return ServicePorts(left_alone=reason)
    return _Reading(name, service, cluster, rules).all()


class _Reading:
    """One Service being read, and what is found wrong with it on the way."""

    def __init__(self, name: NamespacedName, service: Service, cluster: ClusterState, rules: Rules) -> None:
        self._name = name
        self._service = service
        self._cluster = cluster
        self._rules = rules
        self._problems: dict[Problem, None] = {}
        self._found: dict[tuple[int, int], list[Frontend]] = {}
        spec = service.spec
        self._internal = TrafficPolicy.LOCAL if spec.internal_traffic_policy == "Local" else TrafficPolicy.CLUSTER
        self._external = TrafficPolicy.LOCAL if spec.external_traffic_policy == "Local" else TrafficPolicy.CLUSTER
        self._mode, problem = load_balancer_mode(service, rules)
        if problem is not None:
            self._complain(Reason.INVALID_LOAD_BALANCER_MODE, problem)

    def all(self) -> ServicePorts:
        service, rules = self._service, self._rules
        affinity, problem = affinity_timeout(service)
        if problem is not None:
            self._complain(Reason.INVALID_SESSION_AFFINITY, problem)
        usable = {place: port for place, port in enumerate(service.spec.ports) if self._usable(port, place)}
        own: list[IPAddress] = []
        for claim in claims(service, rules):
            if claim.address is None:
                text = f"{claim.where}: {claim.text!r}: no IP address; it is not served"
                self._complain(Reason.INVALID_ADDRESS, text)
                continue
            rivals = _rivals(service, claim, self._cluster, rules)
            if claim.kind is FrontendKind.CLUSTER_IP and not rivals:
                own.append(claim.address)
            self._serve(claim, claim.address, usable, rivals)
        if rules.proxy_all:
            self._serve_node_ports(usable)
        return ServicePorts(
            ports=tuple(
                ServicePort(
                    name=ServicePortName(self._name, usable[place].name),
                    family=family,
                    protocol=_PROTOCOLS[usable[place].protocol],
                    frontends=tuple(frontends),
                    affinity=affinity,
                )
                for (place, family), frontends in self._found.items()
            ),
            cluster_ips=tuple(own),
            problems=tuple(self._problems),
        )

    def _serve(
        self, claim: Claim, address: IPAddress, ports: Mapping[int, ApiServicePort], rivals: Sequence[Rival]
    ) -> None:
        """Note every port at the address that no other Service has there."""
        ranges = None
        if claim.kind is FrontendKind.LOAD_BALANCER_IP:
            ranges, problems = source_ranges(self._service, address.version)
            for text in problems:
                self._complain(Reason.INVALID_SOURCE_RANGE, text)
        for place, port in ports.items():
            if (conflict := _conflict(port, claim, rivals)) is not None:
                self._complain(Reason.ADDRESS_CONFLICT, f"spec.ports[{place}]: {conflict}")
            else:
                frontend = self._frontend(claim, address, port, ranges)
                self._found.setdefault((place, address.version), []).append(frontend)

    def _serve_node_ports(self, ports: Mapping[int, ApiServicePort]) -> None:
        """A NodePort is served in the families that the Service has."""
        families = sorted({address.version for text in cluster_ips(self._service) if (address := parse_address(text))})
        for place, port in ports.items():
            if port.node_port:
                frontend = Frontend(
                    kind=FrontendKind.NODE_PORT, address=None, port=port.node_port, outside=self._external.scope
                )
                for family in families:
                    self._found.setdefault((place, family), []).append(frontend)

    def _frontend(
        self, claim: Claim, address: IPAddress, port: ApiServicePort, ranges: tuple[IPNetwork, ...] | None
    ) -> Frontend:
        """A ClusterIP follows the internal policy wherever its clients are, the others the external one."""
        if claim.kind is FrontendKind.CLUSTER_IP:
            scope = self._internal.scope
            outside = scope if self._rules.proxy_all else None
            return Frontend(kind=claim.kind, address=address, port=port.port, inside=scope, outside=outside)
        outside = self._external.scope if self._rules.proxy_all else None
        return Frontend(
            kind=claim.kind,
            address=address,
            port=port.port,
            outside=outside,
            source_ranges=ranges,
            direct=self._mode is LoadBalancerMode.DSR and outside is Scope.CLUSTER,
        )

    def _usable(self, port: ApiServicePort, place: int) -> bool:
        where = f"spec.ports[{place}]"
        if not 0 < port.port < 1 << 16:
            text = f"{where}.port: {port.port}: must be 1 to 65535; this port is not served"
            self._complain(Reason.INVALID_PORT, text)
        elif (protocol := _PROTOCOLS.get(port.protocol)) is None:
            text = f"{where}.protocol: {port.protocol!r}: must be TCP, UDP or SCTP; this port is not served"
            self._complain(Reason.INVALID_PROTOCOL, text)
        elif reason := self._rules.unsupported.get(protocol):
            text = f"{where}.protocol: {port.protocol}: {reason}; this port is not served"
            self._complain(Reason.UNSUPPORTED_PROTOCOL, text)
        else:
            return True
        return False

    def _complain(self, reason: Reason, text: str) -> None:
        whole = f"Service {self._name}: {text}"
        self._problems[Problem(reason=reason, text=whole)] = None


def _conflict(port: ApiServicePort, claim: Claim, rivals: Sequence[Rival]) -> str | None:
    """Name the Service that has this address and port already."""
    for other, kind in rivals:
        if any((theirs.protocol, theirs.port) == (port.protocol, port.port) for theirs in other.spec.ports):
            whose = f"the older Service {other.metadata.namespaced_name}"
            if kind is not claim.kind:
                whose = f"Service {other.metadata.namespaced_name}, whose {kind.words} it is"
            return (
                f"{claim.text}:{port.port}/{port.protocol} belongs to {whose}; this port is not served: "
                f"give one of them another {claim.kind.words}"
            )
    return None


def _rivals(service: Service, claim: Claim, cluster: ClusterState, rules: Rules) -> list[Rival]:
    """The Services that have the address before this one, and as what: a lower kind, or the same kind and older."""
    claimants = cluster.claimants(claim.text)
    if len(claimants) <= 1:
        return []
    name = service.metadata.namespaced_name
    rivals: list[Rival] = []
    older = True
    for other in claimants:
        if other.metadata.namespaced_name == name:
            older = False
        elif rules.selection.why_left_alone(other) is None:
            kind = next((theirs.kind for theirs in claims(other, rules) if theirs.address == claim.address), None)
            if kind is not None and (kind < claim.kind or (kind is claim.kind and older)):
                rivals.append(Rival(other, kind))
    return rivals
