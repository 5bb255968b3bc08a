"""What happens to a packet on its way, as values that print themselves in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from antrea_proxy.openflow import constants
from antrea_proxy.openflow.constants import Cookie, CtState, GroupId
from antrea_proxy.openflow.fields import Field
from antrea_proxy.pipeline.connections import Connections, FiveTuple
from antrea_proxy.pipeline.packets import Packet
from antrea_proxy.pipeline.units import Owner

_PORTS: Final = {
    constants.OFPP_IN_PORT: "the port that it came from",
    constants.OFPP_NORMAL: "where an ordinary switch would send it",
    constants.OFPP_FLOOD: "all ports (flood)",
    constants.OFPP_ALL: "all ports",
    constants.OFPP_CONTROLLER: "the controller",
    constants.OFPP_LOCAL: "the bridge's own port",
}


def state_text(state: CtState) -> str:
    """ct_state as ovs-fields(7) writes it, such as +new+trk."""
    return "".join(f"+{(bit.name or '').lower()}" for bit in CtState if bit & state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrote:
    """Bits of a field were written; `mask` selects them."""

    field: Field
    value: int
    mask: int

    def __str__(self) -> str:
        if self.mask == self.field.all_ones:
            return f"{self.field} becomes {self.field.text(self.value)}"
        return f"{self.field} becomes {self.field.text(self.value)} in the bits of {self.mask:#x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """Bits of a field were copied into another."""

    source: Field
    target: Field
    value: int

    def __str__(self) -> str:
        return f"{self.target} becomes {self.source}: {self.target.text(self.value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TtlLowered:
    """The TTL or hop limit went down to `ttl`."""

    ttl: int

    def __str__(self) -> str:
        return f"the TTL becomes {self.ttl}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmitted:
    """On to another table."""

    table: int
    title: str

    def __str__(self) -> str:
        return f"on to {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chose:
    """A group chose a bucket: one of `of`, whose part of new connections is `share`, 0 to 1. `index` counts from 0."""

    group_id: GroupId
    index: int
    of: int
    share: float

    def __str__(self) -> str:
        return f"group {self.group_id}: bucket {self.index} of {self.of}, chosen for {self.share:.1%} of connections"


@dataclass(frozen=True, slots=True, kw_only=True)
class WasTracked:
    """The connection tracker looked at the packet, and it goes on in `table`, if any."""

    zone: int
    commit: bool
    state: CtState
    mark: int
    before: FiveTuple | None
    after: FiveTuple | None
    table: int | None

    @property
    def translated(self) -> bool:
        """Whether an address or port changed."""
        return self.before != self.after

    def __str__(self) -> str:
        text = f"connection tracking in zone {self.zone}: {state_text(self.state)}"
        if self.mark:
            text += f", ct_mark {self.mark:#x}"
        if self.commit:
            text += ", the connection is noted"
        if self.translated:
            text += f", {self.before} becomes {self.after}"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The packet left by a port, as it was then."""

    port: int
    packet: Packet

    def __str__(self) -> str:
        return f"out of {_PORTS.get(self.port, f'port {self.port}')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The packet ended here."""

    reason: str

    def __str__(self) -> str:
        return f"dropped: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A flow was learned, for packets that come later."""

    table: int
    title: str

    def __str__(self) -> str:
        return f"a flow is learned in {self.title}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotWalked:
    """The switch does something here that a virtual packet cannot follow."""

    what: str

    def __str__(self) -> str:
        return f"not followed: {self.what}"


Event: TypeAlias = Wrote | Copied | TtlLowered | Resubmitted | Chose | WasTracked | Sent | Dropped | Learned | NotWalked


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A table looked the packet up: the flow that it found, if any, and what that did.

    `recirculation` counts from 0 how often the packet was taken up again before. `rivals` are flows of the same
    priority that match, too: which of them a switch takes is not defined.
    """

    recirculation: int
    table: int
    title: str
    priority: int = 0
    match: str = ""
    owner: Owner | None = None
    cookie: Cookie | None = None
    events: tuple[Event, ...] = ()
    rivals: tuple[Cookie, ...] = ()

    def __str__(self) -> str:
        if self.owner is None:
            head = f"{self.title}: no flow"
        else:
            head = f"{self.title}: {self.owner}, priority {self.priority}, {self.match}"
        return "; ".join((head, *map(str, self.events)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """A packet's way, in the order of the tables that it met; `connections` are the tracker's after it."""

    packet: Packet
    steps: tuple[Step, ...]
    connections: Connections
    recirculations: int

    @property
    def events(self) -> tuple[Event, ...]:
        """All that happened, step by step."""
        return tuple(event for step in self.steps for event in step.events)

    @property
    def sent(self) -> tuple[Sent, ...]:
        """Where it left, rewritten."""
        return tuple(event for event in self.events if isinstance(event, Sent))

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports by which it left."""
        return tuple(sent.port for sent in self.sent)

    @property
    def drop(self) -> tuple[Step, Dropped] | None:
        """Where and why the packet ended; None if it left the switch."""
        if self.sent:
            return None
        drops = [(step, event) for step in self.steps for event in step.events if isinstance(event, Dropped)]
        return drops[-1] if drops else None

    @property
    def tables(self) -> tuple[str, ...]:
        """The titles of the tables that it met."""
        return tuple(step.title for step in self.steps)

    @property
    def uncertain(self) -> tuple[str, ...]:
        """Why a switch may do otherwise: rivals of a flow, and what could not be followed."""
        found = [
            f"{step.title}: {len(step.rivals) + 1} flows of priority {step.priority} match"
            for step in self.steps
            if step.rivals
        ]
        return (*found, *(str(event) for event in self.events if isinstance(event, NotWalked)))
