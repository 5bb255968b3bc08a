"""What a Service's messages look like: one template for all load balancers of a shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import (
    Action,
    Conntrack,
    Group,
    Learn,
    LearnLoad,
    LearnMatch,
    Nat,
    Resubmit,
    SetField,
)
from antrea_proxy.openflow.batch_encoding import Hole, Template
from antrea_proxy.openflow.constants import GroupId, GroupModCommand, GroupType, NatKind
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Bucket, FlowMod, GroupMod, SelectionMethod
from antrea_proxy.pipeline import shares
from antrea_proxy.pipeline.affinity import learned_cookie
from antrea_proxy.pipeline.layout import REFUSE_PORT
from antrea_proxy.pipeline.registers import (
    BALANCER,
    CONNTRACK_ZONE,
    DESTINATION,
    NODE_PORT,
    OUTPUT_PORT,
    SERVICE_MARK,
    SLOT,
    SOURCE,
    SOURCE_MASK,
    Source,
)
from antrea_proxy.pipeline.slots import hash_group
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.proxy.frontends import IPNetwork

OUTSIDE_PRIORITY: Final = 210
"""Above what Pods and the Node get at the same address and port."""

PORT_PRIORITY: Final = 200
NODE_PORT_OUTSIDE_PRIORITY: Final = 160
NODE_PORT_PRIORITY: Final = 150
"""Of several kinds of address, NodePorts come last (behaviour)."""

SHUT_PRIORITY: Final = 190
"""Below the source ranges of a port: all others are dropped."""

ADDRESS_PRIORITY: Final = 100
"""Below its ports: what no port serves is refused."""

SLOT_PRIORITY: Final = 100
UNREMEMBERED_PRIORITY: Final = 50
"""Below the endpoints of a load balancer: a client that has none of them."""

LEARNED_PRIORITY: Final = 100

IPV4: Final = 4
ADDRESS_BYTES: Final = {4: 4, 6: 16}

REFUSE: Final[tuple[Action, ...]] = (SetField(OUTPUT_PORT, REFUSE_PORT), Resubmit(Table.OUTPUT.id))
"""Into the host's stack, which refuses all that comes from this port.

Pods address their frames to its MAC: the gateway's.
"""

Condition = tuple[fields.Field, int] | tuple[fields.Field, int, int]

_SOURCES: Final = {4: (fields.ETH_TYPE_IPV4, fields.IPV4_SRC), 6: (fields.ETH_TYPE_IPV6, fields.IPV6_SRC)}
"""By family: the Ethernet type, and where a client's address stands."""

_PRIORITIES: Final = {
    (False, False): OUTSIDE_PRIORITY,
    (False, True): PORT_PRIORITY,
    (True, False): NODE_PORT_OUTSIDE_PRIORITY,
    (True, True): NODE_PORT_PRIORITY,
}
"""By whether it is a NodePort, and whether it is for every source."""

