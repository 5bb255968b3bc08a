"""Direct server return: the stages that every Node has, the way to each peer, and the slots of a Service port.

On the ingress Node a connection passes DirectReturn, DirectSlot and DirectNode, untracked and untranslated, and leaves
through the tunnel. The Node that has its slot translates it to an endpoint of its own, and answers the client itself. A
segment of a connection that it does not know may belong to one that began before the slot moved: it is handed over to
those who have the slot or had it before, one after the other (the daisy chain of Beamer, NSDI '18).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address
from typing import Final

import numpy as np

from antrea_proxy.network.values import Peer
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Action, Conntrack, CopyField, DecrementTtl, Output, Resubmit, SetField
from antrea_proxy.openflow.batch_encoding import Template
from antrea_proxy.openflow.constants import OFPP_IN_PORT, CtState, GroupId
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.base_flows import ICMPV6, IPV4, IPV6, OWNER, TCP, tracked
from antrea_proxy.pipeline.direct_slots import Bits, History, node_key, visit_bit
from antrea_proxy.pipeline.layout import TUNNEL_PORT, VIRTUAL_MAC, Layout
from antrea_proxy.pipeline.registers import BALANCER, FRAGMENT_ZONE, NODE, SLOT, SOURCE, SOURCE_MASK, Source
from antrea_proxy.pipeline.service_templates import l4_source, to_address, to_port
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, Owner, flow, sealed
from antrea_proxy.proxy.frontends import Frontend, Protocol
from antrea_proxy.proxy.selection import IPAddress

PRIORITY: Final = 100
PORT_PRIORITY: Final = 200
ERROR_PRIORITY: Final = 150
FRAGMENT_PRIORITY: Final = 300

_FRAGMENT: Final = 0x1
"""nw_frag, the bit of any fragment (ovs-fields(7))."""
_SYN: Final = 0x02
_RST: Final = 0x04
_ICMP: Final = (fields.IP_PROTO, fields.IP_PROTO_ICMP)
_UNREACHABLE_V4: Final = 3
_UNREACHABLE_V6: Final = 1
_TOO_BIG_V6: Final = 2
_OUTSIDE: Final = (Source.OUTSIDE, Source.TUNNEL)
"""Where packets of such connections come from: on the Node that a client reached, and on the one that has the slot."""

_FORGET: Final = (SetField(BALANCER, 0), SetField(SLOT, 0))


def stages(layout: Layout) -> Iterator[FlowEntry]:
    """The stages without Services: what none of them wants goes on as if they were not there."""
    on, served = [Resubmit(Table.CONNTRACK.id)], [Resubmit(Table.SERVICE_LB.id)]
    yield flow(OWNER, Table.DIRECT_RETURN, 0, Match(), on)
    # The first fragment alone bears a port. The kernel's tracker gives the whole datagram back, which is looked at
    # anew; the userspace one gives fragments back, whose ports no flow can see.
    together = [Conntrack(FRAGMENT_ZONE, Table.DIRECT_RETURN.id)]
    for family in (IPV4, IPV6):
        untracked = (fields.CT_STATE, 0, int(CtState.TRK))
        fragment = Match(untracked, family, (fields.IP_FRAG, _FRAGMENT, _FRAGMENT))
        yield flow(OWNER, Table.DIRECT_RETURN, FRAGMENT_PRIORITY, fragment, together)
    yield flow(OWNER, Table.DIRECT_SLOT, 0, Match(), [*_FORGET, *on])
    yield flow(OWNER, Table.DIRECT_NODE, 0, Match(), [SetField(NODE, 0), *on])
    yield flow(OWNER, Table.DIRECT_HANDOVER, 0, Match(), served)
    yield flow(OWNER, Table.DIRECT_FORMER, 0, Match(), [*_FORGET, *served])
    # What nobody knows ends here, or it would go round between this Node and its own stack: a segment without SYN that
    # the tracker takes for a new connection is asked about, and so is a RST, which it calls invalid.
    for table in (Table.DIRECT_HANDOVER, Table.DIRECT_FORMER):
        yield flow(OWNER, table, PRIORITY - 50, Match(tracked(CtState.INV)))
    for family, protocol in ((IPV4, _ICMP), (IPV6, ICMPV6)):
        for source in _OUTSIDE:
            came = (SOURCE, source, SOURCE_MASK)
            yield flow(OWNER, Table.CONNTRACK_STATE, 190, Match(tracked(CtState.INV), came, family, protocol))
    asked = [Resubmit(Table.DIRECT_HANDOVER.id)]
    for family in (IPV4, IPV6):
        for source in _OUTSIDE:
            came = (SOURCE, source, SOURCE_MASK)
            midway = (fields.TCP_FLAGS, 0, _SYN)
            yield flow(OWNER, Table.CONNTRACK_STATE, 110, Match(tracked(CtState.NEW), came, family, TCP, midway), asked)
            reset = (fields.TCP_FLAGS, _RST, _RST)
            yield flow(OWNER, Table.CONNTRACK_STATE, 195, Match(tracked(CtState.INV), came, family, TCP, reset), asked)
    yield flow(
        OWNER, Table.DIRECT_NODE, PRIORITY, Match((NODE, node_key(layout.direct_return))), [SetField(NODE, 0), *on]
    )


def peer_flow(owner: Owner, peer: Peer, layout: Layout) -> Iterator[FlowEntry]:
    """The way to a peer, through the tunnel whatever the encapsulation mode: routed, it would come straight back."""
    address = peer.tunnel_address
    if address is None:
        return
    target = fields.TUN_IPV4_DST if isinstance(address, IPv4Address) else fields.TUN_IPV6_DST
    actions: list[Action] = [
        SetField(NODE, 0),
        DecrementTtl(),
        SetField(fields.ETH_SRC, layout.gateway_mac),
        SetField(fields.ETH_DST, VIRTUAL_MAC),
        SetField(target, int(address)),
    ]
    chosen, handed_over = (NODE, node_key(peer.name)), (fields.IN_PORT, TUNNEL_PORT)
    for family in (IPV4, IPV6):
        yield flow(owner, Table.DIRECT_NODE, PRIORITY, Match(chosen, family), [*actions, Output(TUNNEL_PORT)])
        back = Match(chosen, handed_over, family)
        yield flow(owner, Table.DIRECT_NODE, PRIORITY + 10, back, [*actions, Output(OFPP_IN_PORT)])


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectPort:
    """A Service port in DSR mode, on the Node `node`.

    `number` stands for it in BALANCER, `history` says who has its slots, and who had. `places` are those of all Nodes.
    """

    node: str
    places: Mapping[str, int]
    number: GroupId
    family: int
    protocol: Protocol
    bits: Bits
    history: History
    frontends: Sequence[Frontend]


def port_flows(port: DirectPort, owner: Owner) -> list[FlowEntry]:
    """The flows of a Service port, the slots before those that lead to them."""
    flows = list(_slots(port, owner))
    flows += _former(port, owner)
    for frontend in port.frontends:
        if frontend.address is not None:
            flows += _ways(port, frontend, frontend.address, owner)
    return flows


def _ways(port: DirectPort, frontend: Frontend, address: IPAddress, owner: Owner) -> Iterator[FlowEntry]:
    """From an address: to the slots, and from segments of unknown connections to the slots' former owners."""
    conditions = to_port(port.family, int(port.protocol), int(address), frontend.port)
    slot: list[Action] = [SetField(BALANCER, port.number), *_slot(port)]
    field = fields.IPV4_SRC if port.family == 4 else fields.IPV6_SRC  # noqa: PLR2004 - IPv4
    ranges = frontend.source_ranges
    sources = [()] if ranges is None else [((field, int(net.network_address), int(net.netmask)),) for net in ranges]
    for source in sources:
        match = Match(*conditions, *source)
        yield flow(owner, Table.DIRECT_RETURN, PORT_PRIORITY, match, [*slot, Resubmit(Table.DIRECT_SLOT.id)])
    if port.protocol is Protocol.TCP:
        actions = [*slot, Resubmit(Table.DIRECT_FORMER.id)]
        yield flow(owner, Table.DIRECT_HANDOVER, PORT_PRIORITY, Match(*conditions), actions)


