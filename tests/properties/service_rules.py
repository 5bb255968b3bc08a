"""The rules of the Service API in plain Python, from its documents: an oracle that shares no code with the core.

Objects are plain dictionaries as the API writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

Json = dict[str, Any]

INSIDE = "inside"
"""Pods of this Node, and the Node itself."""
OUTSIDE = "outside"
"""Whoever comes from beyond the Node."""

CLIENTS = ("10.10.1.5", "10.10.2.9", "203.0.113.9", "fd00:10:1::5", "2001:db8::9")
"""Clients that are asked about where source ranges matter: Pods here and elsewhere, and hosts outside."""


@dataclass(frozen=True)
class Place:
    """The Node, and what its antrea-agent.conf says about Services."""

    node: str = "node-1"
    zone: str = "zone-1"
    proxy_all: bool = False
    load_balancer_ips: bool = True
    proxy_name: str = ""
    skipped: frozenset[str] = frozenset()
    """`namespace/name` and ClusterIPs, as in skipServices."""
    off: bool = False


class Question(NamedTuple):
    """An address and port that somebody connects to. The address of a NodePort is `NodePort/4` or `NodePort/6`."""

    address: str
    protocol: str
    port: int
    where: str


@dataclass(frozen=True)
class Answer:
    """What happens to a new connection: the endpoints it may reach, or whether it is refused or dropped without one.

    `affinity` is the time in seconds for which a client stays with its endpoint; all clients but those in `let_in` are
    dropped.
    """

    endpoints: frozenset[tuple[str, int]]
    without: str = ""
    affinity: int = 0
    let_in: frozenset[str] = frozenset(CLIENTS)


@dataclass
class Promise:
    """What the rules promise of a whole cluster.

    `answers` holds every address and port that is served. Any other port of the addresses in `refusing` is refused.
    `complaining` are the Services, as namespace/name, that cannot be done wholly and say so.
    """

    answers: dict[Question, Answer] = field(default_factory=dict)
    refusing: set[str] = field(default_factory=set)
    complaining: set[str] = field(default_factory=set)


CLUSTER_IP, LOAD_BALANCER_IP, EXTERNAL_IP, NODE_PORT = range(4)
"""Of two Services that claim an address and port, the lower kind has it, then the older, then by name."""


class _Claim(NamedTuple):
    rank: int
    created: str
    name: tuple[str, str]
    address: str
    service: Json


class _Asked(NamedTuple):
    claim: _Claim
    port: Json
    circular: set[tuple[str, int]]
    """The Service port's own addresses and ports, which cannot be its endpoints."""
    local_only: bool


def promise(services: list[Json], slices: list[Json], place: Place) -> Promise:
    """Say what a Node promises, and which Services have reason to complain."""
    result = Promise()
    ours = [service for service in services if _is_ours(service, place)]
    claims = sorted((claim for service in ours for claim in _claims(service, place)), key=lambda claim: claim[:3])
    result.refusing |= {claim.address for claim in claims if claim.rank == CLUSTER_IP}
    owners: dict[Question, tuple[_Claim, Json]] = {}
    own: dict[tuple[str, str, str, str], set[tuple[str, int]]] = {}
    for claim in claims:
        for port in claim.service["spec"]["ports"]:
            number = port.get("nodePort", 0) if claim.rank == NODE_PORT else port["port"]
            if not 0 < port["port"] < 65536 or not number:
                continue
            question = Question(claim.address, port["protocol"], number, INSIDE)
            if question in owners:
                result.complaining.add("/".join(claim.name))
                continue
            owners[question] = claim, port
            own.setdefault(_group(claim, port), set()).add((claim.address, number))
    for question, (claim, port) in owners.items():
        for where in (INSIDE, OUTSIDE) if place.proxy_all else (INSIDE,):
            asked = _Asked(claim, port, own[_group(claim, port)], _is_local(claim, where))
            result.answers[question._replace(where=where)] = _answer(asked, slices, place)
    for service in ours:
        if _is_wrong(service, place) or any(_is_wrong_slice(item) for item in _slices_of(service, slices)):
            result.complaining.add("/".join(_name(service)))
    return result


