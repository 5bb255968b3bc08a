"""A small virtual connection tracker, so that a packet and the replies to it can be walked.

It models what ovs-actions(7) says of the ct action. It knows addresses, ports, zones, marks, labels and translations;
no sequence numbers, no time, no ICMP errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.actions import Conntrack, CopyField, Nat, SetField
from antrea_proxy.openflow.constants import CtState, NatKind
from antrea_proxy.openflow.fields import Field
from antrea_proxy.pipeline.flow_index import value_of, write
from antrea_proxy.pipeline.packets import TCP_ACK, TCP_SYN, ip_fields, port_fields

UNTRACKED: Final = CtState(0)
_IP_TYPES: Final = {fields.ETH_TYPE_IPV4: 4, fields.ETH_TYPE_IPV6: 6}


class FiveTuple(NamedTuple):
    """One direction of a connection: addresses as numbers of `family` 4 or 6."""

    family: int
    protocol: int
    source: int
    source_port: int
    destination: int
    destination_port: int

    def reversed(self) -> FiveTuple:
        """Return the other direction."""
        return self._replace(
            source=self.destination,
            source_port=self.destination_port,
            destination=self.source,
            destination_port=self.source_port,
        )

    def __str__(self) -> str:
        source, destination = ip_fields(self.family)
        return (
            f"{_end(source, self.source, self.source_port)} -> "
            f"{_end(destination, self.destination, self.destination_port)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A committed connection. `reply` is how its replies arrive: the reverse of `original`, unless it is translated."""

    zone: int
    original: FiveTuple
    reply: FiveTuple
    mark: int = 0
    label: int = 0
    replied: bool = False


