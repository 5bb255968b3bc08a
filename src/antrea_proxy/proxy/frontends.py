"""The addresses at which a Service port is reached, and which of its endpoints serve each.

What a start makes for every Service is a Struct: made in a tenth of the time that a frozen dataclass takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from types import MappingProxyType
from typing import Any, Final

import msgspec

from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.selection import ORDINARY, IPAddress, ServiceSelection, cluster_ips, parse_address
from antrea_proxy.settings import LoadBalancerMode, Settings

IPNetwork = IPv4Network | IPv6Network

MIN_AFFINITY_S: Final = 1
MAX_AFFINITY_S: Final = 86_400
DEFAULT_AFFINITY_S: Final = 10_800
"""sessionAffinityConfig.clientIP.timeoutSeconds: 1 s to 1 day, by default 3 hours (core/v1 ClientIPConfig)."""


class Protocol(IntEnum):
    """The protocols of a Service port, by their IANA numbers."""

    TCP = 6
    UDP = 17
    SCTP = 132


class FrontendKind(IntEnum):
    """What kind of address it is. Of two Services that claim one address, the lower kind has it (behaviour)."""

    CLUSTER_IP = 0
    LOAD_BALANCER_IP = 1
    EXTERNAL_IP = 2
    NODE_PORT = 3

    @property
    def words(self) -> str:
        """The kind as people call it."""
        return _WORDS[self]


_WORDS: Final = {
    FrontendKind.CLUSTER_IP: "ClusterIP",
    FrontendKind.LOAD_BALANCER_IP: "load-balancer IP",
    FrontendKind.EXTERNAL_IP: "external IP",
    FrontendKind.NODE_PORT: "NodePort",
}


class Scope(IntEnum):
    """Which endpoints serve: those of the cluster, or those of this Node alone (KEP 2086)."""

    CLUSTER = 0
    LOCAL = 1


class TrafficPolicy(Enum):
    """internalTrafficPolicy and externalTrafficPolicy (KEP 2086)."""

    CLUSTER = "Cluster"
    LOCAL = "Local"

    @property
    def scope(self) -> Scope:
        """The endpoints that the policy allows."""
        return Scope.LOCAL if self is TrafficPolicy.LOCAL else Scope.CLUSTER


class Frontend(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An address and port of a Service port. A NodePort's `address` is None: it is every node-port address.

    `inside` is what Pods of this Node and the Node itself get, `outside` what comes from elsewhere gets; None where
    nothing is served to it. `source_ranges` are the only ones that may connect; None lets everybody. What comes from
    outside to a `direct` one is sent on, untranslated, to the endpoint's Node, which answers the client itself.
    """

    kind: FrontendKind
    address: IPAddress | None
    port: int
    inside: Scope = Scope.CLUSTER
    outside: Scope | None = None
    source_ranges: tuple[IPNetwork, ...] | None = None
    direct: bool = False

    @property
    def scopes(self) -> frozenset[Scope]:
        """Every scope that somebody gets here; a direct one has local endpoints for what other Nodes send on."""
        found = {self.inside} if self.outside is None else {self.inside, self.outside}
        return frozenset(found | {Scope.LOCAL} if self.direct else found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What settings and the Node's switch make of Services.

    `selection` says which Services are ours. Without `proxy_all`, ClusterIPs and load-balancer IPs are served, to Pods
    alone. `direct_return` allows DSR mode, `default_mode` is for Services that ask for none. `unsupported` says why a
    protocol cannot be had on this Node.
    """

    selection: ServiceSelection = ORDINARY
    proxy_all: bool = False
    load_balancer_ips: bool = True
    direct_return: bool = False
    default_mode: LoadBalancerMode = LoadBalancerMode.NAT
    unsupported: Mapping[Protocol, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, settings: Settings, *, unsupported: Mapping[Protocol, str] | None = None) -> Rules:
        """Take them from a whole antrea-agent.conf."""
        proxy = settings.antrea_proxy
        return cls(
            selection=ServiceSelection.of(settings),
            proxy_all=proxy.proxy_all,
            load_balancer_ips=proxy.proxy_load_balancer_ips,
            direct_return=settings.feature_gates.enabled("LoadBalancerModeDSR"),
            default_mode=proxy.default_load_balancer_mode,
            unsupported=unsupported or {},
        )


class Claim(msgspec.Struct, frozen=True, gc=False):
    """An address that a Service claims, and where in the object it stands; `address` is None if it cannot be read."""

    kind: FrontendKind
    text: str
    where: str
    address: IPAddress | None


def claims(service: Service, rules: Rules) -> Iterator[Claim]:
    """Every address of the Service that this proxy is to serve; one that is given twice counts as the lower kind.

    A load-balancer IP whose ipMode is Proxy is the load balancer's own (KEP 1860).
    """
    given = [
        (FrontendKind.CLUSTER_IP, text, f"spec.clusterIPs[{place}]") for place, text in enumerate(cluster_ips(service))
    ]
    if rules.load_balancer_ips and service.spec.type == "LoadBalancer":
        given += [
            (FrontendKind.LOAD_BALANCER_IP, point.ip, f"status.loadBalancer.ingress[{place}].ip")
            for place, point in enumerate(service.status.load_balancer.ingress)
            if point.ip and point.ip_mode != "Proxy"
        ]
    if rules.proxy_all:
        given += [
            (FrontendKind.EXTERNAL_IP, text, f"spec.externalIPs[{place}]")
            for place, text in enumerate(service.spec.external_ips)
        ]
    seen: set[IPAddress | str] = set()
    for kind, text, where in given:
        address = parse_address(text)
        if (address or text) not in seen:
            seen.add(address or text)
            yield Claim(kind, text, where, address)


def source_ranges(service: Service, family: int) -> tuple[tuple[IPNetwork, ...] | None, list[str]]:
    """LoadBalancerSourceRanges of one family, None where everybody may connect, and what is wrong with them.

    Where ranges are given, but none of this family, nobody of this family may connect.
    """
    given = service.spec.load_balancer_source_ranges
    if not given:
        return None, []
    ranges: list[Any] = []  # of one family, which the checker cannot tell
    problems: list[str] = []
    for place, text in enumerate(given):
        network = _cidr(text.strip())
        if network is None:
            problems.append(
                f"spec.loadBalancerSourceRanges[{place}]: {text!r}: no CIDR; it lets nobody connect, the others do"
            )
            continue
        if network.version == family:
            ranges.append(network)
    joined = tuple(collapse_addresses(ranges))
    return None if any(network.prefixlen == 0 for network in joined) else joined, problems


def _cidr(text: str) -> IPNetwork | None:
    """Read a CIDR: the length of its prefix is written, and as a number (RFC 4632 section 3.1)."""
    if not text.rpartition("/")[2].isdecimal() or "/" not in text:
        return None
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def affinity_timeout(service: Service) -> tuple[int, str | None]:
    """Seconds of ClientIP session affinity, 0 for none, and what is wrong with them."""
    if service.spec.session_affinity != "ClientIP":
        return 0, None
    config = service.spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else DEFAULT_AFFINITY_S
    if MIN_AFFINITY_S <= seconds <= MAX_AFFINITY_S:
        return seconds, None
    return DEFAULT_AFFINITY_S, (
        f"spec.sessionAffinityConfig.clientIP.timeoutSeconds: {seconds}: must be {MIN_AFFINITY_S} to {MAX_AFFINITY_S}; "
        f"{DEFAULT_AFFINITY_S} is taken"
    )
