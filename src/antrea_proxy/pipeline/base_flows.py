"""The flows that every Node has, whatever its Pods and Services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from antrea_proxy.network.values import HAIRPIN_IPV4, HAIRPIN_IPV6
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import (
    Action,
    Conntrack,
    CopyField,
    Nat,
    Output,
    OutputRegister,
    Resubmit,
    SetField,
)
from antrea_proxy.openflow.constants import OFPP_IN_PORT, CtState, NatKind
from antrea_proxy.openflow.match import Match
from antrea_proxy.pipeline.layout import GATEWAY_PORT, TUNNEL_PORT, Layout
from antrea_proxy.pipeline.registers import (
    CONNTRACK_ZONE,
    MOST_REFUSALS,
    OUTPUT_PORT,
    REFUSALS,
    SERVICE_MARK,
    SLOT,
    SOURCE,
    SOURCE_MARK_MASK,
    SOURCE_MASK,
    Source,
)
from antrea_proxy.pipeline.slots import hash_groups
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, Owner, OwnerKind, Unit, flow

OWNER: Final = Owner(OwnerKind.BASE, "")

IPV4: Final = (fields.ETH_TYPE, fields.ETH_TYPE_IPV4)
IPV6: Final = (fields.ETH_TYPE, fields.ETH_TYPE_IPV6)
ARP: Final = (fields.ETH_TYPE, fields.ETH_TYPE_ARP)
TCP: Final = (fields.IP_PROTO, fields.IP_PROTO_TCP)
ICMPV6: Final = (fields.IP_PROTO, fields.IP_PROTO_ICMPV6)

NEIGHBOUR_SOLICITATION: Final = 135
NEIGHBOUR_ADVERTISEMENT: Final = 136

_RST: Final = 0x04


def tracked(state: CtState) -> tuple[fields.Field, int, int]:
    """The condition that the packet is tracked and has these state bits."""
    wanted = int(state | CtState.TRK)
    return fields.CT_STATE, wanted, wanted


def compile_base(layout: Layout) -> Unit:
    """The flows of a Node whose gateway has this MAC address."""
    return Unit(flows=tuple(_flows(layout)), groups=hash_groups())


def _flows(layout: Layout) -> Iterator[FlowEntry]:
    yield from _classifier(layout)
    yield from _neighbours()
    yield from _conntrack()
    yield from _passages()
    yield from _translated()
    yield from _forwarding(layout)
    yield from _commit(layout)
    yield from _output()


def _classifier(layout: Layout) -> Iterator[FlowEntry]:
    """From the gateway and the tunnel every address is welcome; a Pod's flows are its own."""
    yield flow(
        OWNER, Table.CLASSIFIER, 200, Match((fields.IN_PORT, GATEWAY_PORT), ARP), [Resubmit(Table.NEIGHBOURS.id)]
    )
    for kind in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT):
        match = Match((fields.IN_PORT, GATEWAY_PORT), IPV6, ICMPV6, (fields.ICMPV6_TYPE, kind))
        yield flow(OWNER, Table.CLASSIFIER, 200, match, [Resubmit(Table.NEIGHBOURS.id)])
    ports = {GATEWAY_PORT: Source.GATEWAY} | ({TUNNEL_PORT: Source.TUNNEL} if layout.tunnel else {})
    for port, source in ports.items():
        for family in (IPV4, IPV6):
            match = Match((fields.IN_PORT, port), family)
            yield flow(OWNER, Table.CLASSIFIER, 100, match, [source.load, Resubmit(Table.CONNTRACK.id)])
    yield flow(OWNER, Table.CLASSIFIER, 0, Match())


def _neighbours() -> Iterator[FlowEntry]:
    yield flow(OWNER, Table.NEIGHBOURS, 0, Match())


def _conntrack() -> Iterator[FlowEntry]:
    """The reply of a hairpin bears the Pod's own address as its source: the client's address is the same one."""
    look_up = Conntrack(CONNTRACK_ZONE, Table.CONNTRACK_STATE.id, actions=(Nat(),))
    turn_back = (
        ((IPV4, (fields.IPV4_DST, int(HAIRPIN_IPV4))), CopyField(fields.IPV4_SRC, fields.IPV4_DST, 32)),
        ((IPV6, (fields.IPV6_DST, int(HAIRPIN_IPV6))), CopyField(fields.IPV6_SRC, fields.IPV6_DST, 128)),
    )
    for conditions, copy in turn_back:
        match = Match((SOURCE, Source.POD, SOURCE_MASK), *conditions)
        yield flow(OWNER, Table.CONNTRACK, 200, match, [copy, look_up])
    for family in (IPV4, IPV6):
        yield flow(OWNER, Table.CONNTRACK, 100, Match(family), [look_up])

    # A TCP segment that the tracker knows no connection for was not translated: passed on, it would make the client
    # reset a connection that is alive. A bare RST does no such harm, and is how the host refuses a connection that was
    # never tracked. The userspace tracker translates what it rejects of a connection that it knows, and marks it.
    for family in (IPV4, IPV6):
        match = Match(tracked(CtState.INV), (fields.CT_MARK, 0), family, TCP, (fields.TCP_FLAGS, 0, _RST))
        yield flow(OWNER, Table.CONNTRACK_STATE, 200, match)
    match = Match(tracked(CtState.NEW))
    yield flow(OWNER, Table.CONNTRACK_STATE, 100, match, [Resubmit(Table.SERVICE_LB.id)])
    yield flow(OWNER, Table.CONNTRACK_STATE, 0, Match(), [Resubmit(Table.EGRESS_POLICY.id)])


