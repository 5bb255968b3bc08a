"""Load balancers -> flows and groups, for thousands at once.

Load balancers of one shape (family, protocol, number of endpoints) differ in numbers alone, so that their messages are one template with columns
stamped into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

import numpy as np
from numpy.typing import NDArray

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Action, Conntrack, Group, Nat, Output, SetField
from antrea_proxy.openflow.batch_encoding import Template
from antrea_proxy.openflow.constants import GroupId, GroupModCommand, GroupType, NatKind
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import Bucket, FlowMod, GroupMod, SelectionMethod
from antrea_proxy.pipeline import shares
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.layout import REFUSE_PORT
from antrea_proxy.pipeline.registers import CONNTRACK_ZONE, SERVICE_MARK
from antrea_proxy.pipeline.tables import Table
from antrea_proxy.pipeline.units import FlowEntry, GroupEntry, Owner, OwnerKind, Unit, sealed
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers, Outcome

PORT_PRIORITY: Final = 200
ADDRESS_PRIORITY: Final = 100
"""Below its ports: what no port serves is refused."""

REFUSE: Final[tuple[Action, ...]] = (Output(REFUSE_PORT),)
"""Into the host's stack, which refuses all that comes from this port. Pods address their frames to its MAC: the gateway's."""

_L4_DESTINATION: Final = {
    fields.IP_PROTO_TCP: fields.TCP_DST,
    fields.IP_PROTO_UDP: fields.UDP_DST,
    fields.IP_PROTO_SCTP: fields.SCTP_DST,
}

_SIZE: Final = {4: 4, 6: 16}
"""Bytes of an address, by family."""

Column = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What load balancers of one template have in common. `endpoints` is 0 where connections are refused or dropped."""

    family: int
    protocol: int
    outcome: Outcome
    endpoints: int


def service_owner(service: NamespacedName) -> Owner:
    """The owner of a Service's flows and groups."""
    return Owner(OwnerKind.SERVICE, str(service))


def compile_services(load_balancers: LoadBalancers, ids: GroupIds[LoadBalancerName]) -> dict[Owner, Unit]:
    """The flows and groups of each Service asked for; an empty unit for one that is no longer balanced."""
    flows: dict[NamespacedName, list[FlowEntry]] = {name: [] for name in load_balancers.services}
    groups: dict[NamespacedName, list[GroupEntry]] = {name: [] for name in load_balancers.services}
    for service, entry in _unserved(load_balancers):
        flows[service].append(entry)
    for index, entry, group in _compile_ports(load_balancers, ids):
        service = load_balancers.ports[index].name.service
        flows[service].append(entry)
        if group is not None:
            groups[service].append(group)
    return {
        service_owner(service): Unit(flows=tuple(flows[service]), groups=tuple(groups[service])) for service in flows
    }


def _unserved(load_balancers: LoadBalancers) -> Iterator[tuple[NamespacedName, FlowEntry]]:
    """Refuse what no port of a Service's own address serves."""
    for family in (4, 6):
        addresses = [
            (service, address)
            for service, ports in load_balancers.services.items()
            for address in ports.addresses
            if address.version == family
        ]
        if addresses:
            packed = np.frombuffer(b"".join(address.packed for _, address in addresses), np.uint8)
            messages = _unserved_template(family).stamp({"address": _numbers(packed, family)})
            for place, (service, _) in enumerate(addresses):
                yield service, sealed(service_owner(service), messages[place].tobytes())


def _compile_ports(
    load_balancers: LoadBalancers, ids: GroupIds[LoadBalancerName]
) -> Iterator[tuple[int, FlowEntry, GroupEntry | None]]:
    used, starts = load_balancers.used()
    counts = np.diff(starts)
    for shape, rows in _shapes(load_balancers, counts).items():
        ports = [load_balancers.ports[row] for row in rows]
        columns: dict[str, Column] = {
            "port": np.array([port.port for port in ports], np.uint16),
            "address": _numbers(np.frombuffer(b"".join(port.address.packed for port in ports), np.uint8), shape.family),
        }
        group_ids: list[GroupId] = []
        group_messages: NDArray[np.uint8] | None = None
        for place in range(shape.endpoints):
            endpoints = used[starts[rows] + place]
            packed = np.ascontiguousarray(endpoints["address"]).view(np.uint8).reshape(-1, 16)
            columns[f"address{place}"] = _numbers(packed if shape.family == 6 else packed[:, 12:], shape.family)  # noqa: PLR2004 - IPv6
            columns[f"port{place}"] = endpoints["port"].astype(np.uint16)
        if shape.endpoints > 1:
            group_ids = [ids.of(LoadBalancerName(port.name, port.family)) for port in ports]
            columns["group"] = np.array(group_ids, np.uint32)
            group_messages = _stamped(_group_template(shape), columns)
        flow_messages = _stamped(_flow_template(shape), columns)
        for place, row in enumerate(rows):
            entry = sealed(service_owner(ports[place].name.service), flow_messages[place].tobytes())
            group = (
                GroupEntry(group_ids[place], group_messages[place].tobytes()) if group_messages is not None else None
            )
            yield row, entry, group


