"""What the Node objects of the cluster claim, checked: podCIDRs and addresses, and who has which.

A claim that cannot be read is a named problem of that Node alone. Where two Nodes claim overlapping podCIDRs, the
older Node has them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from antrea_proxy.kubernetes.labels import TRANSPORT_ANNOTATION
from antrea_proxy.kubernetes.objects import Node
from antrea_proxy.network.addresses import one_of_each_family, parse_unicast
from antrea_proxy.network.values import IPAddress, IPNetwork, NetworkProblem

POD_CIDRS = "spec.podCIDRs"
_HOST_BITS_MIN = 2  # network address, gateway, and two more, of which one may be the broadcast address
_NEVER = "~"  # sorts after every timestamp: a Node without one is the youngest


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClaim:
    """One Node's own words, as far as they can be used."""

    name: str
    pod_cidrs: tuple[IPNetwork, ...]
    node_addresses: tuple[IPAddress, ...]
    transport_addresses: tuple[IPAddress, ...]


def read_claims(nodes: Iterable[Node]) -> tuple[dict[str, NodeClaim], tuple[NetworkProblem, ...]]:
    """Return what each Node has, by its name, and every problem that was met."""
    claims: dict[str, NodeClaim] = {}
    problems: list[NetworkProblem] = []
    taken = _Taken()
    for node in sorted(nodes, key=_age):
        name = node.metadata.name
        reader = _Reader(name, problems)
        addresses = reader.node_addresses(node)
        claims[name] = NodeClaim(
            name=name,
            pod_cidrs=reader.pod_cidrs(node, taken),
            node_addresses=addresses,
            transport_addresses=reader.transport_addresses(node) or addresses,
        )
    return claims, tuple(problems)


def _age(node: Node) -> tuple[str, str]:
    return node.metadata.creation_timestamp or _NEVER, node.metadata.name


class _Taken:
    """The podCIDRs given out so far. CIDRs either nest or are apart, so a claim only meets its two neighbours."""

    def __init__(self) -> None:
        self._cidrs: dict[int, list[tuple[int, IPNetwork]]] = {4: [], 6: []}
        self._owners: dict[IPNetwork, str] = {}

    def claim(self, cidr: IPNetwork, owner: str) -> str | None:
        """Give `cidr` to `owner`; return None, or the Node that has it or a part of it already."""
        cidrs = self._cidrs[cidr.version]
        place = bisect_left(cidrs, int(cidr.network_address), key=lambda item: item[0])
        for _, other in cidrs[max(place - 1, 0) : place + 1]:
            if _overlap(cidr, other):
                return self._owners[other]
        cidrs.insert(place, (int(cidr.network_address), cidr))
        self._owners[cidr] = owner
        return None


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


class _Reader:
    def __init__(self, name: str, problems: list[NetworkProblem]) -> None:
        self._name = name
        self._problems = problems

    def pod_cidrs(self, node: Node, taken: _Taken) -> tuple[IPNetwork, ...]:
        """At most one of each family (the API's own rule), IPv4 first."""
        texts = node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
        found: dict[int, IPNetwork] = {}
        for text in texts:
            try:
                cidr = _pod_cidr(text)
            except ValueError as error:
                self._problem(POD_CIDRS, text, str(error))
                continue
            if cidr.version in found:
                self._problem(POD_CIDRS, text, f"a Node has one CIDR of a family; {found[cidr.version]} is used")
            elif (owner := taken.claim(cidr, self._name)) is not None:
                self._problem(POD_CIDRS, text, f"overlaps with that of the older Node {owner}, which keeps it")
            else:
                found[cidr.version] = cidr
        return tuple(found[version] for version in sorted(found))

    def node_addresses(self, node: Node) -> tuple[IPAddress, ...]:
        texts = [address.address for address in node.status.addresses if address.type == "InternalIP"]
        return self._addresses("status.addresses", texts)

    def transport_addresses(self, node: Node) -> tuple[IPAddress, ...]:
        texts = filter(str.strip, node.metadata.annotations.transport_addresses.split(","))
        return self._addresses(f"metadata.annotations[{TRANSPORT_ANNOTATION}]", texts)

    def _addresses(self, field: str, texts: Iterable[str]) -> tuple[IPAddress, ...]:
        found: list[IPAddress] = []
        for text in texts:
            try:
                found.append(parse_unicast(text))
            except ValueError as error:
                self._problem(field, text, str(error))
        return one_of_each_family(found)

    def _problem(self, field: str, value: str, reason: str) -> None:
        self._problems.append(NetworkProblem(node=self._name, field=field, value=value, reason=reason))


def _pod_cidr(text: str) -> IPNetwork:
    cidr = ip_network(text)
    if cidr.max_prefixlen - cidr.prefixlen < _HOST_BITS_MIN:
        raise ValueError(f"too small for a gateway and Pods; give /{cidr.max_prefixlen - _HOST_BITS_MIN} or larger")
    return cidr
