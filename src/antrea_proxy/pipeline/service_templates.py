"""What a Service's messages look like: one template for all load balancers of a shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Action, Conntrack, Group, Nat, Output, SetField
from antrea_proxy.openflow.batch_encoding import Template
from antrea_proxy.openflow.constants import GroupId, GroupModCommand, GroupType, NatKind
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Bucket, FlowMod, GroupMod, SelectionMethod
from antrea_proxy.pipeline import shares
from antrea_proxy.pipeline.layout import REFUSE_PORT
from antrea_proxy.pipeline.registers import BALANCER, CONNTRACK_ZONE, SERVICE_MARK, SLOT
from antrea_proxy.pipeline.slots import hash_group
from antrea_proxy.pipeline.tables import Table

PORT_PRIORITY: Final = 200
ADDRESS_PRIORITY: Final = 100
"""Below its ports: what no port serves is refused."""

SLOT_PRIORITY: Final = 100

IPV4: Final = 4
ADDRESS_BYTES: Final = {4: 4, 6: 16}

REFUSE: Final[tuple[Action, ...]] = (Output(REFUSE_PORT),)
"""Into the host's stack, which refuses all that comes from this port.

Pods address their frames to its MAC: the gateway's.
"""

_L4_DESTINATION: Final = {
    fields.IP_PROTO_TCP: fields.TCP_DST,
    fields.IP_PROTO_UDP: fields.UDP_DST,
    fields.IP_PROTO_SCTP: fields.SCTP_DST,
}


class Selection(Enum):
    """How a new connection finds its endpoint."""

    REFUSE = "refused"
    DROP = "dropped"
    SINGLE = "the only endpoint"
    GROUP = "a select group"
    SLOTS = "a slot table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What load balancers of one template have in common.

    `size` is the number of endpoints of a GROUP, the number of bits of SLOTS, else 0.
    """

    family: int
    protocol: int
    selection: Selection
    size: int = 0


@cache
def unserved_template(family: int) -> Template:
    """Refuses what no port of an address serves. Hole: address."""

    def build(*, address: int) -> FlowMod:
        return FlowMod(
            table=Table.SERVICE_LB.id, priority=ADDRESS_PRIORITY, match=Match(*_to(family, address)), actions=REFUSE
        )

    return Template.of(build, {"address": ADDRESS_BYTES[family]})


@cache
def flow_template(shape: Shape) -> Template:
    """The flow of a Service port; new connections alone come to it (ConntrackState sees to that).

    Holes: address, port; of a SINGLE also address0 and port0, of a GROUP or SLOTS also balancer.
    """

    def build(**holes: int) -> FlowMod:
        match = Match(
            *_to(shape.family, holes["address"]),
            (fields.IP_PROTO, shape.protocol),
            (_L4_DESTINATION[shape.protocol], holes["port"]),
        )
        return FlowMod(
            table=Table.SERVICE_LB.id, priority=PORT_PRIORITY, match=match, actions=_flow_actions(shape, holes)
        )

    size = ADDRESS_BYTES[shape.family]
    holes = {"address": size, "port": 2}
    if shape.selection is Selection.SINGLE:
        holes |= {"address0": size, "port0": 2}
    elif shape.selection in {Selection.GROUP, Selection.SLOTS}:
        holes["balancer"] = 4
    return Template.of(build, holes)


def _flow_actions(shape: Shape, holes: Mapping[str, int]) -> tuple[Action, ...]:
    """A single endpoint needs no hash, and so no group and one recirculation less."""
    match shape.selection:
        case Selection.REFUSE:
            return REFUSE
        case Selection.DROP:
            return ()
        case Selection.SINGLE:
            return (_translation(shape.family, holes["address0"], holes["port0"]),)
        case Selection.GROUP:
            return (Group(GroupId(holes["balancer"])),)
        case Selection.SLOTS:
            return (SetField(BALANCER, holes["balancer"]), Group(hash_group(shape.size)))


@cache
def group_template(shape: Shape) -> Template:
    """A select group: dp_hash, which chooses without the slow path, over the whole L4 header (its parameter 0).

    Holes: balancer, and address<n> and port<n> of every endpoint.
    """
    weights = shares.weights(shape.size)

    def build(**holes: int) -> GroupMod:
        endpoints = [
            _translation(shape.family, holes[f"address{place}"], holes[f"port{place}"]) for place in range(shape.size)
        ]
        return GroupMod(
            command=GroupModCommand.ADD_OR_MOD,
            type=GroupType.SELECT,
            group_id=GroupId(holes["balancer"]),
            buckets=tuple(
                Bucket(bucket_id=place, weight=weight, actions=(endpoints[place % shape.size],))
                for place, weight in enumerate(weights)
            ),
            selection_method=SelectionMethod(name="dp_hash"),
        )

    size = ADDRESS_BYTES[shape.family]
    holes = {"balancer": 4}
    for place in range(shape.size):
        holes |= {f"address{place}": size, f"port{place}": 2}
    return Template.of(build, holes)


@cache
def slot_template(family: int, protocol: int) -> Template:
    """The flow of one slot. Holes: balancer, slot, and address0 and port0 of its endpoint.

    The registers are cleared, or every slot would cost a recirculation of its own.
    """

    def build(*, balancer: int, slot: int, address0: int, port0: int) -> FlowMod:
        eth_type = fields.ETH_TYPE_IPV4 if family == IPV4 else fields.ETH_TYPE_IPV6
        return FlowMod(
            table=Table.SERVICE_SLOT.id,
            priority=SLOT_PRIORITY,
            match=Match((BALANCER, balancer), (SLOT, slot), (fields.ETH_TYPE, eth_type), (fields.IP_PROTO, protocol)),
            actions=(SetField(BALANCER, 0), SetField(SLOT, 0), _translation(family, address0, port0)),
        )

    return Template.of(build, {"balancer": 4, "slot": 4, "address0": ADDRESS_BYTES[family], "port0": 2})


def _translation(family: int, address: int, port: int) -> Conntrack:
    """Endpoint DNAT: commit the connection, translated, and go on where policies see the endpoint's address."""
    target = IPv4Address(address) if family == IPV4 else IPv6Address(address)
    return Conntrack(
        CONNTRACK_ZONE,
        Table.EGRESS_POLICY.id,
        commit=True,
        actions=(
            Nat(kind=NatKind.DST, address_min=target, port_min=port),
            SetField(fields.CT_MARK, SERVICE_MARK, SERVICE_MARK),
        ),
    )


def _to(family: int, address: int) -> tuple[tuple[fields.Field, int], tuple[fields.Field, int]]:
    if family == IPV4:
        return (fields.ETH_TYPE, fields.ETH_TYPE_IPV4), (fields.IPV4_DST, address)
    return (fields.ETH_TYPE, fields.ETH_TYPE_IPV6), (fields.IPV6_DST, address)
