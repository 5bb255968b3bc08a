"""The flows through which the Node itself, and whoever reaches the cluster through it, come to Services (proxyAll).

The Node's stack leads them to the gateway; what cannot answer the client by itself gets another source, in a zone of
its own: where an endpoint is reached through the tunnel, the gateway's address, and where it is reached through the
gateway again, the virtual next hop's, which the Node's stack masquerades.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Final, NamedTuple

from antrea_proxy.network.stand_ins import stand_ins
from antrea_proxy.network.values import (
    HAIRPIN_IPV4,
    HAIRPIN_IPV6,
    NODE_PORT_IPV4,
    NODE_PORT_IPV6,
    Gateway,
    IPAddress,
    ServiceEntry,
)
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Action, Conntrack, Nat, Output, Resubmit, SetField
from antrea_proxy.openflow.constants import OFPP_IN_PORT, CtState, NatKind
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.base_flows import IPV4, IPV6, tracked
from antrea_proxy.pipeline.layout import GATEWAY_PORT, REFUSE_PORT, TUNNEL_PORT, Layout
from antrea_proxy.pipeline.registers import (
    DESTINATION,
    NODE_PORT,
    OUTPUT_PORT,
    REFUSED_MARK,
    SERVICE_MARK,
    SNAT_ZONE,
    SOURCE,
    SOURCE_MASK,
    Source,
)
from antrea_proxy.pipeline.service_templates import REFUSE
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, Owner, OwnerKind, Unit, flow

SNAT_PORTS: Final = (1024, 32_767)
"""Source ports of clients that bear the gateway's address: below those of the Node's own connections from it.

The latter are 32,768 and above (ip-sysctl.rst, ip_local_port_range), so that no reply is taken for another's.
"""


_FORTH: Final = (
    (fields.CT_STATE, CtState.TRK, CtState.TRK | CtState.RPL),
    (fields.CT_MARK, SERVICE_MARK, SERVICE_MARK),
)
"""From the client of a Service to the endpoint."""


class _Family(NamedTuple):
    """One IP family at a Node, and its addresses in it."""

    condition: tuple[fields.Field, int]
    source: fields.Field
    destination: fields.Field
    gateway: IPAddress
    hop: IPAddress
    node_port: IPAddress


def entry_owner() -> Owner:
    """The owner of these flows."""
    return Owner(OwnerKind.NODE, "entry of Services")


def compile_entry(gateway: Gateway, entry: ServiceEntry, layout: Layout) -> Unit:
    """The flows of a Node whose own stack takes part in Services."""
    flows: list[FlowEntry] = []
    for family in _families(gateway):
        flows += _classifier(family, entry, layout)
        flows += _own_addresses(family, entry)
        flows += _node_ports(family, entry)
        flows += _translation(family)
        flows += _untranslated(family, entry)
        flows += _refusals(family)
    return Unit(flows=tuple(flows))


def _families(gateway: Gateway) -> Iterator[_Family]:
    if gateway.ipv4 is not None:
        yield _Family(IPV4, fields.IPV4_SRC, fields.IPV4_DST, gateway.ipv4, HAIRPIN_IPV4, NODE_PORT_IPV4)
    if gateway.ipv6 is not None:
        yield _Family(IPV6, fields.IPV6_SRC, fields.IPV6_DST, gateway.ipv6, HAIRPIN_IPV6, NODE_PORT_IPV6)


def _of(family: _Family, addresses: tuple[IPAddress, ...]) -> Iterator[IPAddress]:
    return (item for item in addresses if isinstance(item, IPv4Address) == isinstance(family.gateway, IPv4Address))


def _classifier(family: _Family, entry: ServiceEntry, layout: Layout) -> Iterator[FlowEntry]:
    """The Node's own connections are told from those of others by their source; replies get their client back."""
    owner = entry_owner()
    look_up = Resubmit(Table.CONNTRACK.id)
    from_gateway = (fields.IN_PORT, GATEWAY_PORT), family.condition
    give_back = Conntrack(SNAT_ZONE, Table.CONNTRACK.id, actions=(Nat(),))
    outside = Resubmit(Table.DIRECT_RETURN.id) if layout.direct_return else look_up
    yield flow(owner, Table.CLASSIFIER, 110, Match(*from_gateway), [Source.OUTSIDE.load, outside])
    for address in (family.gateway, *_of(family, entry.local_addresses)):
        match = Match(*from_gateway, (family.source, int(address)))
        yield flow(owner, Table.CLASSIFIER, 120, match, [Source.GATEWAY.load, look_up])
    match = Match(*from_gateway, (family.destination, int(family.hop)))
    yield flow(owner, Table.CLASSIFIER, 130, match, [Source.GATEWAY.load, give_back])
    if layout.tunnel:
        to_gateway = (family.destination, int(family.gateway))
        match = Match((fields.IN_PORT, TUNNEL_PORT), family.condition, to_gateway)
        yield flow(owner, Table.CLASSIFIER, 130, match, [Source.TUNNEL.load, give_back])