def _group(claim: _Claim, port: Json) -> tuple[str, str, str, str]:
    """The Service port in one family."""
    return (*claim.name, f"{port['name']}/{port['protocol']}", _family(claim.address))


def _is_local(claim: _Claim, where: str) -> bool:
    """A ClusterIP follows the internal policy; all others the external one, which is for those outside alone."""
    spec = claim.service["spec"]
    if claim.rank == CLUSTER_IP:
        return bool(spec.get("internalTrafficPolicy") == "Local")
    return where == OUTSIDE and bool(spec.get("externalTrafficPolicy") == "Local")


def _claims(service: Json, place: Place) -> Iterator[_Claim]:
    spec = service["spec"]
    found = [(CLUSTER_IP, address) for address in spec["clusterIPs"]]
    if spec["type"] == "LoadBalancer" and place.load_balancer_ips:
        ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", [])
        found += [
            (LOAD_BALANCER_IP, point["ip"])
            for point in ingress
            if "ip" in point and point.get("ipMode", "VIP") == "VIP"
        ]
    if place.proxy_all:
        found += [(EXTERNAL_IP, address) for address in spec.get("externalIPs", [])]
        found += [
            (NODE_PORT, f"NodePort/{family}") for family in sorted({_family(text) for text in spec["clusterIPs"]})
        ]
    seen = set()
    for rank, text in found:
        address = _plain(text)
        if address and address not in seen:
            seen.add(address)
            yield _Claim(rank, service["metadata"]["creationTimestamp"], _name(service), address, service)


@cache
def _plain(text: str) -> str:
    """The address as everybody writes it; empty for what is none."""
    if text.startswith("NodePort"):
        return text
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def _is_ours(service: Json, place: Place) -> bool:
    spec, labels = service["spec"], service["metadata"].get("labels", {})
    if place.off or spec.get("type") == "ExternalName" or spec.get("clusterIP", "") in {"", "None"}:
        return False
    if labels.get("service.kubernetes.io/service-proxy-name") != (place.proxy_name or None):
        return False
    names = {"/".join(_name(service)), *spec["clusterIPs"]}
    return "service.kubernetes.io/headless" not in labels and not names & place.skipped


def _is_wrong(service: Json, place: Place) -> bool:
    """Whether the object says what the API server would not let it say."""
    spec = service["spec"]
    wrong = any(not 0 < port["port"] < 65536 for port in spec["ports"])
    if spec.get("sessionAffinity") == "ClientIP":
        wrong |= not 1 <= _timeout(spec) <= 86400
    addresses = [*spec["clusterIPs"], *(spec.get("externalIPs", []) if place.proxy_all else [])]
    if any(claim.rank == LOAD_BALANCER_IP for claim in _claims(service, place)):
        wrong |= any(_network(text) is None for text in spec.get("loadBalancerSourceRanges", []))
    return wrong or any(not _plain(text) for text in addresses)


def _is_wrong_slice(item: Json) -> bool:
    if item["addressType"] not in {"IPv4", "IPv6"}:
        return True
    addresses = [endpoint["addresses"][0] for endpoint in item["endpoints"]]
    return any(not _plain(text) or f"IPv{_family(text)}" != item["addressType"] for text in addresses)


@cache
def _network(text: str) -> Any:  # noqa: ANN401 - of either family
    try:
        return ip_network(text) if "/" in text else None
    except ValueError:
        return None


def _timeout(spec: Json) -> int:
    config = spec.get("sessionAffinityConfig", {})
    return int(config.get("clientIP", {}).get("timeoutSeconds", 10800))


