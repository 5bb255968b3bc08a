"""Where the Node's stack, of whatever operating system, sends what is for Pods and Services. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final

from antrea_proxy.host.services import HostServices
from antrea_proxy.host.values import Neighbour, Route
from antrea_proxy.network.addresses import gateway_interface, of_family
from antrea_proxy.network.values import (
    GLOBAL_VIRTUAL_MAC,
    HAIRPIN_IPV4,
    HAIRPIN_IPV6,
    NODE_PORT_IPV4,
    NODE_PORT_IPV6,
    IPAddress,
    IPNetwork,
    Network,
    ServiceEntry,
    Via,
)

HOPS: Final[dict[int, IPAddress]] = {4: HAIRPIN_IPV4, 6: HAIRPIN_IPV6}
"""The next hop to Services, by IP version."""

NODE_PORT_ADDRESSES: Final[dict[int, IPAddress]] = {4: NODE_PORT_IPV4, 6: NODE_PORT_IPV6}
"""Where what comes to a NodePort is sent, by IP version."""


def families(network: Network) -> tuple[int, ...]:
    """The IP versions that the gateway has."""
    return tuple(address.version for address in network.gateway.addresses)


def neighbours(network: Network) -> Iterator[Neighbour]:
    """For each peer that is reached through the switch: its gateway, at the address that the switch takes for it."""
    for cidr in _tunnelled(network):
        yield Neighbour(interface=network.gateway.name, address=gateway_interface(cidr).ip, mac=GLOBAL_VIRTUAL_MAC)
    if network.service_entry is not None:
        for version in families(network):
            # Whatever the switch has refused must bear the MAC of the refusal port, which is the gateway's.
            yield Neighbour(interface=network.gateway.name, address=HOPS[version], mac=network.gateway.mac)


def pod_routes(network: Network) -> Iterator[Route]:
    """To the Pods of peers, through the switch or by the peers' own addresses."""
    for cidr in _tunnelled(network):
        yield Route(destination=cidr, via=gateway_interface(cidr).ip, interface=network.gateway.name)
    for peer in network.peers:
        for cidr in peer.pod_cidrs if peer.via is Via.ROUTE else ():
            next_hop = of_family(cidr.version, peer.next_hops)
            if next_hop is not None:
                yield Route(destination=cidr, via=next_hop, interface=None)


def service_routes(network: Network, services: HostServices) -> Iterator[Route]:
    """To the switch: the virtual addresses, every ClusterIP, and every external address but those of Nodes.

    What goes to another Node's address is that Node's to serve; all of its other traffic goes there, too.
    """
    entry = network.service_entry
    if entry is None:
        return
    addresses = led_to_switch(network, entry, services)
    for version in families(network):
        virtual = (HOPS[version], NODE_PORT_ADDRESSES[version])
        ranges = (item for item in services.ranges if item.version == version)
        mine = (item for item in addresses if item.version == version)
        for destination in (*ranges, *map(ip_network, (*mine, *virtual))):
            yield Route(destination=destination, via=HOPS[version], interface=network.gateway.name)


def led_to_switch(network: Network, entry: ServiceEntry, services: HostServices) -> frozenset[IPAddress]:
    """The external addresses that the Node reaches through the switch: none of its own, and none of a peer's."""
    return services.addresses - set(entry.local_addresses) - _of_peers(network)


def _of_peers(network: Network) -> set[IPAddress]:
    found: set[IPAddress] = set()
    for peer in network.peers:
        found.update(peer.node_addresses, peer.next_hops)
        found.update(() if peer.tunnel_address is None else (peer.tunnel_address,))
    return found


def _tunnelled(network: Network) -> Iterator[IPNetwork]:
    """PodCIDRs of peers beyond the tunnel, of the families that this Node's gateway has."""
    able = families(network)
    for peer in network.peers:
        if peer.via is Via.TUNNEL:
            yield from (cidr for cidr in peer.pod_cidrs if cidr.version in able)
