"""The rules of the Service API in plain Python, from its documents: an oracle that shares no code with the core.

Objects are plain dictionaries as the API writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What happens to a new connection: the endpoints it may reach, or whether it is refused or dropped without one."""

    endpoints: frozenset[tuple[str, int]]
    without: str = ""


def answers(services: list[Json], slices: list[Json], node: str, zone: str = "") -> dict[tuple[str, str, int], Answer]:
    """Say for every (address, protocol, port) that a Pod may ask for what the rules promise."""
    result: dict[tuple[str, str, int], Answer] = {}
    for service in sorted(services, key=lambda item: (item["metadata"]["creationTimestamp"], _name(item))):
        spec = service["spec"]
        labels = service["metadata"].get("labels", {})
        if spec.get("type") == "ExternalName" or spec.get("clusterIP", "") in {"", "None"}:
            continue
        if "service.kubernetes.io/headless" in labels or "service.kubernetes.io/service-proxy-name" in labels:
            continue
        for port in spec["ports"]:
            keys = [(address, port["protocol"], port["port"]) for address in spec["clusterIPs"]]
            own = [key for key in keys if 0 < port["port"] < 65536 and key not in result]
            circular = {(address, number) for address, _, number in own}
            for key in own:
                result[key] = _answer(service, port, (key[0], circular), slices, (node, zone))
    return result


def _answer(
    service: Json, port: Json, asked: tuple[str, set[tuple[str, int]]], slices: list[Json], place: tuple[str, str]
) -> Answer:
    """`asked` is the address, and all addresses and ports of the Service port, which cannot be its endpoints."""
    address, circular = asked
    best: dict[tuple[str, int], Json] = {}
    for item in slices:
        number = _number(item, service, port, address)
        for endpoint in item["endpoints"] if number else []:
            key = (endpoint["addresses"][0], number)
            facts = _facts(endpoint, place)
            if key not in circular and (key not in best or _rank(facts) < _rank(best[key])):
                best[key] = facts
    everywhere = _usable(best)
    if service["spec"].get("internalTrafficPolicy") != "Local":
        return Answer(_near(best) or everywhere, "" if everywhere else "refused")
    here = _usable({key: facts for key, facts in best.items() if facts["local"]})
    if here:
        return Answer(here)
    return Answer(frozenset(), "dropped" if everywhere else "refused")


def _number(item: Json, service: Json, port: Json, address: str) -> int:
    """The number that a slice gives to the port; 0 if the slice does not serve it."""
    metadata = item["metadata"]
    owner = (metadata["namespace"], metadata["labels"]["kubernetes.io/service-name"])
    if owner != _name(service) or item["addressType"] != f"IPv{ip_address(address).version}":
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


def _facts(endpoint: Json, place: tuple[str, str]) -> Json:
    conditions = endpoint["conditions"]
    node, zone = place
    hints = endpoint.get("hints") or {}
    return {
        "nodes": [item["name"] for item in hints.get("forNodes", [])],
        "zones": [item["name"] for item in hints.get("forZones", [])],
        "place": {"nodes": node, "zones": zone},
        "ready": conditions.get("ready") is not False,
        "serving": conditions.get("serving") is not False,
        "terminating": bool(conditions.get("terminating")),
        "local": endpoint.get("nodeName") == node,
    }


def _usable(endpoints: dict[tuple[str, int], Json]) -> frozenset[tuple[str, int]]:
    ready = {key for key, facts in endpoints.items() if facts["ready"]}
    if ready:
        return frozenset(ready)
    return frozenset(key for key, facts in endpoints.items() if facts["serving"] and facts["terminating"])


def _rank(facts: Json) -> int:
    return 0 if facts["ready"] else 1 if facts["serving"] else 2


def _name(item: Json) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]
