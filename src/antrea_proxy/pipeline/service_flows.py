"""Load balancers -> flows and groups, for thousands at once.

What is alike but for numbers (the addresses of one family and protocol that lead to load balancers of one kind, groups
of one size) is one template with columns of values stamped into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.openflow.batch_encoding import Column
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.pipeline.affinity_flows import affinity_unit
from antrea_proxy.pipeline.balancers import Balancer, Balancers, keys, slot_flows
from antrea_proxy.pipeline.direct_flows import DirectPort, error_flows, port_flows
from antrea_proxy.pipeline.direct_slots import Histories, bits_of, slot_owners
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.registers import Source
from antrea_proxy.pipeline.service_templates import (
    ADDRESS_BYTES,
    IPV4,
    Selection,
    Shape,
    flow_template,
    group_template,
    service_flow,
    shut_template,
    unserved_template,
)
from antrea_proxy.pipeline.slots import assign, slot_bits
from antrea_proxy.pipeline.units import FlowEntry, GroupEntry, Owner, OwnerKind, Unit, sealed
from antrea_proxy.proxy.endpoints import Candidates
from antrea_proxy.proxy.frontends import Frontend, IPNetwork, Protocol, Scope
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers
from antrea_proxy.proxy.selection import IPAddress
from antrea_proxy.proxy.service_ports import ServicePort


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


def compile_services(
    load_balancers: LoadBalancers,
    ids: GroupIds[LoadBalancerName],
    histories: Histories[LoadBalancerName] | None = None,
    *,
    now: float = 0.0,
) -> dict[Owner, Unit]:
    """The flows and groups of each Service asked for; an empty unit for one that is no longer balanced.

    `histories` know who had the slots of Services in DSR mode. `now` is the Unix time in seconds, of which clients with
    session affinity have their epoch.
    """
    owners = {name: service_owner(name) for name in load_balancers.services}
    parts = {name: _Parts() for name in load_balancers.services}
    _refuse_unserved(load_balancers, owners, parts)
    chosen = Balancers(load_balancers, ids)
    _groups(chosen, parts)
    for row, balancer in enumerate(chosen.rows):
        service = load_balancers.ports[row].name.service
        if balancer.selection is Selection.SLOTS:
            parts[service].slots += _slot_table(chosen.endpoints(row), balancer, owners[service])
        elif balancer.selection is Selection.AFFINITY:
            unit = affinity_unit(chosen, row, owners[service], now)
            parts[service].slots += unit.flows
            parts[service].groups += unit.groups
    _frontends(chosen, owners, parts)
    _direct_return(chosen, Histories() if histories is None else histories, owners, parts)
    return {owners[service]: part.unit() for service, part in parts.items()}


def _slot_table(endpoints: Candidates, balancer: Balancer, owner: Owner) -> list[FlowEntry]:
    chosen = endpoints[np.array(assign(keys(endpoints), slot_bits(balancer.size)))]
    return slot_flows(chosen, np.arange(len(chosen), dtype=np.uint32), balancer, owner)


def _groups(chosen: Balancers, parts: Mapping[NamespacedName, _Parts]) -> None:
    """The groups of load balancers that have one, those of one size at once."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for row, balancer in enumerate(chosen.rows):
        if balancer.selection is Selection.GROUP:
            sizes.setdefault((balancer.family, balancer.size), []).append(row)
    for (family, count), rows in sizes.items():
        numbers = [chosen.rows[row].number for row in rows]
        columns = chosen.columns(rows, count) | {"balancer": np.array(numbers, np.uint32)}
        for row, number, message in zip(rows, numbers, group_template(family, count).stamp(columns), strict=True):
            parts[chosen.table.ports[row].name.service].groups.append(GroupEntry(number, message.tobytes()))


class _Target(NamedTuple):
    """An address of a row; None for a NodePort's."""

    row: int
    address: IPAddress | None
    port: int


def _frontends(
    chosen: Balancers, owners: Mapping[NamespacedName, Owner], parts: Mapping[NamespacedName, _Parts]
) -> None:
    """The flows that lead to the load balancers, those of one shape at once."""
    rows = enumerate(zip(chosen.table.ports, chosen.table.names, strict=True))
    row_of = {(id(port), name.scope): row for row, (port, name) in rows}
    shapes: dict[Shape, list[_Target]] = {}
    for port in {id(port): port for port in chosen.table.ports}.values():
        owner, part = owners[port.name.service], parts[port.name.service]
        direct = row_of.get((id(port), Scope.LOCAL)) in chosen.table.direct
        for frontend in port.frontends:
            for scope, source in _ways(frontend, direct=direct and frontend.direct):
                target = _Target(row_of[id(port), scope], frontend.address, frontend.port)
                shape = chosen.rows[target.row].shape(source, node_port=frontend.address is None)
                if frontend.source_ranges is None or frontend.address is None:
                    shapes.setdefault(shape, []).append(target)
                else:
                    part.flows += _ranged(chosen, shape, target, frontend.address, frontend.source_ranges, owner=owner)
            if frontend.source_ranges is not None and frontend.address is not None:
                part.flows.append(_shut(port, frontend.address, frontend.port, owner))
    for shape, targets in shapes.items():
        columns = _target_columns(chosen, shape, targets)
        for target, message in zip(targets, flow_template(shape).stamp(columns), strict=True):
            service = chosen.table.ports[target.row].name.service
            parts[service].flows.append(sealed(owners[service], message.tobytes()))


