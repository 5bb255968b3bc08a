"""Actions, instructions and buckets to bytes (OpenFlow 1.5.1 sections 7.2.5 and 7.2.6, ovs-actions(7))."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from antrea_proxy.openflow import actions
from antrea_proxy.openflow.constants import (
    MAX_MESSAGE_LENGTH,
    NETRONOME,
    NICIRA,
    NO_RECIRCULATION,
    ActionType,
    BucketProperty,
    ConntrackFlags,
    Instruction,
    NatKind,
    NatRange,
    NiciraAction,
)
from antrea_proxy.openflow.errors import InvalidValueError
from antrea_proxy.openflow.fields import Field
from antrea_proxy.openflow.groups import Bucket, SelectionMethod
from antrea_proxy.openflow.match_encoding import condition_bytes, field_header, nicira_header
from antrea_proxy.openflow.packing import pack, padded

_SELECTION_METHOD_LENGTH: Final = 16
_LEARN_SOURCE_IS_NUMBER: Final = 1 << 13
_LEARN_LOAD: Final = 1 << 11
_LEARN_OUTPUT: Final = 2 << 11


def encode_actions(wanted: Sequence[actions.Action]) -> bytes:
    """Return the actions, each padded to 8 bytes (section 7.2.6)."""
    return b"".join(map(_action, wanted))


def _standard(action_type: ActionType, body: bytes) -> bytes:
    content = padded(bytes(4) + body)[4:]
    return struct.pack("!HH", action_type, 4 + len(content)) + content


def _nicira(subtype: NiciraAction, body: bytes) -> bytes:
    content = padded(bytes(10) + body)[10:]
    return struct.pack("!HHIH", ActionType.EXPERIMENTER, 10 + len(content), NICIRA, subtype) + content


def _action(action: actions.Action) -> bytes:
    return _ENCODERS[type(action)](action)


def _output(action: actions.Output) -> bytes:
    return _standard(ActionType.OUTPUT, struct.pack("!IH6x", action.port, action.max_len))


def _output_register(action: actions.OutputRegister) -> bytes:
    slice_bits = action.offset << 6 | (action.width - 1)
    return _nicira(NiciraAction.OUTPUT_REG, struct.pack("!H", slice_bits) + nicira_header(action.field) + bytes(8))


def _group(action: actions.Group) -> bytes:
    return _standard(ActionType.GROUP, struct.pack("!I", action.group_id))


def _set_field(action: actions.SetField) -> bytes:
    return _standard(ActionType.SET_FIELD, condition_bytes(action.field, action.value, action.mask))


def _copy_field(action: actions.CopyField) -> bytes:
    head = struct.pack("!HHH2x", action.n_bits, action.src_offset, action.dst_offset)
    return _standard(ActionType.COPY_FIELD, head + field_header(action.src) + field_header(action.dst))


def _decrement_ttl(_action: actions.DecrementTtl) -> bytes:
    return _standard(ActionType.DEC_NW_TTL, b"")


def _resubmit(action: actions.Resubmit) -> bytes:
    return _nicira(NiciraAction.RESUBMIT_TABLE, struct.pack("!HB3x", action.in_port & 0xFFFF, action.table))


def _conntrack_clear(_action: actions.ConntrackClear) -> bytes:
    return _nicira(NiciraAction.CT_CLEAR, b"")


def _unknown(action: actions.UnknownAction) -> bytes:
    return padded(action.data)


_NAT_KIND_BITS: Final = {NatKind.RESTORE: 0, NatKind.SRC: 1, NatKind.DST: 2}


def _nat(nat: actions.Nat) -> bytes:
    present = NatRange(0)
    parts: list[bytes] = []
    for address, bit in ((nat.address_min, NatRange.IPV4_MIN), (nat.address_max, NatRange.IPV4_MAX)):
        if address is not None:
            present |= bit if address.version == 4 else NatRange(bit << 2)  # noqa: PLR2004  # IP's own version number
            parts.append(address.packed)
    for port, bit in ((nat.port_min, NatRange.PORT_MIN), (nat.port_max, NatRange.PORT_MAX)):
        if port is not None:
            present |= bit
            parts.append(struct.pack("!H", port))
    flags = _NAT_KIND_BITS[nat.kind] | nat.flags
    return _nicira(NiciraAction.NAT, struct.pack("!2xHH", flags, present) + b"".join(parts))


def _conntrack(ct: actions.Conntrack) -> bytes:
    flags = (ConntrackFlags.COMMIT if ct.commit else 0) | (ConntrackFlags.FORCE if ct.force else 0)
    table = NO_RECIRCULATION if ct.table is None else ct.table
    head = struct.pack("!HIHB3xH", flags, 0, ct.zone, table, 0)
    return _nicira(NiciraAction.CT, head + encode_actions(ct.actions))


def _learn(learn: actions.Learn) -> bytes:
    head = struct.pack(
        "!HHHQHBxHH",
        learn.idle_timeout,
        learn.hard_timeout,
        learn.priority,
        learn.cookie,
        learn.flags,
        learn.table,
        learn.fin_idle_timeout,
        learn.fin_hard_timeout,
    )
    return _nicira(NiciraAction.LEARN, head + b"".join(map(_learn_spec, learn.specs)))


def _learn_spec(spec: actions.LearnSpec) -> bytes:
    """One flow_mod_spec: a header, where the bits come from, where they go (nicira-ext.h, NXAST_LEARN)."""
    if isinstance(spec, actions.LearnOutput):
        source = nicira_header(spec.source) + struct.pack("!H", spec.source_offset)
        return struct.pack("!H", _LEARN_OUTPUT | spec.width) + source
    kind = _LEARN_LOAD if isinstance(spec, actions.LearnLoad) else 0
    destination = nicira_header(spec.field) + struct.pack("!H", spec.offset)
    if isinstance(spec.source, Field):
        source = nicira_header(spec.source) + struct.pack("!H", spec.source_offset)
    else:
        kind |= _LEARN_SOURCE_IS_NUMBER
        source = spec.source.to_bytes((spec.width + 15) // 16 * 2, "big")
    return struct.pack("!H", kind | spec.width) + source + destination


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {
    actions.Output: _output,
    actions.OutputRegister: _output_register,
    actions.Group: _group,
    actions.SetField: _set_field,
    actions.CopyField: _copy_field,
    actions.DecrementTtl: _decrement_ttl,
    actions.Resubmit: _resubmit,
    actions.Nat: _nat,
    actions.Conntrack: _conntrack,
    actions.ConntrackClear: _conntrack_clear,
    actions.Learn: _learn,
    actions.UnknownAction: _unknown,
}


def encode_instructions(wanted: Sequence[actions.Action]) -> bytes:
    """Return the actions as one apply-actions instruction, and nothing for no action, which drops (section 7.2.5)."""
    if not wanted:
        return b""
    encoded = encode_actions(wanted)
    length = 8 + len(encoded)
    if length > MAX_MESSAGE_LENGTH:
        raise InvalidValueError(f"the actions of a flow take {length} bytes; at most {MAX_MESSAGE_LENGTH} fit")
    return struct.pack("!HH4x", Instruction.APPLY_ACTIONS, length) + encoded


def encode_buckets(buckets: Sequence[Bucket]) -> bytes:
    """Return a group's buckets (section 7.3.4.3.1)."""
    return b"".join(map(_bucket, buckets))


