"""The lab's address plan: one place for every range, and the arithmetic from a host's number to its addresses.

Nothing here exists outside of the lab's own network namespaces, so the plan is the same for all labs of a machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from antrea_proxy.lab.options import IPFamily

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NODE_RANGES: tuple[Network, ...] = (IPv4Network("172.18.0.0/24"), IPv6Network("fd00:18::/64"))
TUNNEL_RANGES: tuple[Network, ...] = (IPv4Network("172.19.0.0/24"), IPv6Network("fd00:19::/64"))
SERVICE_RANGES: tuple[Network, ...] = (IPv4Network("10.96.0.0/16"), IPv6Network("fd00:96::/108"))
LOAD_BALANCER_RANGES: tuple[Network, ...] = (IPv4Network("172.30.0.0/24"), IPv6Network("fd00:30::/64"))
EXTERNAL_RANGES: tuple[Network, ...] = (IPv4Network("172.31.0.0/24"), IPv6Network("fd00:31::/64"))
"""For spec.externalIPs: clients route it to the Nodes as they do the load-balancer range."""
FIRST_CLIENT = 101
ROUTER_HOST = 254


def subnet_of(network: Network, number: int) -> Network:
    """Give the subnet `number` of those that begin with a range, which is number 0."""
    if isinstance(network, IPv6Network):
        return IPv6Network((network.network_address + number * network.num_addresses, network.prefixlen))
    return IPv4Network((network.network_address + number * network.num_addresses, network.prefixlen))


def _at(network: Network, number: int) -> Address:
    """Give the address `number` in a range; in IPv6 the number's decimal digits stand at the end (fd00:18::101)."""
    if isinstance(network, IPv6Network):
        return network.network_address + int(str(number), 16)
    return network.network_address + number


def of_family(family: IPFamily, values: tuple[Network, ...]) -> tuple[Network, ...]:
    """Keep the ranges of the families that the lab has, IPv4 first."""
    return tuple(v for v in values if (family.has_ipv4 if v.version == 4 else family.has_ipv6))  # noqa: PLR2004 - IPv4


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPlan:
    """Addresses of a lab of one or two families, IPv4 first in every tuple.

    Nodes are dealt out to the subnets in turn; clients and the API server are in the first, which is number 0.
    """

    family: IPFamily
    subnets: int = 1

    def subnet(self, number: int) -> int:
        """Give the number of a Node's subnet."""
        return (number - 1) % self.subnets

    def node(self, number: int) -> tuple[Address, ...]:
        """Give a Node's own addresses: 172.18.S.N and fd00:18:0:S::N in subnet S."""
        return self._hosts(NODE_RANGES, number, self.subnet(number))

    def client(self, number: int) -> tuple[Address, ...]:
        """Give a client's addresses: client-1 has 172.18.0.101 and fd00:18::101."""
        return self._hosts(NODE_RANGES, FIRST_CLIENT - 1 + number)

    def api_server(self) -> tuple[Address, ...]:
        """Give the API server's addresses, those of the first subnet's router: 172.18.0.254 and fd00:18::254."""
        return self.router(0)

    def tunnel(self, number: int) -> tuple[Address, ...]:
        """Give the addresses of a Node's second uplink: 172.19.S.N and fd00:19:0:S::N in subnet S."""
        return self._hosts(TUNNEL_RANGES, number, self.subnet(number))

    def router(self, subnet: int) -> tuple[Address, ...]:
        """Give the addresses at which Nodes of a subnet reach the others."""
        return self._hosts(NODE_RANGES, ROUTER_HOST, subnet)

    def tunnel_router(self, subnet: int) -> tuple[Address, ...]:
        """Give the addresses at which second uplinks of a subnet reach the others."""
        return self._hosts(TUNNEL_RANGES, ROUTER_HOST, subnet)

    def tunnel_subnets(self, subnet: int) -> tuple[Network, ...]:
        """Give the ranges of a subnet's second uplinks."""
        return tuple(subnet_of(network, subnet) for network in of_family(self.family, TUNNEL_RANGES))

    def pod_cidrs(self, number: int) -> tuple[Network, ...]:
        """Give a Node's Pod ranges: 10.10.N.0/24 and fd00:10:N::/64."""
        both: tuple[Network, ...] = (IPv4Network(f"10.10.{number}.0/24"), IPv6Network(f"fd00:10:{number}::/64"))
        return of_family(self.family, both)

    @property
    def services(self) -> tuple[Network, ...]:
        """The ranges of ClusterIPs."""
        return of_family(self.family, SERVICE_RANGES)

    @property
    def load_balancers(self) -> tuple[Network, ...]:
        """The ranges that the lab gives load-balancer addresses from."""
        return of_family(self.family, LOAD_BALANCER_RANGES)

    @property
    def routed_to_nodes(self) -> tuple[Network, ...]:
        """The ranges that clients reach by way of the Nodes."""
        return of_family(self.family, LOAD_BALANCER_RANGES + EXTERNAL_RANGES)

    def with_prefix(self, addresses: tuple[Address, ...]) -> tuple[str, ...]:
        """Write addresses of the underlay with their prefix length, for `ip address add`."""
        lengths = {network.version: network.prefixlen for network in NODE_RANGES}
        return tuple(f"{address}/{lengths[address.version]}" for address in addresses)

    def _hosts(self, ranges: tuple[Network, ...], number: int, subnet: int = 0) -> tuple[Address, ...]:
        return tuple(_at(subnet_of(network, subnet), number) for network in of_family(self.family, ranges))
