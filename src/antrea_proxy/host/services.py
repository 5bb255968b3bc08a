"""What Services ask of the Node's own network stack (proxyAll), counted by who asks. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPV4LENGTH, IPV6LENGTH, IPv4Network, IPv6Network
from typing import Final, NamedTuple

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.network.values import IPAddress, IPNetwork
from antrea_proxy.proxy.frontends import FrontendKind, Protocol
from antrea_proxy.proxy.service_ports import ServicePorts

IPV4: Final = 4

_LOWER_BITS: Final = 16
"""ClusterIPs whose other bits are alike share a route: 65,536 addresses, so that a Service range has few of them, and
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


class _Block(NamedTuple):
    """Addresses of a family whose numbers are alike but for their last bits."""

    version: int
    upper_bits: int


@dataclass(slots=True)
class Demands:
    """What every Service asks for, counted: while one takes something over from another, both ask for it.

    To take a change costs as much as the change is large; only `wanted` goes through all that there is. Without
    `proxy_all` the Node's stack has no part in Services, and nothing is asked of it.
    """

    proxy_all: bool = True
    _of: dict[NamespacedName, tuple[Demand, ...]] = field(default_factory=dict)
    _asked: Counter[Demand] = field(default_factory=Counter)
    _cluster_ips: dict[NamespacedName, tuple[IPAddress, ...]] = field(default_factory=dict)
    _blocks: dict[_Block, Counter[int]] = field(default_factory=dict)
    _ranges: dict[_Block, IPNetwork] = field(default_factory=dict)
    """Those of the blocks that did not change since they were asked for."""

    def take(self, services: Mapping[NamespacedName, ServicePorts]) -> bool:
        """Note what these Services ask for now; say whether that changes what is asked for in all."""
        if not self.proxy_all:
            return False
        asked_before: dict[Demand, bool] = {}
        addresses_changed = False
        for name, ports in services.items():
            new, old = tuple(set(demands(ports))), self._of.pop(name, ())
            for demand in (*new, *old):
                asked_before.setdefault(demand, demand in self._asked)
            self._asked.update(new)
            self._asked.subtract(old)
            if new:
                self._of[name] = new
            addresses_changed |= self._take_cluster_ips(name, ports.cluster_ips)
        for demand in asked_before:
            if not self._asked[demand]:
                del self._asked[demand]
        return addresses_changed or any((demand in self._asked) != was for demand, was in asked_before.items())

    @property
    def wanted(self) -> HostServices:
        """All of it, as it is now."""
        for block in self._blocks.keys() - self._ranges.keys():
            self._ranges[block] = covering(block.version, self._blocks[block])
        return HostServices(
            node_ports=frozenset(item for item in self._asked if isinstance(item, NodePort)),
            externals=frozenset(item for item in self._asked if isinstance(item, External)),
            cluster_ips=frozenset(address for given in self._cluster_ips.values() for address in given),
            ranges=frozenset(self._ranges.values()),
        )

    def _take_cluster_ips(self, name: NamespacedName, addresses: tuple[IPAddress, ...]) -> bool:
        before = self._cluster_ips.pop(name, ())
        if addresses:
            self._cluster_ips[name] = addresses
        if before == addresses:
            return False
        for address in addresses:
            self._count(address, 1)
        for address in before:
            self._count(address, -1)
        return True

    def _count(self, address: IPAddress, by: int) -> None:
        number = int(address)
        block = _Block(address.version, number >> _LOWER_BITS)
        self._ranges.pop(block, None)
        held = self._blocks.setdefault(block, Counter())
        held[number] += by
        if not held[number]:
            del held[number]
            if not held:
                del self._blocks[block]


def covering(version: int, addresses: Collection[int]) -> IPNetwork:
    """Return the smallest network of a family, 4 or 6, that holds these addresses; there is at least one."""
    lowest = min(addresses)
    differing = (lowest ^ max(addresses)).bit_length()
    first = lowest >> differing << differing
    if version == IPV4:
        return IPv4Network((first, IPV4LENGTH - differing))
    return IPv6Network((first, IPV6LENGTH - differing))
