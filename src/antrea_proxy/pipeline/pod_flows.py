"""The flows of one Pod: its addresses at its port, neighbour discovery, delivery, and the way back to itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from antrea_proxy.network.interfaces import PodInterface
from antrea_proxy.network.values import HAIRPIN_IPV4, HAIRPIN_IPV6
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Action, Output, Resubmit, SetField
from antrea_proxy.openflow.constants import OFPP_IN_PORT
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.base_flows import (
    ARP,
    ICMPV6,
    IPV4,
    IPV6,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
)
from antrea_proxy.pipeline.layout import Layout, mac_number
from antrea_proxy.pipeline.registers import OUTPUT_PORT, Source
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import CACHED_UNITS, FlowEntry, Owner, OwnerKind, Unit, flow

_LINK_LOCAL: Final = int(IPv6Address("fe80::"))


def pod_owner(pod: PodInterface) -> Owner:
    """The owner of a Pod's flows: its sandbox, since a Pod may be given a new one."""
    return Owner(OwnerKind.POD, f"{pod.namespace}/{pod.name}/{pod.container_id}/{pod.interface}")


@lru_cache(maxsize=CACHED_UNITS)
def compile_pod(pod: PodInterface, layout: Layout) -> Unit:
    """The flows that join a Pod to the switch."""
    owner = pod_owner(pod)
    flows: list[FlowEntry] = []
    if pod.ipv4 is not None:
        flows += _ipv4(owner, pod, pod.ipv4)
        flows += _delivery(owner, pod, layout, pod.ipv4)
    if pod.ipv6 is not None:
        flows += _ipv6(owner, pod, pod.ipv6)
        flows += _delivery(owner, pod, layout, pod.ipv6)
    return Unit(flows=tuple(flows))


def link_local(mac: int) -> int:
    """The IPv6 link-local address that a kernel makes of a MAC address (RFC 4291 appendix A)."""
    return _LINK_LOCAL | ((mac >> 24) ^ 0x020000) << 40 | 0xFFFE << 24 | mac & 0xFFFFFF


def _ipv4(owner: Owner, pod: PodInterface, address: IPv4Address) -> Iterator[FlowEntry]:
    mac, at_port = mac_number(pod.mac), (fields.IN_PORT, pod.ofport)
    packets = Match(at_port, (fields.ETH_SRC, mac), IPV4, (fields.IPV4_SRC, int(address)))
    yield flow(owner, Table.CLASSIFIER, 100, packets, [Source.POD.load, Resubmit(Table.CONNTRACK.id)])
    arp = Match(at_port, (fields.ETH_SRC, mac), ARP, (fields.ARP_SPA, int(address)), (fields.ARP_SHA, mac))
    yield flow(owner, Table.CLASSIFIER, 200, arp, [Resubmit(Table.NEIGHBOURS.id)])
    asked_for = Match(ARP, (fields.ARP_TPA, int(address)))
    yield flow(owner, Table.NEIGHBOURS, 100, asked_for, [Output(pod.ofport)])


def _ipv6(owner: Owner, pod: PodInterface, address: IPv6Address) -> Iterator[FlowEntry]:
    mac, at_port = mac_number(pod.mac), (fields.IN_PORT, pod.ofport)
    packets = Match(at_port, (fields.ETH_SRC, mac), IPV6, (fields.IPV6_SRC, int(address)))
    yield flow(owner, Table.CLASSIFIER, 100, packets, [Source.POD.load, Resubmit(Table.CONNTRACK.id)])
    for source in (int(address), link_local(mac)):
        for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
            discovery = Match(
                at_port, (fields.ETH_SRC, mac), IPV6, ICMPV6, (fields.ICMPV6_TYPE, kind), (fields.IPV6_SRC, source)
            )
            yield flow(owner, Table.CLASSIFIER, 200, discovery, [Resubmit(Table.NEIGHBOURS.id)])
    yield from neighbour_discovery(owner, Output(pod.ofport), mac, (int(address), link_local(mac)))


def neighbour_discovery(owner: Owner, output: Output, mac: int, addresses: tuple[int, ...]) -> Iterator[FlowEntry]:
    """Solicitations for these addresses, and advertisements and probes sent to this MAC address, go to `output`."""
    for address in addresses:
        # Open vSwitch 3.1 tells the kernel datapath the target only where type and code are matched whole
        # (odp_flow_key_from_mask); without the code, the first solicitation's way would be that of all from its port.
        asked_for = Match(
            IPV6,
            ICMPV6,
            (fields.ICMPV6_TYPE, NEIGHBOUR_SOLICITATION),
            (fields.ICMPV6_CODE, 0),
            (fields.ND_TARGET, address),
        )
        yield flow(owner, Table.NEIGHBOURS, 100, asked_for, [output])
    answered = Match((fields.ETH_DST, mac), IPV6, ICMPV6, (fields.ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT))
    yield flow(owner, Table.NEIGHBOURS, 100, answered, [output])


def _delivery(
    owner: Owner, pod: PodInterface, layout: Layout, address: IPv4Address | IPv6Address
) -> Iterator[FlowEntry]:
    if isinstance(address, IPv4Address):
        family, destination, source, hairpin = IPV4, fields.IPV4_DST, fields.IPV4_SRC, int(HAIRPIN_IPV4)
    else:
        family, destination, source, hairpin = IPV6, fields.IPV6_DST, fields.IPV6_SRC, int(HAIRPIN_IPV6)
    deliver: list[Action] = [
        SetField(fields.ETH_SRC, layout.gateway_mac),
        SetField(fields.ETH_DST, mac_number(pod.mac)),
        SetField(OUTPUT_PORT, pod.ofport),
        Resubmit(Table.INGRESS_POLICY.id),
    ]
    yield flow(owner, Table.L3_FORWARDING, 200, Match(family, (destination, int(address))), deliver)
    # The packet of a connection and the reply of one look alike here; only the former may not keep its source, or
    # the Pod would take it for its own. The reply bears the Service's address by now.
    itself = Match((fields.IN_PORT, pod.ofport), (OUTPUT_PORT, pod.ofport), family, (source, int(address)))
    yield flow(owner, Table.OUTPUT, 210, itself, [SetField(source, hairpin), Output(OFPP_IN_PORT)])
    back = Match((fields.IN_PORT, pod.ofport), (OUTPUT_PORT, pod.ofport), family)
    yield flow(owner, Table.OUTPUT, 200, back, [Output(OFPP_IN_PORT)])
