"""Load balancers -> flows and groups, for thousands at once.

Load balancers of one shape (family, protocol, number of endpoints) differ in numbers alone: their messages are one
template with columns stamped into it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.openflow.batch_encoding import Template
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.service_templates import (
    IPV4,
    Selection,
    Shape,
    flow_template,
    group_template,
    slot_template,
    unserved_template,
)
from antrea_proxy.pipeline.slots import assign, needs_slots, slot_bits
from antrea_proxy.pipeline.units import FlowEntry, GroupEntry, Owner, OwnerKind, Unit, sealed
from antrea_proxy.proxy.endpoints import Candidates
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers, Outcome
from antrea_proxy.proxy.selection import IPAddress
from antrea_proxy.proxy.service_ports import ServicePort

Column = NDArray[np.uint16] | NDArray[np.uint32] | NDArray[np.uint8]


@dataclass(slots=True)
class _Parts:
    """What a Service's unit is gathered from. Slots stand before the flows that lead to them."""

    slots: list[FlowEntry] = field(default_factory=list)
    flows: list[FlowEntry] = field(default_factory=list)
    groups: list[GroupEntry] = field(default_factory=list)

    def unit(self) -> Unit:
        return Unit(flows=(*self.slots, *self.flows), groups=tuple(self.groups))


def service_owner(service: NamespacedName) -> Owner:
    """The owner of a Service's flows and groups."""
    return Owner(OwnerKind.SERVICE, str(service))


def compile_services(load_balancers: LoadBalancers, ids: GroupIds[LoadBalancerName]) -> dict[Owner, Unit]:
    """The flows and groups of each Service asked for; an empty unit for one that is no longer balanced."""
    owners = {name: service_owner(name) for name in load_balancers.services}
    parts = {name: _Parts() for name in load_balancers.services}
    _refuse_unserved(load_balancers, owners, parts)
    used, starts = load_balancers.used()
    for shape, rows in _shapes(load_balancers, np.diff(starts)).items():
        ports = [load_balancers.ports[row] for row in rows]
        columns = _frontend_columns(ports)
        if shape.selection in {Selection.GROUP, Selection.SLOTS}:
            numbers = [ids.of(LoadBalancerName(port.name, port.family)) for port in ports]
            columns["balancer"] = np.array(numbers, np.uint32)
        if shape.selection is Selection.SLOTS:
            for port, row, number in zip(ports, rows, numbers, strict=True):
                slots = _slot_flows(used[starts[row] : starts[row + 1]], shape, number, owners[port.name.service])
                parts[port.name.service].slots += slots
        elif shape.selection in {Selection.SINGLE, Selection.GROUP}:
            columns |= _endpoint_columns(used, starts[rows], shape)
        if shape.selection is Selection.GROUP:
            for port, number, message in zip(ports, numbers, _stamped(group_template(shape), columns), strict=True):
                parts[port.name.service].groups.append(GroupEntry(number, message.tobytes()))
        for port, message in zip(ports, _stamped(flow_template(shape), columns), strict=True):
            service = port.name.service
            parts[service].flows.append(sealed(owners[service], message.tobytes()))
    return {owners[service]: part.unit() for service, part in parts.items()}


def _refuse_unserved(
    load_balancers: LoadBalancers, owners: Mapping[NamespacedName, Owner], parts: Mapping[NamespacedName, _Parts]
) -> None:
    for family in (4, 6):
        found = [
            (service, address)
            for service, ports in load_balancers.services.items()
            for address in ports.addresses
            if address.version == family
        ]
        if found:
            messages = unserved_template(family).stamp({"address": _address_column([item for _, item in found])})
            for (service, _), message in zip(found, messages, strict=True):
                parts[service].flows.append(sealed(owners[service], message.tobytes()))


def _shapes(load_balancers: LoadBalancers, counts: NDArray[np.int64]) -> Mapping[Shape, list[int]]:
    shapes: dict[Shape, list[int]] = {}
    rows = zip(load_balancers.ports, load_balancers.outcomes.tolist(), counts.tolist(), strict=True)
    for row, (port, outcome, count) in enumerate(rows):
        selection, size = _selection(Outcome(outcome), count)
        shape = Shape(family=port.family, protocol=int(port.protocol), selection=selection, size=size)
        shapes.setdefault(shape, []).append(row)
    return shapes


def _selection(outcome: Outcome, endpoints: int) -> tuple[Selection, int]:
    if outcome is Outcome.DROPPED:
        return Selection.DROP, 0
    if outcome is Outcome.REFUSED:
        return Selection.REFUSE, 0
    if endpoints == 1:
        return Selection.SINGLE, 0
    if needs_slots(endpoints):
        return Selection.SLOTS, slot_bits(endpoints)
    return Selection.GROUP, endpoints


def _frontend_columns(ports: Sequence[ServicePort]) -> dict[str, Column]:
    return {
        "address": _address_column([port.address for port in ports]),
        "port": np.array([port.port for port in ports], np.uint16),
    }


def _endpoint_columns(used: Candidates, starts: NDArray[np.int64], shape: Shape) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for place in range(1 if shape.selection is Selection.SINGLE else shape.size):
        endpoints = used[starts + place]
        columns[f"address{place}"] = _packed_column(endpoints["address"], shape.family)
        columns[f"port{place}"] = endpoints["port"].astype(np.uint16)
    return columns


def _slot_flows(endpoints: Candidates, shape: Shape, balancer: GroupId, owner: Owner) -> list[FlowEntry]:
    keys = [row["address"].tobytes() + row["port"].tobytes() for row in endpoints]
    chosen = endpoints[np.array(assign(keys, shape.size))]
    messages = slot_template(shape.family, shape.protocol).stamp(
        {
            "balancer": np.full(len(chosen), balancer, np.uint32),
            "slot": np.arange(len(chosen), dtype=np.uint32),
            "address0": _packed_column(chosen["address"], shape.family),
            "port0": chosen["port"].astype(np.uint16),
        }
    )
    return [sealed(owner, message.tobytes()) for message in messages]


def _stamped(template: Template, columns: Mapping[str, Column]) -> NDArray[np.uint8]:
    return template.stamp({name: columns[name] for name in template.holes})


def _address_column(addresses: Sequence[IPAddress]) -> Column:
    """Addresses of one family as a column: numbers for IPv4, rows of sixteen bytes for IPv6."""
    packed = np.frombuffer(b"".join(address.packed for address in addresses), np.uint8)
    return packed.view(">u4").astype(np.uint32) if addresses[0].version == IPV4 else packed.reshape(-1, 16)


def _packed_column(addresses: NDArray[np.void], family: int) -> Column:
    packed = np.ascontiguousarray(addresses).view(np.uint8).reshape(-1, 16)
    return np.ascontiguousarray(packed[:, 12:]).view(">u4").reshape(-1).astype(np.uint32) if family == IPV4 else packed