def error_flows(address: IPAddress, nodes: Iterable[str], owner: Owner) -> Iterator[FlowEntry]:
    """ICMP errors about endpoints' answers (RFC 792, RFC 4443) reach all Nodes that have some: one knows what it is."""
    everywhere: list[Action] = []
    for name in sorted(nodes):
        everywhere += [SetField(NODE, node_key(name)), Resubmit(Table.DIRECT_NODE.id)]
    errors = (
        [(_ICMP, (fields.ICMPV4_TYPE, _UNREACHABLE_V4))]
        if isinstance(address, IPv4Address)
        else [(ICMPV6, (fields.ICMPV6_TYPE, number)) for number in (_UNREACHABLE_V6, _TOO_BIG_V6)]
    )
    for protocol, kind in errors:
        match = Match(*to_address(address.version, int(address)), protocol, kind)
        yield flow(owner, Table.DIRECT_RETURN, ERROR_PRIORITY, match, everywhere)


def _slot(port: DirectPort) -> Iterator[CopyField]:
    """From the packet's bits to SLOT."""
    source = fields.IPV4_SRC if port.family == 4 else fields.IPV6_SRC  # noqa: PLR2004 - IPv4
    if port.bits.port:
        yield CopyField(l4_source(port.protocol), SLOT, port.bits.port, src_offset=1)
    if port.bits.address:
        yield CopyField(source, SLOT, port.bits.address, dst_offset=port.bits.port)


