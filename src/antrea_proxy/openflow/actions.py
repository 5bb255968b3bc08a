"""What a flow or a bucket does: OpenFlow 1.5.1 section 7.2.6, and Open vSwitch's own actions (ovs-actions(7)).

An empty tuple of actions drops the packet. Every value checks itself when it is made: InvalidValueError names the
action, the part and the value.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from antrea_proxy.openflow.constants import (
    MAX_GROUP,
    MAX_TABLE,
    NO_COOKIE,
    NO_LEARN_FLAGS,
    NO_NAT_FLAGS,
    OFPP_ANY,
    OFPP_IN_PORT,
    OFPP_MAX,
    Cookie,
    GroupId,
    LearnFlags,
    NatFlags,
    NatKind,
    TableId,
)
from antrea_proxy.openflow.errors import InvalidValueError, require_bits
from antrea_proxy.openflow.fields import Field

_MAX_PORT_OF_16_BITS = 0xFF00


def require_slice(owner: str, field: Field, offset: int, n_bits: int) -> None:
    """Hold bits `offset` to `offset + n_bits - 1` against the width of `field`.

    Raises InvalidValueError if they do not lie within it, or if there are none.
    """
    if n_bits < 1 or offset < 0 or offset + n_bits > field.bits:
        raise InvalidValueError(
            f"{owner}: {field}[{offset}..{offset + n_bits - 1}] is not within its {field.bits} bits"
        )


def require_table(owner: str, table: int) -> None:
    """Hold `table` against 0 to 254.

    Raises InvalidValueError if it is another.
    """
    if not 0 <= table <= MAX_TABLE:
        raise InvalidValueError(f"{owner}: table {table} does not exist; tables are 0 to {MAX_TABLE}")


@dataclass(frozen=True, slots=True)
class Output:
    """Send the packet out of `port`; `max_len` bytes of it if the port is the controller."""

    port: int
    max_len: int = 0

    def __post_init__(self) -> None:
        require_bits("output", "port", self.port, 32)
        require_bits("output", "max_len", self.max_len, 16)


@dataclass(frozen=True, slots=True)
class OutputRegister:
    """Send the packet out of the port whose number `n_bits` of `field`, from bit `offset`, hold (by default, all)."""

    field: Field
    _: KW_ONLY
    offset: int = 0
    n_bits: int | None = None

    def __post_init__(self) -> None:
        require_slice("output", self.field, self.offset, self.width)

    @property
    def width(self) -> int:
        """Return the number of bits that are read."""
        return self.field.bits - self.offset if self.n_bits is None else self.n_bits


@dataclass(frozen=True, slots=True)
class Group:
    """Give the packet to a group."""

    group_id: GroupId

    def __post_init__(self) -> None:
        if not 0 <= self.group_id <= MAX_GROUP:
            raise InvalidValueError(f"group: id {self.group_id} is not 0 to {MAX_GROUP:#x}")


@dataclass(frozen=True, slots=True)
class SetField:
    """Write `value` into `field`, or into the bits of `mask` alone."""

    field: Field
    value: int
    mask: int | None = None

    def __post_init__(self) -> None:
        require_bits("set_field", self.field.name, self.value, self.field.bits)
        if self.mask is None:
            return
        require_bits("set_field", f"{self.field}'s mask", self.mask, self.field.bits)
        if not self.field.maskable:
            raise InvalidValueError(f"set_field: {self.field} takes no mask; write all of it")
        if self.value & ~self.mask or not self.mask:
            raise InvalidValueError(
                f"set_field: {self.field} = {self.value:#x} has bits outside its mask {self.mask:#x}, or that has none"
            )


@dataclass(frozen=True, slots=True)
class CopyField:
    """Copy `n_bits` from bit `src_offset` of `src` to bit `dst_offset` of `dst`; bit 0 is the least significant."""

    src: Field
    dst: Field
    n_bits: int
    src_offset: int = 0
    dst_offset: int = 0

    def __post_init__(self) -> None:
        require_slice("copy_field", self.src, self.src_offset, self.n_bits)
        require_slice("copy_field", self.dst, self.dst_offset, self.n_bits)


@dataclass(frozen=True, slots=True)
class DecrementTtl:
    """Lower the IP TTL or hop limit by one; a packet whose TTL ends goes no further."""


@dataclass(frozen=True, slots=True)
class Resubmit:
    """Look the packet up in `table`, with `in_port` in place of its own, then go on with the next action."""

    table: TableId
    in_port: int = OFPP_IN_PORT

    def __post_init__(self) -> None:
        require_table("resubmit", self.table)
        if not (0 <= self.in_port < _MAX_PORT_OF_16_BITS or OFPP_MAX <= self.in_port <= OFPP_ANY):
            raise InvalidValueError(f"resubmit: port {self.in_port} has no 16-bit form; ports are 0 to 65279")


@dataclass(frozen=True, slots=True)
class Nat:
    """Translate an address within ct(): to `address_min` to `address_max` and `port_min` to `port_max`.

    RESTORE takes no range: it does to a packet what the commit of its connection decided.
    """

    kind: NatKind = NatKind.RESTORE
    address_min: IPv4Address | IPv6Address | None = None
    address_max: IPv4Address | IPv6Address | None = None
    port_min: int | None = None
    port_max: int | None = None
    flags: NatFlags = NO_NAT_FLAGS

    def __post_init__(self) -> None:
        low, high = self.address_min, self.address_max
        if self.kind is NatKind.RESTORE and (low is not None or self.flags):
            raise InvalidValueError("nat: an address or flags were given without src or dst")
        if low is None and (high is not None or self.port_min is not None):
            raise InvalidValueError("nat: address_max or port_min was given without address_min")
        if low is not None and not int(low):
            raise InvalidValueError(f"nat: address_min {low} is no address to translate to")
        if low is not None and high is not None and (low.version != high.version or int(high) < int(low)):
            raise InvalidValueError(f"nat: {low}-{high} is not a range of addresses of one family")
        if self.port_max is not None and (self.port_min is None or self.port_max < self.port_min):
            raise InvalidValueError(f"nat: {self.port_min}-{self.port_max} is not a range of ports")
        for name, port in (("port_min", self.port_min), ("port_max", self.port_max)):
            if port is not None:
                require_bits("nat", name, port, 16)
            if port == 0:
                raise InvalidValueError(f"nat: {name} is 0; leave it out to keep the port")


@dataclass(frozen=True, slots=True)
class Conntrack:
    """Send the packet through the connection tracker, in `zone`, and a copy of it on to `table`.

    `actions` (SetField on ct_mark and ct_label, Nat) run within the tracker and, but for a Nat that restores, need
    `commit`; so does `force`, which ends a connection that runs the other way.
    """

    zone: int
    table: TableId | None = None
    _: KW_ONLY
    commit: bool = False
    force: bool = False
    actions: tuple[SetField | CopyField | Nat, ...] = ()

    def __post_init__(self) -> None:
        require_bits("ct", "zone", self.zone, 16)
        if self.table is not None:
            require_table("ct", self.table)
        if self.force and not self.commit:
            raise InvalidValueError("ct: force needs commit")
        if not self.commit and any(action != Nat() for action in self.actions):
            raise InvalidValueError(f"ct: {self.actions} within ct need commit; only a nat that restores does without")


@dataclass(frozen=True, slots=True)
class ConntrackClear:
    """Forget the packet's connection state."""


