"""The flows of Nodes: neighbour discovery for this Node's gateway, and the tunnel to each peer's Pods."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from antrea_proxy.network.values import Gateway, Peer, Via
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Action, DecrementTtl, Output, Resubmit, SetField
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.base_flows import ARP, IPV4, IPV6
from antrea_proxy.pipeline.direct_flows import peer_flow
from antrea_proxy.pipeline.layout import GATEWAY_PORT, TUNNEL_PORT, VIRTUAL_MAC, Layout, mac_number
from antrea_proxy.pipeline.pod_flows import link_local, neighbour_discovery
from antrea_proxy.pipeline.registers import OUTPUT_PORT
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import CACHED_UNITS, FlowEntry, Owner, OwnerKind, Unit, flow

_ARP_REPLY: Final = 2


def gateway_owner(gateway: Gateway) -> Owner:
    """The owner of the gateway's flows."""
    return Owner(OwnerKind.NODE, gateway.name)


def peer_owner(name: str) -> Owner:
    """The owner of the flows to a peer's Pods."""
    return Owner(OwnerKind.NODE, f"peer/{name}")


def compile_gateway(gateway: Gateway) -> Unit:
    """Pods find the gateway by ARP and neighbour discovery; packets reach it by L3Forwarding's last flow."""
    owner, output, mac = gateway_owner(gateway), Output(GATEWAY_PORT), mac_number(gateway.mac)
    flows: list[FlowEntry] = []
    if gateway.ipv4 is not None:
        asked_for = Match(ARP, (fields.ARP_TPA, int(gateway.ipv4)))
        flows.append(flow(owner, Table.NEIGHBOURS, 100, asked_for, [output]))
        # The Node asks under the address that it is about to send from, which may be any of its own (arp_announce,
        # ip-sysctl): an endpoint on the host network speaks from that one.
        answered = Match((fields.ETH_DST, mac), ARP, (fields.ARP_OP, _ARP_REPLY))
        flows.append(flow(owner, Table.NEIGHBOURS, 90, answered, [output]))
    if gateway.ipv6 is not None:
        flows += neighbour_discovery(owner, output, mac, (int(gateway.ipv6), link_local(mac)))
    return Unit(flows=tuple(flows))


@lru_cache(maxsize=CACHED_UNITS)
def compile_peer(peer: Peer, layout: Layout) -> Unit:
    """What goes to a peer's Pods by tunnel; by route it leaves through the gateway like all else."""
    flows = list(_tunnelled(peer, layout)) if peer.via is Via.TUNNEL else []
    if layout.direct_return:
        flows += peer_flow(peer_owner(peer.name), peer, layout)
    return Unit(flows=tuple(flows))


def _tunnelled(peer: Peer, layout: Layout) -> Iterator[FlowEntry]:
    address = peer.tunnel_address
    if address is None:
        return
    target = fields.TUN_IPV4_DST if isinstance(address, IPv4Address) else fields.TUN_IPV6_DST
    actions: list[Action] = [
        DecrementTtl(),
        SetField(fields.ETH_SRC, layout.gateway_mac),
        SetField(fields.ETH_DST, VIRTUAL_MAC),
        SetField(target, int(address)),
        SetField(OUTPUT_PORT, TUNNEL_PORT),
        Resubmit(Table.INGRESS_POLICY.id),
    ]
    for cidr in peer.pod_cidrs:
        family, destination = (IPV4, fields.IPV4_DST) if isinstance(cidr, IPv4Network) else (IPV6, fields.IPV6_DST)
        match = Match(family, (destination, int(cidr.network_address), int(cidr.netmask)))
        yield flow(peer_owner(peer.name), Table.L3_FORWARDING, 100, match, actions)
