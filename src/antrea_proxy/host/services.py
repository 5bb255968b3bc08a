"""What Services ask of the Node's own network stack (proxyAll), counted by who asks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.values import IPAddress, IPNetwork
from antrea_proxy.proxy.frontends import FrontendKind, Protocol
from antrea_proxy.proxy.service_ports import ServicePorts

_BLOCK: Final = {4: 16, 6: 112}
"""Prefix lengths within which ClusterIPs share a route: 65,536 addresses, so that a Service range has few of them, and
none reaches far beyond what Services have."""


class NodePort(NamedTuple):
    """A port of the Node's own addresses of one family (4 or 6) that a Service has."""

    family: int
    protocol: Protocol
    port: int


class External(NamedTuple):
    """A port of a load-balancer IP or an external IP; of a `direct` one, each Node may see one direction alone."""

    address: IPAddress
    protocol: Protocol
    port: int
    direct: bool = False


Demand = NodePort | External


@dataclass(frozen=True, slots=True, kw_only=True)
class HostServices:
    """All that Services ask for. `ranges` hold all of `cluster_ips`, and little besides."""

    node_ports: frozenset[NodePort] = frozenset()
    externals: frozenset[External] = frozenset()
    cluster_ips: frozenset[IPAddress] = frozenset()
    ranges: frozenset[IPNetwork] = frozenset()

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """The load-balancer IPs and external IPs."""
        return frozenset(item.address for item in self.externals)


def demands(ports: ServicePorts) -> Iterator[Demand]:
    """What one Service asks for besides its ClusterIPs; a demand may come twice."""
    for port in ports.ports:
        for frontend in port.frontends:
            if frontend.kind is FrontendKind.NODE_PORT:
                yield NodePort(port.family, port.protocol, frontend.port)
            elif frontend.kind is not FrontendKind.CLUSTER_IP and frontend.address is not None:
                yield External(frontend.address, port.protocol, frontend.port, frontend.direct)


@dataclass(slots=True)
class Demands:
    """What every Service asks for, counted: while one takes something over from another, both ask for it."""

    _of: dict[NamespacedName, tuple[Demand, ...]] = field(default_factory=dict)
    _asked: Counter[Demand] = field(default_factory=Counter)
    _cluster_ips: dict[NamespacedName, tuple[IPAddress, ...]] = field(default_factory=dict)
    _blocks: dict[IPNetwork, Counter[int]] = field(default_factory=dict)
    _ranges: dict[IPNetwork, IPNetwork] = field(default_factory=dict)

    def take(self, services: Mapping[NamespacedName, ServicePorts]) -> bool:
        """Note what these Services ask for now; say whether that changes what is asked for in all."""
        before = set(self._asked)
        blocks: set[IPNetwork] = set()
        for name, ports in services.items():
            self._asked.update(new := tuple(set(demands(ports))))
            self._asked.subtract(self._of.pop(name, ()))
            if new:
                self._of[name] = new
            blocks |= self._take_cluster_ips(name, ports.cluster_ips)
        for block in blocks:
            self._cover(block)
        for gone in [item for item, count in self._asked.items() if not count]:
            del self._asked[gone]
        return self._asked.keys() != before or bool(blocks)

    @property
    def wanted(self) -> HostServices:
        """All of it, as it is now."""
        return HostServices(
            node_ports=frozenset(item for item in self._asked if isinstance(item, NodePort)),
            externals=frozenset(item for item in self._asked if isinstance(item, External)),
            cluster_ips=frozenset(address for given in self._cluster_ips.values() for address in given),
            ranges=frozenset(self._ranges.values()),
        )

    def _take_cluster_ips(self, name: NamespacedName, addresses: tuple[IPAddress, ...]) -> set[IPNetwork]:
        before = self._cluster_ips.pop(name, ())
        if addresses:
            self._cluster_ips[name] = addresses
        if before == addresses:
            return set()
        for address in addresses:
            self._blocks.setdefault(_block(address), Counter())[int(address)] += 1
        for address in before:
            held = self._blocks[_block(address)]
            held[int(address)] -= 1
            if not held[int(address)]:
                del held[int(address)]
        return {_block(address) for address in (*before, *addresses)}

    def _cover(self, block: IPNetwork) -> None:
        if self._blocks[block]:
            self._ranges[block] = covering(block, self._blocks[block])
        else:
            del self._blocks[block]
            self._ranges.pop(block, None)


def covering(block: IPNetwork, addresses: Iterable[int]) -> IPNetwork:
    """Return the smallest network that holds these addresses of a block; there is at least one."""
    numbers = set(addresses)
    differing = (min(numbers) ^ max(numbers)).bit_length()
    length = block.max_prefixlen - differing
    return type(block)((min(numbers) >> differing << differing, length))


def _block(address: IPAddress) -> IPNetwork:
    network: IPv4Network | IPv6Network = ip_network((address, _BLOCK[address.version]), strict=False)
    return network