def _bucket(bucket: Bucket) -> bytes:
    wanted = encode_actions(bucket.actions)
    properties = b""
    if bucket.weight is not None:
        properties += pack(bucket, "!HHH2x", type=BucketProperty.WEIGHT, length=8, weight=bucket.weight)
    if bucket.watch_port is not None:
        properties += pack(bucket, "!HHI", type=BucketProperty.WATCH_PORT, length=8, watch_port=bucket.watch_port)
    if bucket.watch_group is not None:
        properties += pack(bucket, "!HHI", type=BucketProperty.WATCH_GROUP, length=8, watch_group=bucket.watch_group)
    length = 8 + len(wanted) + len(properties)
    head = pack(bucket, "!HHI", length=length, action_array_len=len(wanted), bucket_id=bucket.bucket_id)
    return head + wanted + properties


def encode_selection_method(method: SelectionMethod | None) -> bytes:
    """Netronome's group property (netronome-ext.h); nothing for None."""
    if method is None:
        return b""
    name = method.name.encode("ascii")
    if not 0 < len(name) < _SELECTION_METHOD_LENGTH:
        raise InvalidValueError(f"selection method {method.name!r} is not 1 to {_SELECTION_METHOD_LENGTH - 1} bytes")
    chosen = b"".join(field_header(field) + mask.to_bytes(field.length, "big") for field, mask in method.fields)
    length = 40 + len(chosen)
    head = pack(method, "!HHIIIQ", type=0xFFFF, length=length, experimenter=NETRONOME, exp_type=1, pad=0, name=0)[:16]
    parameter = pack(method, "!Q", parameter=method.parameter)
    return padded(head + name.ljust(_SELECTION_METHOD_LENGTH, b"\0") + parameter + chosen)
