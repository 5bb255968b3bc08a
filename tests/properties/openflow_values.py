"""Any match, action, flow and group that OpenFlow has bytes for."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from antrea_proxy.openflow import actions, fields
from antrea_proxy.openflow.constants import (
    Cookie,
    FlowModCommand,
    FlowModFlags,
    GroupId,
    GroupModCommand,
    GroupType,
    LearnFlags,
    NatFlags,
    NatKind,
    TableId,
)
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.match import Criterion, Match
from antrea_proxy.openflow.messages import Bucket, FlowMod, GroupMod, SelectionMethod


def numbers(bits: int) -> st.SearchStrategy[int]:
    """Numbers of at most that many bits, the extremes among them."""
    return st.integers(min_value=0, max_value=(1 << bits) - 1)


TABLES = st.integers(min_value=0, max_value=254).map(TableId)
GROUP_IDS = st.integers(min_value=0, max_value=0xFFFFFF00).map(GroupId)
COOKIES = numbers(64).map(Cookie)
ADDRESSES = st.integers(min_value=1, max_value=0xFFFFFFFF).map(IPv4Address) | st.integers(
    min_value=1, max_value=(1 << 128) - 1
).map(IPv6Address)
PORTS = st.integers(min_value=1, max_value=0xFFFF)

_FREE = tuple(
    field for field in fields.ALL if field.prerequisite is None and field not in (fields.PACKET_TYPE, fields.ETH_TYPE)
)
_NARROW = tuple(field for field in _FREE if field not in fields.XREGISTERS + fields.XXREGISTERS)


@st.composite
def _criterion(draw: st.DrawFn, field: Field) -> Criterion:
    value = draw(numbers(field.bits))
    mask = draw(st.none() | st.integers(min_value=1, max_value=field.all_ones)) if field.maskable else None
    return (field, value) if mask is None else (field, value & mask, mask)


_LAYERS: tuple[tuple[dict[Field, int], tuple[Field, ...]], ...] = (
    ({}, ()),
    ({fields.ETH_TYPE: 0x0806}, (fields.ARP_OP, fields.ARP_SPA, fields.ARP_TPA, fields.ARP_SHA, fields.ARP_THA)),
    (
        {fields.ETH_TYPE: 0x0800, fields.IP_PROTO: 6},
        (fields.IPV4_SRC, fields.IPV4_DST, fields.TCP_SRC, fields.TCP_DST, fields.TCP_FLAGS, fields.NW_TTL),
    ),
    (
        {fields.ETH_TYPE: 0x86DD, fields.IP_PROTO: 17},
        (fields.IPV6_SRC, fields.IPV6_DST, fields.UDP_SRC, fields.UDP_DST, fields.IP_FRAG, fields.IP_DSCP),
    ),
    ({fields.ETH_TYPE: 0x0800, fields.IP_PROTO: 132}, (fields.SCTP_SRC, fields.SCTP_DST)),
    ({fields.ETH_TYPE: 0x0800, fields.IP_PROTO: 1}, (fields.ICMPV4_TYPE, fields.ICMPV4_CODE)),
    (
        {fields.ETH_TYPE: 0x86DD, fields.IP_PROTO: 58, fields.ICMPV6_TYPE: 135},
        (fields.ICMPV6_CODE, fields.ND_TARGET, fields.ND_SLL),
    ),
)


@st.composite
def matches(draw: st.DrawFn) -> Match:
    """Any match."""
    needed, possible = draw(st.sampled_from(_LAYERS))
    chosen = draw(st.lists(st.sampled_from((*_NARROW, *possible)), unique=True, max_size=8))
    criteria: list[Criterion] = [*needed.items(), *[draw(_criterion(field)) for field in chosen]]
    return Match(*draw(st.permutations(criteria)))


@st.composite
def _set_fields(draw: st.DrawFn, among: tuple[Field, ...] = _FREE) -> actions.SetField:
    field, value, *mask = draw(st.sampled_from(among).flatmap(_criterion))
    return actions.SetField(field, value, mask[0] if mask else None)


@st.composite
def _copies(draw: st.DrawFn) -> actions.CopyField:
    src, dst = draw(st.sampled_from(_FREE)), draw(st.sampled_from(_FREE))
    n_bits = draw(st.integers(min_value=1, max_value=min(src.bits, dst.bits)))
    return actions.CopyField(
        src,
        dst,
        n_bits,
        draw(st.integers(min_value=0, max_value=src.bits - n_bits)),
        draw(st.integers(min_value=0, max_value=dst.bits - n_bits)),
    )


@st.composite
def nats(draw: st.DrawFn) -> actions.Nat:
    """Any nat()."""
    kind = draw(st.sampled_from(NatKind))
    if kind is NatKind.RESTORE:
        return actions.Nat()
    low = draw(ADDRESSES)
    span = draw(st.none() | st.integers(min_value=0, max_value=min(9, (1 << low.max_prefixlen) - 1 - int(low))))
    ports = sorted(draw(st.lists(PORTS, max_size=2)))
    return actions.Nat(
        kind=kind,
        address_min=low,
        address_max=None if span is None else low + span,
        port_min=ports[0] if ports else None,
        port_max=ports[1] if len(ports) > 1 else None,
        flags=draw(st.sampled_from([NatFlags(0), NatFlags.PERSISTENT, NatFlags.HASH, NatFlags.RANDOM])),
    )


@st.composite
def conntracks(draw: st.DrawFn) -> actions.Conntrack:
    """Any ct()."""
    commit = draw(st.booleans())
    within: st.SearchStrategy[actions.SetField | actions.Nat] = st.just(actions.Nat())
    if commit:
        within = _set_fields((fields.CT_MARK, fields.CT_LABEL)) | nats()
    return actions.Conntrack(
        draw(numbers(16)),
        draw(st.none() | TABLES),
        commit=commit,
        force=commit and draw(st.booleans()),
        actions=tuple(draw(st.lists(within, max_size=3))),
    )


@st.composite
def _learn_specs(draw: st.DrawFn) -> actions.LearnSpec:
    field = draw(st.sampled_from(_FREE))
    kinds: list[type[actions.LearnMatch | actions.LearnLoad]] = [actions.LearnMatch, actions.LearnLoad]
    kind = draw(st.sampled_from(kinds))
    offset = draw(st.integers(min_value=0, max_value=field.bits - 1))
    n_bits = draw(st.integers(min_value=1, max_value=field.bits - offset))
    if draw(st.booleans()):
        source = draw(st.sampled_from([field, fields.CT_LABEL]))
        source_offset = draw(st.integers(min_value=0, max_value=source.bits - n_bits))
        width = None if offset + n_bits == field.bits else n_bits
        return kind(field, source, n_bits=width, offset=offset, source_offset=source_offset)
    return kind(field, draw(numbers(n_bits)), n_bits=None if offset + n_bits == field.bits else n_bits, offset=offset)


def _learns() -> st.SearchStrategy[actions.Learn]:
    return st.builds(
        actions.Learn,
        table=TABLES,
        priority=numbers(16),
        specs=st.lists(_learn_specs() | st.just(actions.LearnOutput(fields.REG1)), max_size=6).map(tuple),
        cookie=COOKIES,
        idle_timeout=numbers(16),
        hard_timeout=numbers(16),
        flags=st.sampled_from([LearnFlags(0), LearnFlags.SEND_FLOW_REM, LearnFlags.DELETE_LEARNED]),
    )


def any_actions() -> st.SearchStrategy[tuple[actions.Action, ...]]:
    """Any list of actions."""
    one: st.SearchStrategy[actions.Action] = st.one_of(
        st.builds(actions.Output, numbers(32), numbers(16)),
        st.builds(actions.OutputRegister, st.sampled_from(fields.REGISTERS)),
        st.builds(actions.Group, GROUP_IDS),
        _set_fields(),
        _copies(),
        st.just(actions.DecrementTtl()),
        st.builds(actions.Resubmit, TABLES, st.integers(min_value=0, max_value=0xFEFF) | st.just(0xFFFFFFF8)),
        conntracks(),
        st.just(actions.ConntrackClear()),
        _learns(),
    )
    return st.lists(one, max_size=5).map(tuple)


def flow_mods() -> st.SearchStrategy[FlowMod]:
    """Any flow mod."""
    return st.builds(
        FlowMod,
        command=st.sampled_from(FlowModCommand),
        table=TABLES,
        priority=numbers(16),
        match=matches(),
        actions=any_actions(),
        cookie=COOKIES,
        cookie_mask=numbers(64),
        idle_timeout=numbers(16),
        hard_timeout=numbers(16),
        flags=numbers(5).map(FlowModFlags),
        out_port=numbers(32),
        out_group=GROUP_IDS,
    )


def buckets() -> st.SearchStrategy[Bucket]:
    """Any bucket."""
    return st.builds(
        Bucket,
        bucket_id=st.integers(min_value=0, max_value=0xFFFFFF00),
        actions=any_actions(),
        weight=st.none() | numbers(16),
        watch_port=st.none() | numbers(32),
        watch_group=st.none() | GROUP_IDS,
    )


def group_mods() -> st.SearchStrategy[GroupMod]:
    """Any group mod."""
    method = st.builds(
        SelectionMethod,
        name=st.sampled_from(["dp_hash", "hash"]),
        parameter=numbers(64),
        fields=st.lists(st.sampled_from([fields.IPV4_SRC, fields.TCP_SRC, fields.IPV6_DST]), unique=True).map(
            lambda chosen: tuple((field, field.all_ones) for field in chosen)
        ),
    )
    return st.builds(
        GroupMod,
        command=st.sampled_from(GroupModCommand),
        group_id=GROUP_IDS,
        type=st.sampled_from(GroupType),
        buckets=st.lists(buckets(), max_size=3).map(tuple),
        selection_method=st.none() | method,
        command_bucket_id=numbers(32),
    )
