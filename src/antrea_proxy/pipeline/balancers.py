"""Load balancers as the pipeline sees them: how each chooses, its number, and columns of its endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from antrea_proxy.openflow.batch_encoding import Column
from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.pipeline.group_ids import GroupIds
from antrea_proxy.pipeline.registers import Source
from antrea_proxy.pipeline.service_templates import IPV4, Selection, Shape, slot_template
from antrea_proxy.pipeline.slots import needs_slots, slot_bits
from antrea_proxy.pipeline.units import FlowEntry, Owner, sealed
from antrea_proxy.proxy.endpoints import Candidates
from antrea_proxy.proxy.frontends import Scope
from antrea_proxy.proxy.load_balancers import LoadBalancerName, LoadBalancers, Outcome
from antrea_proxy.proxy.service_ports import ServicePort


class Balancer(NamedTuple):
    """One row of LoadBalancers, how it chooses, and among how many; `number` is 0 where it needs none."""

    family: int
    protocol: int
    selection: Selection
    size: int
    number: GroupId

    def shape(self, source: Source | None, *, node_port: bool) -> Shape:
        """What the flows that lead to it have in common."""
        return Shape(
            family=self.family,
            protocol=self.protocol,
            selection=self.selection,
            bits=slot_bits(self.size) if self.selection is Selection.SLOTS else 0,
            source=source,
            node_port=node_port,
        )


class Balancers:
    """The rows of LoadBalancers with their endpoints in use, numbered where they need it."""

    def __init__(self, table: LoadBalancers, ids: GroupIds[LoadBalancerName]) -> None:
        self.table = table
        self.ids = ids
        self.used, self.starts = table.used()
        self.rows: list[Balancer] = []
        counts = np.diff(self.starts).tolist()
        for port, name, outcome, count in zip(table.ports, table.names, table.outcomes.tolist(), counts, strict=True):
            selection = Selection.DROP
            if _reached(port, name.scope):
                selection = _selection(Outcome(outcome), count, remembers=port.affinity > 0)
            number = ids.of(name) if selection.numbered else GroupId(0)
            self.rows.append(Balancer(port.family, int(port.protocol), selection, count, number))

    def endpoints(self, row: int) -> Candidates:
        """The endpoints in use of a row."""
        return self.used[self.starts[row] : self.starts[row + 1]]

    def name(self, row: int) -> LoadBalancerName:
        """The name of a row."""
        return self.table.names[row]

    def columns(self, rows: Sequence[int], count: int) -> dict[str, Column]:
        """The first `count` endpoints of rows of one family, as address<n> and port<n>."""
        places = self.starts[np.asarray(rows)][:, np.newaxis] + np.arange(count)
        endpoints = self.used[places.reshape(-1)]
        packed = packed_column(endpoints["address"], self.rows[rows[0]].family)
        addresses = packed.reshape(len(rows), count, *packed.shape[1:])
        ports = endpoints["port"].astype(np.uint16).reshape(len(rows), count)
        columns: dict[str, Column] = {f"address{place}": addresses[:, place] for place in range(count)}
        return columns | {f"port{place}": ports[:, place] for place in range(count)}


def _reached(port: ServicePort, scope: Scope) -> bool:
    """Whether anybody may come to a load balancer: source ranges may be all of the other family."""
    return any(frontend.source_ranges != () and scope in frontend.scopes for frontend in port.frontends)


def _selection(outcome: Outcome, endpoints: int, *, remembers: bool) -> Selection:
    if outcome is Outcome.DROPPED:
        return Selection.DROP
    if outcome is Outcome.REFUSED:
        return Selection.REFUSE
    if remembers:
        return Selection.AFFINITY
    if endpoints == 1:
        return Selection.SINGLE
    return Selection.SLOTS if needs_slots(endpoints) else Selection.GROUP


def slot_flows(endpoints: Candidates, slots: NDArray[np.uint32], balancer: Balancer, owner: Owner) -> list[FlowEntry]:
    """A flow from each slot to its endpoint."""
    messages = slot_template(balancer.family, balancer.protocol).stamp(
        {
            "balancer": np.full(len(endpoints), balancer.number, np.uint32),
            "slot": slots,
            "address0": packed_column(endpoints["address"], balancer.family),
            "port0": endpoints["port"].astype(np.uint16),
        }
    )
    return [sealed(owner, message.tobytes()) for message in messages]


def keys(endpoints: Candidates) -> list[bytes]:
    """What tells endpoints apart: address and port, as bytes."""
    return [row["address"].tobytes() + row["port"].tobytes() for row in endpoints]


def packed_column(addresses: NDArray[np.void], family: int) -> Column:
    """An address column as a column of one family: numbers for IPv4, rows of sixteen bytes for IPv6."""
    packed = np.ascontiguousarray(addresses).view(np.uint8).reshape(-1, 16)
    return np.ascontiguousarray(packed[:, 12:]).view(">u4").reshape(-1).astype(np.uint32) if family == IPV4 else packed