def _own_addresses(family: _Family, entry: ServiceEntry) -> Iterator[FlowEntry]:
    """Between the Node's stack and the switch, its own addresses are written as their stand-ins."""
    owner = entry_owner()
    given = stand_ins(entry.local_addresses)
    for address in _of(family, tuple(given)):
        to_it = Match((fields.IN_PORT, GATEWAY_PORT), family.condition, (family.destination, int(given[address])))
        named: list[Action] = [SetField(family.destination, int(address)), Resubmit(Table.CLASSIFIER.id)]
        yield flow(owner, Table.CLASSIFIER, 140, to_it, named)
        from_it = Match((OUTPUT_PORT, GATEWAY_PORT), family.condition, (family.source, int(address)))
        stood_in: list[Action] = [SetField(family.source, int(given[address])), Resubmit(Table.OUTPUT.id)]
        yield flow(owner, Table.OUTPUT, 220, from_it, stood_in)


def _node_ports(family: _Family, entry: ServiceEntry) -> Iterator[FlowEntry]:
    """What no Service has of a Node's own address is the Node's; of the virtual one, nobody's."""
    owner = entry_owner()
    noted: list[Action] = [SetField(DESTINATION, NODE_PORT), Resubmit(Table.SERVICE_LB.id)]
    for address in (family.node_port, *_of(family, entry.node_port_addresses)):
        match = Match(tracked(CtState.NEW), family.condition, (family.destination, int(address)))
        yield flow(owner, Table.CONNTRACK_STATE, 120, match, noted)
    unserved = Match(family.condition, (family.destination, int(family.node_port)))
    yield flow(owner, Table.SERVICE_LB, 20, unserved, REFUSE)
    forgotten: list[Action] = [SetField(DESTINATION, 0), Resubmit(Table.EGRESS_POLICY.id)]
    yield flow(owner, Table.SERVICE_LB, 10, Match(family.condition, (DESTINATION, NODE_PORT)), forgotten)


def _translation(family: _Family) -> Iterator[FlowEntry]:
    """Whose replies would not come back to this switch by themselves gets another source.

    The mark is that of the other zone, since Output sees the connection as it was looked up last.
    """
    owner = entry_owner()
    first_port, last_port = SNAT_PORTS
    beyond = Nat(kind=NatKind.SRC, address_min=family.gateway, port_min=first_port, port_max=last_port)
    back = Nat(kind=NatKind.SRC, address_min=family.hop)
    for source in (Source.GATEWAY, Source.OUTSIDE):
        for port, translation in ((TUNNEL_PORT, beyond), (GATEWAY_PORT, back)):
            mark = SetField(fields.CT_MARK, SERVICE_MARK, SERVICE_MARK)
            commit = Conntrack(SNAT_ZONE, Table.OUTPUT.id, commit=True, actions=(translation, mark))
            match = Match(*_FORTH, (SOURCE, source, SOURCE_MASK), (OUTPUT_PORT, port), family.condition)
            yield flow(owner, Table.COMMIT, 220, match, [commit])


def _untranslated(family: _Family, entry: ServiceEntry) -> Iterator[FlowEntry]:
    """Packets that keep their source: of the Node's own those that bear the gateway's address already, and those of
    others to endpoints on this Node's own network, whose replies the Node's stack leads back to the switch.
    """  # noqa: D205 - the sentence does not fit a line
    owner, on = entry_owner(), [Resubmit(Table.OUTPUT.id)]
    beyond = (SOURCE, Source.GATEWAY, SOURCE_MASK), (OUTPUT_PORT, TUNNEL_PORT), family.condition
    yield flow(owner, Table.COMMIT, 230, Match(*_FORTH, *beyond, (family.source, int(family.gateway))), on)
    here = (SOURCE, Source.OUTSIDE, SOURCE_MASK), (OUTPUT_PORT, GATEWAY_PORT), family.condition
    for address in (family.gateway, *_of(family, entry.local_addresses)):
        yield flow(owner, Table.COMMIT, 230, Match(*_FORTH, *here, (family.destination, int(address))), on)


def _refusals(family: _Family) -> Iterator[FlowEntry]:
    """The Node's own datagrams are refused under the virtual next hop's address: to an address of its own, the kernel
    sends no ICMP error that bears the Service's (icmp_send() asks for a local source then). A RST it does send.
    """  # noqa: D205 - the sentence does not fit a line
    owner = entry_owner()
    for protocol in (fields.IP_PROTO_UDP, fields.IP_PROTO_SCTP):
        refused = (SOURCE, Source.GATEWAY, SOURCE_MASK), (OUTPUT_PORT, REFUSE_PORT), family.condition
        match = Match(*refused, (fields.IP_PROTO, protocol))
        mark = SetField(fields.CT_MARK, REFUSED_MARK, REFUSED_MARK)
        under = Nat(kind=NatKind.SRC, address_min=family.hop)
        commit = Conntrack(SNAT_ZONE, Table.OUTPUT.id, commit=True, actions=(under, mark))
        yield flow(owner, Table.OUTPUT, 230, match, [SetField(SOURCE, 0, SOURCE_MASK), commit])
    answer = Match(tracked(CtState.REL), (fields.CT_MARK, REFUSED_MARK, REFUSED_MARK), family.condition)
    # The kernel takes in nothing whose source is an address of its own.
    told: list[Action] = [SetField(family.source, int(family.hop)), Output(OFPP_IN_PORT)]
    yield flow(owner, Table.CONNTRACK, 210, answer, told)