def _answer(asked: _Asked, slices: list[Json], place: Place) -> Answer:
    claim, spec = asked.claim, asked.claim.service["spec"]
    best: dict[tuple[str, int], Json] = {}
    for item in _slices_of(claim.service, slices):
        number = _number(item, asked.port, claim.address)
        for endpoint in item["endpoints"] if number else []:
            address = _plain(endpoint["addresses"][0])
            facts = _facts(endpoint, place)
            key = (address, number)
            if not address or _family(address) != _family(claim.address) or key in asked.circular:
                continue
            if key not in best or _rank(facts) < _rank(best[key]):
                best[key] = facts
    affinity = 0
    if spec.get("sessionAffinity") == "ClientIP":
        affinity = _timeout(spec) if 1 <= _timeout(spec) <= 86400 else 10800
    let_in = frozenset(client for client in CLIENTS if _lets_in(claim, client))
    everywhere = _usable(best)
    if not asked.local_only:
        return Answer(_near(best) or everywhere, "" if everywhere else "refused", affinity, let_in)
    local = _usable({key: facts for key, facts in best.items() if facts["local"]})
    if local:
        return Answer(local, "", affinity, let_in)
    return Answer(frozenset(), "dropped" if everywhere else "refused", affinity, let_in)


def _lets_in(claim: _Claim, client: str) -> bool:
    """Source ranges are for load-balancer IPs; a client has the family of the address that it connects to."""
    if _family(client) != _family(claim.address):
        return False
    ranges = claim.service["spec"].get("loadBalancerSourceRanges", [])
    if claim.rank != LOAD_BALANCER_IP or not ranges:
        return True
    networks = [network for network in map(_network, ranges) if network is not None]
    return any(ip_address(client) in network for network in networks)


def _slices_of(service: Json, slices: list[Json]) -> list[Json]:
    """The Service's slices by name: of two that say the same of an endpoint, the first counts."""
    found = [
        item
        for item in slices
        if (item["metadata"]["namespace"], item["metadata"]["labels"]["kubernetes.io/service-name"]) == _name(service)
    ]
    return sorted(found, key=_name)


def _number(item: Json, port: Json, address: str) -> int:
    """The number that a slice gives to the port; 0 if the slice does not serve it."""
    if item["addressType"] != f"IPv{_family(address)}":
        return 0
    return next((p["port"] for p in item["ports"] if (p["name"], p["protocol"]) == (port["name"], port["protocol"])), 0)


def _near(endpoints: dict[tuple[str, int], Json]) -> frozenset[tuple[str, int]]:
    """The ready endpoints that hints give to this Node or its zone; none if no kind of hint counts."""
    ready = {key: facts for key, facts in endpoints.items() if facts["ready"]}
    for kind in ("nodes", "zones"):
        if all(facts[kind] for facts in ready.values()):
            ours = frozenset(key for key, facts in ready.items() if facts["place"][kind] in facts[kind])
            if ours:
                return ours
    return frozenset()


def _facts(endpoint: Json, place: Place) -> Json:
    conditions = endpoint.get("conditions", {})
    hints = endpoint.get("hints") or {}
    return {
        "nodes": [item["name"] for item in hints.get("forNodes", [])],
        "zones": [item["name"] for item in hints.get("forZones", [])],
        "place": {"nodes": place.node, "zones": place.zone},
        "ready": conditions.get("ready") is not False,
        "serving": conditions.get("serving") is not False,
        "terminating": bool(conditions.get("terminating")),
        "local": endpoint.get("nodeName") == place.node,
    }


def _usable(endpoints: dict[tuple[str, int], Json]) -> frozenset[tuple[str, int]]:
    ready = {key for key, facts in endpoints.items() if facts["ready"]}
    if ready:
        return frozenset(ready)
    return frozenset(key for key, facts in endpoints.items() if facts["serving"] and facts["terminating"])


def _rank(facts: Json) -> int:
    return 0 if facts["ready"] else 1 if facts["serving"] else 2


@cache
def _family(address: str) -> str:
    return address.removeprefix("NodePort/") if address.startswith("NodePort") else str(ip_address(address).version)


def _name(item: Json) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]