_L4_SOURCE: Final = {
    fields.IP_PROTO_TCP: fields.TCP_SRC,
    fields.IP_PROTO_UDP: fields.UDP_SRC,
    fields.IP_PROTO_SCTP: fields.SCTP_SRC,
}
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
    AFFINITY = "the endpoint that the client had last"

    @property
    def numbered(self) -> bool:
        """Whether the load balancer needs a number."""
        return self in {Selection.GROUP, Selection.SLOTS, Selection.AFFINITY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the flows of one template have in common: they lead to load balancers that choose alike.

    `bits` are those of a slot, 0 for other selections. With a `source`, they are for what comes from there alone.
    `node_port` flows are for every address at which NodePorts are served.
    """

    family: int
    protocol: int
    selection: Selection
    bits: int = 0
    source: Source | None = None
    node_port: bool = False


@cache
def unserved_template(family: int) -> Template:
    """Refuses what no port of an address serves. Hole: address."""

    def build(*, address: int) -> FlowMod:
        return FlowMod(
            table=Table.SERVICE_LB.id,
            priority=ADDRESS_PRIORITY,
            match=Match(*to_address(family, address)),
            actions=REFUSE,
        )

    return Template.of(build, {"address": ADDRESS_BYTES[family]})


@cache
def shut_template(family: int, protocol: int) -> Template:
    """Drops whoever is in none of a port's source ranges. Holes: address, port."""

    def build(*, address: int, port: int) -> FlowMod:
        match = Match(*to_port(family, protocol, address, port))
        return FlowMod(table=Table.SERVICE_LB.id, priority=SHUT_PRIORITY, match=match)

    return Template.of(build, {"address": ADDRESS_BYTES[family], "port": 2})


@cache
def flow_template(shape: Shape) -> Template:
    """The flows of Service ports' addresses, as `service_flow` makes them, with the same holes.

    A source range is no template's business: the bits beyond it may not be set.
    """
    size = ADDRESS_BYTES[shape.family]
    holes: dict[str, int | Hole] = {"port": 2} if shape.node_port else {"address": size, "port": 2}
    if shape.selection is Selection.SINGLE:
        holes |= {"address0": size, "port0": 2}
    elif shape.selection.numbered:
        holes["balancer"] = 4
    return Template.of(lambda **values: service_flow(shape, values), holes)


def service_flow(shape: Shape, values: Mapping[str, int], source: IPNetwork | None = None) -> FlowMod:
    """The flow of a Service port's address; new connections alone come to it (ConntrackState sees to that).

    Values: address (but for a NodePort), port; of a SINGLE also address0 and port0, of a numbered selection also
    balancer. `source` are the only clients that it is for.
    """
    port = values["port"]
    conditions = list(
        _to_node_port(shape.family, shape.protocol, port)
        if shape.node_port
        else to_port(shape.family, shape.protocol, values["address"], port)
    )
    if source is not None:
        field = _SOURCES[shape.family][1]
        conditions.append((field, int(source.network_address), int(source.netmask)))
    if shape.source is not None:
        conditions.append((SOURCE, shape.source, SOURCE_MASK))
    actions = _flow_actions(shape, values)
    return FlowMod(
        table=Table.SERVICE_LB.id,
        priority=_PRIORITIES[shape.node_port, shape.source is None],
        match=Match(*conditions),
        actions=(SetField(DESTINATION, 0), *actions) if shape.node_port and actions else actions,
    )


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
            return (SetField(BALANCER, holes["balancer"]), Group(hash_group(shape.bits)))
        case Selection.AFFINITY:
            return (
                SetField(BALANCER, holes["balancer"]),
                Resubmit(Table.AFFINITY.id),
                Resubmit(Table.SERVICE_SLOT.id),
            )


@cache
def group_template(family: int, count: int) -> Template:
    """A select group: dp_hash, which chooses without the slow path, over the whole L4 header (its parameter 0).

    Holes: balancer, and address<n> and port<n> of every endpoint.
    """
    weights = shares.weights(count)

    def build(**holes: int) -> GroupMod:
        endpoints = [_translation(family, holes[f"address{place}"], holes[f"port{place}"]) for place in range(count)]
        return GroupMod(
            command=GroupModCommand.ADD_OR_MOD,
            type=GroupType.SELECT,
            group_id=GroupId(holes["balancer"]),
            buckets=tuple(
                Bucket(bucket_id=place, weight=weight, actions=(endpoints[place % count],))
                for place, weight in enumerate(weights)
            ),
            selection_method=SelectionMethod(name="dp_hash"),
        )

    size = ADDRESS_BYTES[family]
    holes: dict[str, int | Hole] = {"balancer": 4}
    for place in range(count):
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


@cache
def unremembered_template() -> Template:
    """A client without an endpoint, or with one that is gone, goes to the group. Hole: balancer."""

    def build(*, balancer: int) -> FlowMod:
        return FlowMod(
            table=Table.SERVICE_SLOT.id,
            priority=UNREMEMBERED_PRIORITY,
            match=Match((BALANCER, balancer)),
            actions=(Group(GroupId(balancer)),),
        )

    return Template.of(build, {"balancer": 4})


@cache
def learn_template(family: int) -> Template:
    """Remembers a client's endpoint. Holes: balancer, and timeout: the learned flow's idle time-out in seconds."""
    eth_type, source = _SOURCES[family]

    def build(*, balancer: int, timeout: int) -> FlowMod:
        learn = Learn(
            table=Table.AFFINITY.id,
            priority=LEARNED_PRIORITY,
            cookie=learned_cookie(GroupId(balancer)),
            idle_timeout=timeout,
            specs=(
                LearnMatch(BALANCER, BALANCER),
                LearnMatch(fields.ETH_TYPE, eth_type),
                LearnMatch(source, source),
                LearnLoad(SLOT, SLOT),
            ),
        )
        return FlowMod(
            table=Table.AFFINITY_LEARN.id,
            priority=SLOT_PRIORITY,
            match=Match((BALANCER, balancer), (fields.ETH_TYPE, eth_type)),
            actions=(learn, Resubmit(Table.SERVICE_SLOT.id)),
        )

    return Template.of(build, {"balancer": 4, "timeout": 2})


@cache
def affinity_group_template(family: int, count: int) -> Template:
    """Chooses for a client by its address and the epoch. Holes: balancer, epoch, and slot<n> of every endpoint.

    Buckets have their endpoints' numbers, so that a change of one moves no client of the others: Open vSwitch takes the
    bucket whose number and the hash give the highest score (ovs-ofctl(8), selection_method=hash).
    """

    def build(**holes: int) -> GroupMod:
        numbers = [holes[f"slot{place}"] for place in range(count)]
        return _hash_group(
            family,
            holes,
            (
                Bucket(
                    bucket_id=number,
                    weight=shares.WEIGHT,
                    actions=(SetField(SLOT, number), Resubmit(Table.AFFINITY_LEARN.id)),
                )
                for number in numbers
            ),
        )

    return Template.of(build, {"balancer": 4, "epoch": 8, **{f"slot{place}": 4 for place in range(count)}})


@cache
def parted_group_template(family: int, count: int) -> Template:
    """Chooses one of several groups for a client. Holes: balancer, epoch, and part<n>, the groups' numbers."""

    def build(**holes: int) -> GroupMod:
        numbers = [holes[f"part{place}"] for place in range(count)]
        return _hash_group(
            family,
            holes,
            (
                Bucket(bucket_id=place, weight=shares.WEIGHT, actions=(Group(GroupId(number)),))
                for place, number in enumerate(numbers)
            ),
        )

    return Template.of(build, {"balancer": 4, "epoch": 8, **{f"part{place}": 4 for place in range(count)}})


def _hash_group(family: int, holes: Mapping[str, int], buckets: Iterable[Bucket]) -> GroupMod:
    source = _SOURCES[family][1]
    return GroupMod(
        command=GroupModCommand.ADD_OR_MOD,
        type=GroupType.SELECT,
        group_id=GroupId(holes["balancer"]),
        buckets=tuple(buckets),
        selection_method=SelectionMethod(name="hash", parameter=holes["epoch"], fields=((source, source.all_ones),)),
    )


def _translation(family: int, address: int, port: int) -> Conntrack:
    """Endpoint DNAT: commit the connection, translated, and go on where policies see the endpoint's address."""
    target = IPv4Address(address) if family == IPV4 else IPv6Address(address)
    return Conntrack(
        CONNTRACK_ZONE,
        Table.TRANSLATED.id,
        commit=True,
        actions=(
            Nat(kind=NatKind.DST, address_min=target, port_min=port),
            SetField(fields.CT_MARK, SERVICE_MARK, SERVICE_MARK),
        ),
    )


def to_address(family: int, address: int) -> tuple[Condition, ...]:
    """The conditions that a packet is for an address of a family, 4 or 6."""
    if family == IPV4:
        return (fields.ETH_TYPE, fields.ETH_TYPE_IPV4), (fields.IPV4_DST, address)
    return (fields.ETH_TYPE, fields.ETH_TYPE_IPV6), (fields.IPV6_DST, address)


def to_port(family: int, protocol: int, address: int, port: int) -> tuple[Condition, ...]:
    """The conditions that a packet is for a port of an address."""
    return (*to_address(family, address), (fields.IP_PROTO, protocol), (_L4_DESTINATION[protocol], port))


def l4_source(protocol: int) -> fields.Field:
    """The field of the source port."""
    return _L4_SOURCE[protocol]


def _to_node_port(family: int, protocol: int, port: int) -> tuple[Condition, ...]:
    eth_type = _SOURCES[family][0]
    return (
        (fields.ETH_TYPE, eth_type),
        (DESTINATION, NODE_PORT),
        (fields.IP_PROTO, protocol),
        (_L4_DESTINATION[protocol], port),
    )
