"""Somebody else's Services: rules for a Node's own network stack, laid out as kube-proxy's nftables mode lays them out.

Its documented chains and maps are here as far as ClusterIPs need them: a map from address, protocol and port to the
Service's chain, which gives each endpoint's chain its turn, which translates; what must be masqueraded is marked on the
way and masqueraded in postrouting.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab_cluster import Place

PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterIp:
    """An address of a Service whose `port` (TCP and UDP) leads to `target_port` of the endpoints."""

    address: str
    port: int
    endpoints: Sequence[str]
    target_port: int = 8080


@contextmanager
def kube_proxy_rules(node: Place, services: Sequence[ClusterIp], *, pod_cidrs: Sequence[str]) -> Iterator[None]:
    """Hold the rules in a Node's stack. Traffic from anywhere but its `pod_cidrs` is masqueraded."""
    with tempfile.NamedTemporaryFile("w", suffix=".nft") as file:
        for family in ("ip", "ip6"):
            file.write(_table(family, services, pod_cidrs))
        file.flush()
        node.command("nft", "-f", file.name)
    try:
        yield
    finally:
        for family in ("ip", "ip6"):
            node.command("nft", "delete", "table", family, "kube-proxy")


def _table(family: str, services: Sequence[ClusterIp], pod_cidrs: Sequence[str]) -> str:
    mine = [item for item in services if _family(item.address) == family]
    inside = ", ".join(cidr for cidr in pod_cidrs if _family(cidr) == family)
    elements, chains = [], []
    for (number, service), protocol in itertools.product(enumerate(mine), PROTOCOLS):
        name = f"service-{number}-{protocol}"
        targets = [f"endpoint-{number}-{protocol}-{index}" for index in range(len(service.endpoints))]
        turns = ", ".join(f"{index} : goto {target}" for index, target in enumerate(targets))
        elements.append(f"{service.address} . {protocol} . {service.port} : goto {name}")
        for target, endpoint in zip(targets, service.endpoints, strict=True):
            end = f"[{endpoint}]:{service.target_port}" if family == "ip6" else f"{endpoint}:{service.target_port}"
            hairpin = f"{family} saddr {endpoint} jump mark-for-masquerade"
            chains.append(_chain(target, hairpin, f"meta l4proto {protocol} dnat to {end}"))
        outside = f"{family} daddr {service.address} {family} saddr != {{ {inside} }} jump mark-for-masquerade"
        chains.append(_chain(name, outside, f"numgen random mod {len(targets)} vmap {{ {turns} }}"))
    kind = "ipv4_addr" if family == "ip" else "ipv6_addr"
    filled = f"elements = {{ {', '.join(elements)} }}" if elements else ""
    return f"table {family} kube-proxy {{\n" + "".join(
        [
            _chain("mark-for-masquerade", "mark set mark or 0x4000"),
            *chains,
            f"map service-ips {{ type {kind} . inet_proto . inet_service : verdict; {filled} }}\n",
            _chain("services", f"{family} daddr . meta l4proto . th dport vmap @service-ips"),
            _chain(
                "masquerading", "mark and 0x4000 == 0 return", "mark set mark xor 0x4000", "masquerade fully-random"
            ),
            _chain("nat-prerouting", "type nat hook prerouting priority dstnat; policy accept;", "jump services"),
            _chain("nat-output", "type nat hook output priority -100; policy accept;", "jump services"),
            _chain("nat-postrouting", "type nat hook postrouting priority srcnat; policy accept;", "jump masquerading"),
            "}\n",
        ]
    )


def _chain(name: str, *lines: str) -> str:
    return f"chain {name} {{\n" + "".join(f"{line}\n" for line in lines) + "}\n"


def _family(text: str) -> str:
    return "ip6" if ":" in text else "ip"