def _shapes(load_balancers: LoadBalancers, counts: NDArray[np.int64]) -> Mapping[Shape, list[int]]:
    shapes: dict[Shape, list[int]] = {}
    for row, (port, outcome, count) in enumerate(
        zip(load_balancers.ports, load_balancers.outcomes.tolist(), counts.tolist(), strict=True)
    ):
        shape = Shape(family=port.family, protocol=int(port.protocol), outcome=Outcome(outcome), endpoints=count)
        shapes.setdefault(shape, []).append(row)
    return shapes


def _stamped(template: Template, columns: Mapping[str, Column]) -> NDArray[np.uint8]:
    return template.stamp({name: columns[name] for name in template.holes})


def _numbers(packed: NDArray[np.uint8], family: int) -> Column:
    """Packed addresses as a column: numbers for IPv4, rows of sixteen bytes for IPv6."""
    if family == 4:  # noqa: PLR2004 - IPv4
        return np.ascontiguousarray(packed).reshape(-1).view(">u4").astype(np.uint32)
    return packed.reshape(-1, 16)


@cache
def _unserved_template(family: int) -> Template:
    def build(*, address: int) -> FlowMod:
        return FlowMod(
            table=Table.SERVICE_LB.id,
            priority=ADDRESS_PRIORITY,
            match=Match(*_to(family, address)),
            actions=REFUSE,
        )

    return Template.of(build, {"address": _SIZE[family]})


@cache
def _flow_template(shape: Shape) -> Template:
    """The flow of a Service port. New connections alone come here (ConntrackState sees to it)."""

    def build(**holes: int) -> FlowMod:
        match = Match(
            *_to(shape.family, holes["address"]),
            (fields.IP_PROTO, shape.protocol),
            (_L4_DESTINATION[shape.protocol], holes["port"]),
        )
        return FlowMod(
            table=Table.SERVICE_LB.id, priority=PORT_PRIORITY, match=match, actions=_flow_actions(shape, holes)
        )

    size = _SIZE[shape.family]
    holes = {"address": size, "port": 2}
    if shape.endpoints == 1:
        holes |= {"address0": size, "port0": 2}
    elif shape.endpoints:
        holes["group"] = 4
    return Template.of(build, holes)


def _flow_actions(shape: Shape, holes: Mapping[str, int]) -> tuple[Action, ...]:
    """A single endpoint needs no hash, and so no group and one recirculation less."""
    if shape.outcome is Outcome.DROPPED:
        return ()
    if shape.outcome is Outcome.REFUSED:
        return REFUSE
    if shape.endpoints == 1:
        return (_translation(shape.family, holes["address0"], holes["port0"]),)
    return (Group(GroupId(holes["group"])),)


@cache
def _group_template(shape: Shape) -> Template:
    """The select group: dp_hash over the L4 header, which chooses without the slow path (parameter 0: UDP ports count, too)."""
    weights = shares.weights(shape.endpoints)

    def build(**holes: int) -> GroupMod:
        buckets = tuple(
            Bucket(
                bucket_id=place,
                weight=weight,
                actions=(
                    _translation(
                        shape.family,
                        holes[f"address{place % shape.endpoints}"],
                        holes[f"port{place % shape.endpoints}"],
                    ),
                ),
            )
            for place, weight in enumerate(weights)
        )
        return GroupMod(
            command=GroupModCommand.ADD_OR_MOD,
            type=GroupType.SELECT,
            group_id=GroupId(holes["group"]),
            buckets=buckets,
            selection_method=SelectionMethod(name="dp_hash"),
        )

    size = _SIZE[shape.family]
    holes = {"group": 4}
    for place in range(shape.endpoints):
        holes |= {f"address{place}": size, f"port{place}": 2}
    return Template.of(build, holes)


def _translation(family: int, address: int, port: int) -> Conntrack:
    """Endpoint DNAT: commit the connection, translated, and go on where policies see the endpoint's address."""
    target = IPv4Address(address) if family == 4 else IPv6Address(address)  # noqa: PLR2004 - IPv4
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
    if family == 4:  # noqa: PLR2004 - IPv4
        return (fields.ETH_TYPE, fields.ETH_TYPE_IPV4), (fields.IPV4_DST, address)
    return (fields.ETH_TYPE, fields.ETH_TYPE_IPV6), (fields.IPV6_DST, address)