@dataclass(frozen=True, slots=True)
class Connections:
    """All connections that the tracker knows."""

    known: tuple[Connection, ...] = ()

    def find(self, zone: int, packet: FiveTuple) -> tuple[Connection, bool] | None:
        """Return the connection that a packet belongs to, and whether the packet is a reply."""
        for connection in self.known:
            if connection.zone == zone and packet == connection.original:
                return connection, False
            if connection.zone == zone and packet == connection.reply:
                return connection, True
        return None

    def updated(self, before: Connection | None, after: Connection | None) -> Connections:
        """Return these connections with `before` replaced; None adds, or removes."""
        kept = [connection for connection in self.known if connection is not before]
        return Connections((*kept, after) if after is not None else tuple(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What the tracker did to a packet: its state, the packet's fields after it, and its connections after it."""

    state: CtState
    before: FiveTuple | None
    after: FiveTuple | None
    mark: int
    fields: Mapping[Field, int]
    connections: Connections


def track(
    action: Conntrack, packet: Mapping[Field, int], connections: Connections, *, answer: CtState | None = None
) -> Tracked:
    """Send a packet through the tracker.

    `answer` is the state to give it, whatever the tracker knows; None asks the tracker. Packets of a known connection
    are translated either way.
    """
    before = five_tuple(packet)
    if before is None:
        state = CtState.TRK | CtState.INV
        unknown = _noted(packet, action.zone, state, {})
        return Tracked(state=state, before=None, after=None, mark=0, fields=unknown, connections=connections)
    found = connections.find(action.zone, before)
    if found is not None and found[1] and action.force:
        connections, found = connections.updated(found[0], None), None
    connection, is_reply = found if found is not None else (None, False)
    state = CtState.TRK | (_state(connection, packet, is_reply=is_reply) if answer is None else answer)
    after = _translated(action, before, connection, is_reply=is_reply)
    if after.destination != before.destination or after.destination_port != before.destination_port:
        state |= CtState.DNAT
    if after.source != before.source or after.source_port != before.source_port:
        state |= CtState.SNAT
    if connection is None and action.commit and not state & CtState.INV:
        created = Connection(zone=action.zone, original=before, reply=after.reversed())
        connections, connection = connections.updated(None, created), created
    changes: dict[Field, int] = {fields.CT_MARK: 0, fields.CT_LABEL: 0}
    if connection is not None:
        changes = {fields.CT_MARK: connection.mark, fields.CT_LABEL: connection.label}
        for part in action.actions:
            if isinstance(part, SetField):
                mask = part.field.all_ones if part.mask is None else part.mask
                write(part.field, part.value, mask, changes)
            elif isinstance(part, CopyField):
                copy_bits(part, packet, changes)
        marked = replace(
            connection,
            mark=changes[fields.CT_MARK],
            label=changes[fields.CT_LABEL],
            replied=connection.replied or is_reply,
        )
        connections = connections.updated(connection, marked)
    noted = _noted(packet, action.zone, state, changes) | _headers(after)
    mark = changes[fields.CT_MARK]
    return Tracked(state=state, before=before, after=after, mark=mark, fields=noted, connections=connections)


def five_tuple(packet: Mapping[Field, int]) -> FiveTuple | None:
    """Return the five-tuple of a packet's fields; None if it is no IP packet."""
    family = _IP_TYPES.get(packet.get(fields.ETH_TYPE, 0))
    if family is None:
        return None
    source, destination = ip_fields(family)
    protocol = packet.get(fields.IP_PROTO, 0)
    ports = port_fields(protocol)
    return FiveTuple(
        family=family,
        protocol=protocol,
        source=packet.get(source, 0),
        source_port=packet.get(ports[0], 0) if ports else 0,
        destination=packet.get(destination, 0),
        destination_port=packet.get(ports[1], 0) if ports else 0,
    )


def copy_bits(action: CopyField, source: Mapping[Field, int], target: dict[Field, int]) -> None:
    """Do what a copy_field says: from `source` into `target`."""
    mask = (1 << action.n_bits) - 1
    value = value_of(action.src, source) >> action.src_offset & mask
    write(action.dst, value << action.dst_offset, mask << action.dst_offset, target)


def _end(field: Field, address: int, port: int) -> str:
    text = field.text(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _state(connection: Connection | None, packet: Mapping[Field, int], *, is_reply: bool) -> CtState:
    """Until a reply was seen a connection is new, as both datapaths have it. A SYN with ACK begins none."""
    if connection is None:
        opening = TCP_SYN | TCP_ACK
        half_open = packet.get(fields.TCP_FLAGS, 0) & opening == opening
        return CtState.INV if half_open and packet.get(fields.IP_PROTO) == fields.IP_PROTO_TCP else CtState.NEW
    if is_reply:
        return CtState.EST | CtState.RPL
    return CtState.EST if connection.replied else CtState.NEW


def _translated(action: Conntrack, before: FiveTuple, connection: Connection | None, *, is_reply: bool) -> FiveTuple:
    nat = next((part for part in action.actions if isinstance(part, Nat)), None)
    if nat is None:
        return before
    if connection is not None:
        return connection.original.reversed() if is_reply else connection.reply.reversed()
    address = None if nat.address_min is None else int(nat.address_min)
    if nat.kind is NatKind.DST:
        return before._replace(
            destination=before.destination if address is None else address,
            destination_port=nat.port_min or before.destination_port,
        )
    if nat.kind is NatKind.SRC:
        return before._replace(
            source=before.source if address is None else address, source_port=nat.port_min or before.source_port
        )
    return before


def _noted(packet: Mapping[Field, int], zone: int, state: CtState, changes: Mapping[Field, int]) -> dict[Field, int]:
    untouched = {fields.CT_MARK: 0, fields.CT_LABEL: 0}
    return {**packet, fields.CT_STATE: int(state), fields.CT_ZONE: zone, **untouched, **changes}


def _headers(packet: FiveTuple) -> dict[Field, int]:
    source, destination = ip_fields(packet.family)
    found = {source: packet.source, destination: packet.destination}
    ports = port_fields(packet.protocol)
    if ports is not None:
        found |= {ports[0]: packet.source_port, ports[1]: packet.destination_port}
    return found