def _ways(frontend: Frontend, *, direct: bool) -> Iterator[tuple[Scope, Source | None]]:
    """The scopes that lead on from an address, and for clients from where alone.

    In DSR mode, what this Node has the slot of, or another sent on, is for its own endpoints.
    """
    yield frontend.inside, None
    if direct:
        yield Scope.LOCAL, Source.OUTSIDE
        yield Scope.LOCAL, Source.TUNNEL
    elif frontend.outside is not None and frontend.outside is not frontend.inside:
        yield frontend.outside, Source.OUTSIDE


def _direct_return(
    chosen: Balancers,
    histories: Histories[LoadBalancerName],
    owners: Mapping[NamespacedName, Owner],
    parts: Mapping[NamespacedName, _Parts],
) -> None:
    """The slots of Service ports in DSR mode, and the flows that lead to them."""
    answering: dict[tuple[NamespacedName, IPAddress], set[str]] = {}
    for row, weights in chosen.table.direct.items():
        port, name = chosen.table.ports[row], chosen.name(row)
        service = port.name.service
        nodes = [node for node, weight in weights.items() if weight]
        bits = bits_of(len(nodes), is_tcp=port.protocol is Protocol.TCP, remembers=port.affinity > 0)
        frontends = [item for item in port.frontends if item.direct and item.source_ranges != ()]
        history = histories.update(name, slot_owners(weights, bits.total))
        if not history.owners or not frontends:
            continue
        parts[service].slots += port_flows(
            DirectPort(
                node=chosen.table.node,
                places=chosen.table.places,
                number=chosen.ids.of(name),
                family=port.family,
                protocol=port.protocol,
                bits=bits,
                history=history,
                frontends=frontends,
            ),
            owners[service],
        )
        for frontend in frontends:
            if frontend.address is not None:
                answering.setdefault((service, frontend.address), set()).update(nodes)
    for (service, address), everywhere in answering.items():
        parts[service].flows += error_flows(address, everywhere, owners[service])


def _target_columns(chosen: Balancers, shape: Shape, targets: Sequence[_Target]) -> dict[str, Column]:
    columns: dict[str, Column] = {"port": np.array([target.port for target in targets], np.uint16)}
    if not shape.node_port:
        columns["address"] = _address_column([target.address for target in targets if target.address is not None])
    rows = [target.row for target in targets]
    if shape.selection.numbered:
        columns["balancer"] = np.array([chosen.rows[row].number for row in rows], np.uint32)
    elif shape.selection is Selection.SINGLE:
        columns |= chosen.columns(rows, 1)
    return columns


def _ranged(
    chosen: Balancers,
    shape: Shape,
    target: _Target,
    address: IPAddress,
    ranges: Sequence[IPNetwork],
    *,
    owner: Owner,
) -> Iterator[FlowEntry]:
    values = {"address": int(address), "port": target.port, "balancer": chosen.rows[target.row].number}
    if shape.selection is Selection.SINGLE:
        endpoint = chosen.endpoints(target.row)[0]
        packed = endpoint["address"].tobytes()
        values |= {"address0": int.from_bytes(packed[-ADDRESS_BYTES[shape.family] :], "big")}
        values |= {"port0": int(endpoint["port"])}
    for source in ranges:
        yield sealed(owner, encode(service_flow(shape, values, source)))


def _shut(port: ServicePort, address: IPAddress, number: int, owner: Owner) -> FlowEntry:
    columns = {"address": _address_column([address]), "port": np.array([number], np.uint16)}
    return sealed(owner, shut_template(port.family, int(port.protocol)).stamp(columns)[0].tobytes())


def _refuse_unserved(
    load_balancers: LoadBalancers, owners: Mapping[NamespacedName, Owner], parts: Mapping[NamespacedName, _Parts]
) -> None:
    for family in (4, 6):
        found = [
            (service, address)
            for service, ports in load_balancers.services.items()
            for address in ports.cluster_ips
            if address.version == family
        ]
        if found:
            messages = unserved_template(family).stamp({"address": _address_column([item for _, item in found])})
            for (service, _), message in zip(found, messages, strict=True):
                parts[service].flows.append(sealed(owners[service], message.tobytes()))


def _address_column(addresses: Sequence[IPAddress]) -> Column:
    """Addresses of one family as a column: numbers for IPv4, rows of sixteen bytes for IPv6."""
    packed = np.frombuffer(b"".join(address.packed for address in addresses), np.uint8)
    return packed.view(">u4").astype(np.uint32) if addresses[0].version == IPV4 else packed.reshape(-1, 16)