@dataclass(frozen=True, slots=True)
class LearnMatch:
    """A learned flow's condition: bits of `field` equal to a number, or to bits of a field of the packet at hand."""

    field: Field
    source: int | Field
    _: KW_ONLY
    n_bits: int | None = None
    offset: int = 0
    source_offset: int = 0

    def __post_init__(self) -> None:
        _require_learn_spec(self)

    @property
    def width(self) -> int:
        """Return the number of bits concerned, by default the whole field from `offset` up."""
        return self.field.bits - self.offset if self.n_bits is None else self.n_bits


@dataclass(frozen=True, slots=True)
class LearnLoad:
    """A learned flow's action: write a number, or bits of a field of the packet at hand, into bits of `field`."""

    field: Field
    source: int | Field
    _: KW_ONLY
    n_bits: int | None = None
    offset: int = 0
    source_offset: int = 0

    def __post_init__(self) -> None:
        _require_learn_spec(self)

    @property
    def width(self) -> int:
        """Return the number of bits concerned, by default the whole field from `offset` up."""
        return self.field.bits - self.offset if self.n_bits is None else self.n_bits


@dataclass(frozen=True, slots=True)
class LearnOutput:
    """A learned flow's action: send out of the port whose number bits of `source` hold now."""

    source: Field
    _: KW_ONLY
    n_bits: int | None = None
    source_offset: int = 0

    def __post_init__(self) -> None:
        require_slice("learn", self.source, self.source_offset, self.width)

    @property
    def width(self) -> int:
        """Return the number of bits that are read."""
        return self.source.bits - self.source_offset if self.n_bits is None else self.n_bits


LearnSpec: TypeAlias = LearnMatch | LearnLoad | LearnOutput


def _require_learn_spec(spec: LearnMatch | LearnLoad) -> None:
    require_slice("learn", spec.field, spec.offset, spec.width)
    if isinstance(spec.source, Field):
        require_slice("learn", spec.source, spec.source_offset, spec.width)
    else:
        require_bits("learn", spec.field.name, spec.source, spec.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learn:
    """Add or refresh a flow in `table`, made of `specs`: conditions first, prerequisites before what needs them.

    Timeouts are in seconds, 0 for none, at most 65,535. The learned flow is visible to later packets, not to this one.
    """

    table: TableId
    priority: int
    specs: tuple[LearnSpec, ...]
    cookie: Cookie = NO_COOKIE
    idle_timeout: int = 0
    hard_timeout: int = 0
    fin_idle_timeout: int = 0
    fin_hard_timeout: int = 0
    flags: LearnFlags = NO_LEARN_FLAGS

    def __post_init__(self) -> None:
        require_table("learn", self.table)
        require_bits("learn", "cookie", self.cookie, 64)
        for name in ("priority", "idle_timeout", "hard_timeout", "fin_idle_timeout", "fin_hard_timeout"):
            require_bits("learn", name, getattr(self, name), 16)


@dataclass(frozen=True, slots=True)
class UnknownAction:
    """An action, or an instruction other than apply-actions, that this room has no value for, as its bytes."""

    data: bytes


Action: TypeAlias = (
    Output
    | OutputRegister
    | Group
    | SetField
    | CopyField
    | DecrementTtl
    | Resubmit
    | Nat
    | Conntrack
    | ConntrackClear
    | Learn
    | UnknownAction
)