def _slots(port: DirectPort, owner: Owner) -> Iterator[FlowEntry]:
    keys = [node_key(name) for name in port.history.owners]
    messages = _slot_template().stamp(
        {
            "balancer": np.full(len(keys), port.number, np.uint32),
            "slot": np.arange(len(keys), dtype=np.uint32),
            "node": np.array(keys, np.uint64),
        }
    )
    for message in messages:
        yield sealed(owner, message.tobytes())


def _former(port: DirectPort, owner: Owner) -> list[FlowEntry]:
    if port.protocol is not Protocol.TCP or port.node not in port.places:
        return []
    own = visit_bit(port.places[port.node])
    rows = [
        (slot, name, rank)
        for slot in range(len(port.history.owners))
        for rank, name in enumerate(port.history.asked(slot, port.node))
        if name in port.places
    ]
    flows: list[FlowEntry] = []
    for asked in sorted({(name, rank) for _, name, rank in rows}):
        slots = [slot for slot, name, rank in rows if (name, rank) == asked]
        messages = _former_template(asked[1], visit_bit(port.places[asked[0]]), own).stamp(
            {
                "balancer": np.full(len(slots), port.number, np.uint32),
                "slot": np.array(slots, np.uint32),
                "node": np.full(len(slots), node_key(asked[0]), np.uint64),
            }
        )
        flows += [sealed(owner, message.tobytes()) for message in messages]
    return flows


@cache
def _slot_template() -> Template:
    def build(*, balancer: int, slot: int, node: int) -> FlowMod:
        return FlowMod(
            table=Table.DIRECT_SLOT.id,
            priority=PRIORITY,
            match=Match((BALANCER, balancer), (SLOT, slot)),
            actions=(*_FORGET, SetField(NODE, node), Resubmit(Table.DIRECT_NODE.id)),
        )

    return Template.of(build, {"balancer": 4, "slot": 4, "node": 8})


@cache
def _former_template(rank: int, asked: int, own: int) -> Template:
    """Asks a Node whose bit is not set in the tunnel's key, and notes this one's bit there."""

    def build(*, balancer: int, slot: int, node: int) -> FlowMod:
        return FlowMod(
            table=Table.DIRECT_FORMER.id,
            priority=PRIORITY - rank,
            match=Match((BALANCER, balancer), (SLOT, slot), (fields.TUNNEL_ID, 0, asked)),
            actions=(
                *_FORGET,
                SetField(NODE, node),
                SetField(fields.TUNNEL_ID, own, own),
                Resubmit(Table.DIRECT_NODE.id),
            ),
        )

    return Template.of(build, {"balancer": 4, "slot": 4, "node": 8})