def _passages() -> Iterator[FlowEntry]:
    """Where no more special flow decides, a packet goes on to the next stage."""
    # A client that is not remembered keeps slot 0, which is no endpoint's number.
    yield flow(OWNER, Table.AFFINITY, 0, Match(), [SetField(SLOT, 0)])
    for table, following in (
        (Table.SERVICE_LB, Table.EGRESS_POLICY),
        (Table.SERVICE_SLOT, Table.EGRESS_POLICY),
        (Table.EGRESS_POLICY, Table.L3_FORWARDING),
        (Table.INGRESS_POLICY, Table.COMMIT),
        (Table.COMMIT, Table.OUTPUT),
    ):
        yield flow(OWNER, table, 0, Match(), [Resubmit(following.id)])


def _translated() -> Iterator[FlowEntry]:
    """The tracker of userspace gives a packet back as it was when it finds no free port for the replies' tuple.

    It looks at 128 ports from the client's own on, and at 120 from random ones on (nat_get_unique_l4, lib/conntrack.c):
    it may find none while hundreds are free, and asked again looks at others. Noted as a direct connection to the
    Service's address, which is what a packet given back looks like, it would stay one until its entry ends. What is
    known of its address (registers.DESTINATION) was given up with the choice of a Service, and is found anew.
    """
    translated = Match((fields.CT_MARK, SERVICE_MARK, SERVICE_MARK))
    yield flow(OWNER, Table.TRANSLATED, 100, translated, [SetField(REFUSALS, 0), Resubmit(Table.EGRESS_POLICY.id)])
    for refusals in range(MOST_REFUSALS):
        again: list[Action] = [SetField(REFUSALS, refusals + 1), Resubmit(Table.CONNTRACK_STATE.id)]
        yield flow(OWNER, Table.TRANSLATED, 50, Match((REFUSALS, refusals)), again)
    yield flow(OWNER, Table.TRANSLATED, 0, Match())


def _forwarding(layout: Layout) -> Iterator[FlowEntry]:
    """All that is no Pod's leaves by the gateway, and so do the replies of what came in there (behaviour: ct_mark)."""
    to_gateway = via_gateway(layout)
    for source in (Source.GATEWAY, Source.OUTSIDE):
        replies = Match(tracked(CtState.RPL), (fields.CT_MARK, source, SOURCE_MARK_MASK))
        yield flow(OWNER, Table.L3_FORWARDING, 300, replies, to_gateway)
    for family in (IPV4, IPV6):
        yield flow(OWNER, Table.L3_FORWARDING, 0, Match(family), to_gateway)


def via_gateway(layout: Layout) -> list[Action]:
    """The actions that send a packet into the Node's network stack."""
    return [
        SetField(fields.ETH_DST, layout.gateway_mac),
        SetField(OUTPUT_PORT, GATEWAY_PORT),
        Resubmit(Table.INGRESS_POLICY.id),
    ]


def _commit(layout: Layout) -> Iterator[FlowEntry]:
    """A refusal's RST must not begin a connection: the client's next attempt would be taken for its reply.

    A translation of the source without an address keeps it, and its port if the replies can be told from those of any
    other connection; a Service's may lead the same client port to the same endpoint.
    """
    unambiguous = (Nat(kind=NatKind.SRC),) if layout.chooses_ports else ()
    unserved = (fields.CT_MARK, 0, SERVICE_MARK)
    new = tracked(CtState.NEW)
    for family in (IPV4, IPV6):
        reset = Match(new, family, TCP, (fields.TCP_FLAGS, _RST, _RST))
        yield flow(OWNER, Table.COMMIT, 210, reset, [Resubmit(Table.OUTPUT.id)])
        for source in Source:
            mark = SetField(fields.CT_MARK, source.value, SOURCE_MARK_MASK)
            commit = Conntrack(CONNTRACK_ZONE, Table.OUTPUT.id, commit=True, actions=(*unambiguous, mark))
            match = Match(new, unserved, (SOURCE, source.value, SOURCE_MASK), family)
            yield flow(OWNER, Table.COMMIT, 200, match, [commit])


def _output() -> Iterator[FlowEntry]:
    """What came from the Node's stack goes back to it for a Service's sake alone: an address of the Service range that
    nobody has would go round in a circle.
    """  # noqa: D205 - the sentence does not fit a line
    served = (fields.CT_MARK, SERVICE_MARK, SERVICE_MARK)
    back = Match((fields.IN_PORT, GATEWAY_PORT), (OUTPUT_PORT, GATEWAY_PORT), served)
    yield flow(OWNER, Table.OUTPUT, 200, back, [Output(OFPP_IN_PORT)])
    yield flow(OWNER, Table.OUTPUT, 0, Match(), [OutputRegister(OUTPUT_PORT)])
