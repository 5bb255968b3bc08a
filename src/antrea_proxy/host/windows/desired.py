"""From the network and its Services to what a Windows Node must hold. Pure.

NetNat (WinNAT) is what Windows has for nftables here: it gives Pods' traffic to the outside the Node's address, and
takes NodePorts to the switch. It translates TCP and UDP of IPv4 alone, and nothing that comes from the Node itself.
Source: the reference of the NetNat module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Final

from antrea_proxy.host.routing import neighbours, pod_routes, service_routes
from antrea_proxy.host.services import IPV4, HostServices
from antrea_proxy.host.values import Address, Link, Neighbour, Route
from antrea_proxy.network.values import NODE_PORT_IPV4, IPAddress, Network
from antrea_proxy.proxy.frontends import Protocol

POD_NAT: Final = "antrea-proxy"
"""The NetNat of Pods' traffic to the outside."""

NODE_PORT_NAT: Final = "antrea-proxy-nodeport"
"""The NetNat of NodePorts; its one inner address is that at which the switch serves them."""

_TRANSLATED: Final = frozenset({Protocol.TCP, Protocol.UDP})


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Nat:
    """A NetNat: what comes from `inside` gets the Node's address on its way out."""

    name: str
    inside: IPv4Network


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class StaticMapping:
    """A port of all of the Node's addresses that NODE_PORT_NAT takes to `to`, the port unchanged."""

    protocol: str
    port: int
    to: IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsState:
    """All that is ours on a Windows Node. `left_out` names what Windows cannot do, and what to do instead."""

    gateway: Link
    addresses: frozenset[Address] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    routes: frozenset[Route] = frozenset()
    nats: frozenset[Nat] = frozenset()
    mappings: frozenset[StaticMapping] = frozenset()
    left_out: tuple[str, ...] = ()


def desired_windows(network: Network, services: HostServices) -> WindowsState:
    """Return what the Node must hold to take its part in `network` and, with a service_entry, in `services`."""
    gateway = network.gateway
    return WindowsState(
        gateway=Link(name=gateway.name, mac=gateway.mac, mtu=network.mtu, up=True),
        addresses=frozenset(Address(interface=gateway.name, address=address) for address in gateway.addresses),
        neighbours=frozenset(neighbours(network)),
        routes=frozenset((*pod_routes(network), *service_routes(network, services))),
        nats=frozenset(_nats(network)),
        mappings=frozenset(_mappings(network, services)),
        left_out=tuple(sorted(_left_out(network, services))),
    )


def _nats(network: Network) -> Iterator[Nat]:
    if network.masquerade and network.pod_cidr_v4 is not None:
        yield Nat(name=POD_NAT, inside=network.pod_cidr_v4)
    if network.service_entry is not None:
        yield Nat(name=NODE_PORT_NAT, inside=IPv4Network(NODE_PORT_IPV4))


def _mappings(network: Network, services: HostServices) -> Iterator[StaticMapping]:
    if network.service_entry is None:
        return
    for item in services.node_ports:
        if item.family == IPV4 and item.protocol in _TRANSLATED:
            yield StaticMapping(protocol=item.protocol.name, port=item.port, to=NODE_PORT_IPV4)


def _left_out(network: Network, services: HostServices) -> Iterator[str]:
    entry = network.service_entry
    if network.masquerade and network.pod_cidr_v6 is not None:
        yield (
            f"podCIDR {network.pod_cidr_v6}: NetNat translates no IPv6: Pods reach the outside by it with addresses "
            "of their own; let the network's routers know them"
        )
    if entry is None:
        return
    for item in services.node_ports:
        if item.protocol not in _TRANSLATED:
            yield (
                f"node port {item.port}/{item.protocol.name}: NetNat translates TCP and UDP alone; "
                "clients can ask a Linux Node"
            )
        elif item.family != IPV4:
            yield (
                f"node port {item.port}/{item.protocol.name} of IPv6: NetNat translates no IPv6; clients can ask the "
                "Node's IPv4 address, or a Linux Node"
            )
    for external in services.externals:
        if external.address in entry.local_addresses:
            yield (
                f"{external.address} port {external.port}/{external.protocol.name}: it is an address of this Node "
                "itself, which Windows keeps; give the Service another one"
            )
