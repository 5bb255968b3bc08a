"""Bytes to messages: all that a switch sends, and for round trips the messages that change flows and groups."""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Final, TypeVar

from antrea_proxy.openflow import messages
from antrea_proxy.openflow.action_decoding import (
    decode_actions,
    decode_buckets,
    decode_instructions,
    decode_selection_method,
)
from antrea_proxy.openflow.constants import (
    HEADER_LENGTH,
    MULTIPART_MORE,
    OFPP_CONTROLLER,
    VERSION,
    BundleControlType,
    BundleFlags,
    ConfigFlags,
    Cookie,
    FlowModCommand,
    FlowModFlags,
    GroupId,
    GroupModCommand,
    GroupType,
    MessageType,
    MultipartType,
    PortConfig,
    PortReason,
    PortState,
    TableId,
)
from antrea_proxy.openflow.entries import Counters, FlowDesc, GroupDesc, GroupStats, PortDesc, decode_stats
from antrea_proxy.openflow.errors import DecodeError
from antrea_proxy.openflow.match_decoding import OXM_MATCH, decode_conditions, split_match, without_packet_type
from antrea_proxy.openflow.messages import Message
from antrea_proxy.openflow.reading import take, type_length_values, unpack

_HEADER: Final = struct.Struct("!BBHI")
_WORD: Final = struct.Struct("!I")
_ERROR: Final = struct.Struct("!HH")
_FEATURES: Final = struct.Struct("!QIBB2xII")
_SET_CONFIG: Final = struct.Struct("!HH")
_PACKET_IN: Final = struct.Struct("!IHBBQ")
_PACKET_OUT: Final = struct.Struct("!IH2x")
_FLOW_MOD: Final = struct.Struct("!QQBBHHHIIIHH")
_GROUP_MOD: Final = struct.Struct("!HBxIH2xI")
_BUNDLE: Final = struct.Struct("!IHH")
_MULTIPART: Final = struct.Struct("!HH4x")
_FLOW_DESC: Final = struct.Struct("!H2xBxHHHHHQ")
_GROUP_DESC: Final = struct.Struct("!HBxIH6x")
_GROUP_STATS: Final = struct.Struct("!H2xII4xQQII")
_COUNTERS: Final = struct.Struct("!QQ")
_PORT: Final = struct.Struct("!IH2x6s2x16sII")
_PORT_REASON: Final = struct.Struct("!B7x")
_TYPE_AND_LENGTH: Final = struct.Struct("!HH")
_LEAST_FLOW: Final = 24 + 8 + 4
"""Bytes of a flow's own header, an empty match, and the header of its statistics."""

_HELLO_VERSIONS: Final = 1
_ERROR_EXPERIMENTER: Final = 0xFFFF

_Member = TypeVar("_Member", bound=Enum)


def decode(data: bytes) -> tuple[Message, int]:
    """Return the message that `data` is, and its transaction id.

    A type of message that this room has no value for becomes an UnknownMessage; unknown actions and fields within a
    message become values of their own. A Hello may be of any version.

    Raises DecodeError for bytes that are no whole message of OpenFlow 1.5.
    """
    version, kind, length, xid = unpack("message", _HEADER, data)
    if length != len(data):
        raise DecodeError(f"message of type {kind}: its header says {length} bytes, {len(data)} were given")
    body = data[HEADER_LENGTH:]
    if kind == MessageType.HELLO:
        return _hello(version, body), xid
    if version != VERSION:
        raise DecodeError(f"message of type {kind}: version {version}; only OpenFlow 1.5, version {VERSION}, is spoken")
    decoder = _DECODERS.get(kind)
    return messages.UnknownMessage(type=kind, body=body) if decoder is None else decoder(body), xid


def _member(what: str, kind: type[_Member], value: int) -> _Member:
    try:
        return kind(value)
    except ValueError as error:
        raise DecodeError(f"{what} {value} is none of {[member.name for member in kind]}") from error


def _hello(version: int, body: bytes) -> messages.Hello:
    """Read the version bitmap; without one, the versions up to the header's (section 7.5.1)."""
    for kind, element in type_length_values("hello", body):
        if kind == _HELLO_VERSIONS:
            bitmap = int.from_bytes(element[4:8], "big")
            return messages.Hello(versions=frozenset(bit for bit in range(32) if bitmap >> bit & 1))
    return messages.Hello(versions=frozenset(range(1, version + 1)))


def _error(body: bytes) -> messages.Error:
    kind, code = unpack("error", _ERROR, body)
    if kind == _ERROR_EXPERIMENTER:
        (experimenter,) = unpack("error", _WORD, body, _ERROR.size)
        return messages.Error(type=kind, code=code, data=body[8:], experimenter=experimenter)
    return messages.Error(type=kind, code=code, data=body[_ERROR.size :])


def _echo_request(body: bytes) -> messages.EchoRequest:
    return messages.EchoRequest(data=body)


def _echo_reply(body: bytes) -> messages.EchoReply:
    return messages.EchoReply(data=body)


def _features_request(_body: bytes) -> messages.FeaturesRequest:
    return messages.FeaturesRequest()


def _features_reply(body: bytes) -> messages.FeaturesReply:
    datapath_id, n_buffers, n_tables, auxiliary_id, capabilities, _reserved = unpack("features", _FEATURES, body)
    return messages.FeaturesReply(
        datapath_id=datapath_id,
        n_buffers=n_buffers,
        n_tables=n_tables,
        auxiliary_id=auxiliary_id,
        capabilities=capabilities,
    )


def _set_config(body: bytes) -> messages.SetConfig:
    flags, miss_send_len = unpack("set config", _SET_CONFIG, body)
    return messages.SetConfig(miss_send_len=miss_send_len, flags=ConfigFlags(flags))


def _packet_in(body: bytes) -> messages.PacketIn:
    _buffer, total_len, reason, table, cookie = unpack("packet in", _PACKET_IN, body)
    conditions, end = split_match(body, _PACKET_IN.size)
    return messages.PacketIn(
        table=TableId(table),
        reason=reason,
        cookie=Cookie(cookie),
        match_bytes=conditions,
        data=body[end + 2 :],
        total_len=total_len,
    )


def _packet_out(body: bytes) -> messages.PacketOut:
    _buffer, actions_length = unpack("packet out", _PACKET_OUT, body)
    conditions, end = split_match(body, _PACKET_OUT.size)
    in_port = next((condition.value for condition in decode_conditions(conditions)), OFPP_CONTROLLER)
    wanted = decode_actions(take("packet out", body, end, actions_length))
    return messages.PacketOut(actions=wanted, data=body[end + actions_length :], in_port=in_port)


def _flow_mod(body: bytes) -> messages.FlowMod:
    (
        cookie,
        cookie_mask,
        table,
        command,
        idle_timeout,
        hard_timeout,
        priority,
        _buffer,
        out_port,
        out_group,
        flags,
        importance,
    ) = unpack("flow mod", _FLOW_MOD, body)
    conditions, end = split_match(body, _FLOW_MOD.size)
    return messages.FlowMod(
        command=_member("flow mod: command", FlowModCommand, command),
        table=TableId(table),
        priority=priority,
        match=decode_conditions(conditions),
        actions=decode_instructions(body[end:]),
        cookie=Cookie(cookie),
        cookie_mask=cookie_mask,
        idle_timeout=idle_timeout,
        hard_timeout=hard_timeout,
        flags=FlowModFlags(flags),
        importance=importance,
        out_port=out_port,
        out_group=GroupId(out_group),
    )


def _group_mod(body: bytes) -> messages.GroupMod:
    command, kind, group_id, buckets_length, command_bucket_id = unpack("group mod", _GROUP_MOD, body)
    buckets = take("group mod", body, _GROUP_MOD.size, buckets_length)
    return messages.GroupMod(
        command=_member("group mod: command", GroupModCommand, command),
        group_id=GroupId(group_id),
        type=_member("group mod: type", GroupType, kind),
        buckets=decode_buckets(buckets),
        selection_method=decode_selection_method(body[_GROUP_MOD.size + buckets_length :]),
        command_bucket_id=command_bucket_id,
    )


def _bundle_control(body: bytes) -> messages.BundleControl:
    bundle_id, kind, flags = unpack("bundle control", _BUNDLE, body)
    return messages.BundleControl(
        bundle_id=bundle_id,
        type=_member("bundle control: type", BundleControlType, kind),
        flags=BundleFlags(flags),
    )


def _bundle_add(body: bytes) -> messages.BundleAdd:
    bundle_id, _pad, flags = unpack("bundle add", _BUNDLE, body)
    inner, _xid = decode(body[_BUNDLE.size :])
    if not isinstance(inner, messages.FlowMod | messages.GroupMod | messages.PacketOut):
        raise DecodeError(f"bundle add: a {type(inner).__name__} cannot be part of a bundle")
    return messages.BundleAdd(bundle_id=bundle_id, message=inner, flags=BundleFlags(flags))


def _barrier_request(_body: bytes) -> messages.BarrierRequest:
    return messages.BarrierRequest()


def _barrier_reply(_body: bytes) -> messages.BarrierReply:
    return messages.BarrierReply()


def _port_status(body: bytes) -> messages.PortStatus:
    (reason,) = unpack("port status", _PORT_REASON, body)
    port, _end = _port(body, _PORT_REASON.size)
    return messages.PortStatus(reason=_member("port status: reason", PortReason, reason), port=port)


# --- multipart replies (section 7.3.5) -------------------------------------------------------------------------------


def _multipart_reply(body: bytes) -> Message:
    kind, flags = unpack("multipart reply", _MULTIPART, body)
    decoder = _MULTIPART_DECODERS.get(kind)
    if decoder is None:
        return messages.UnknownMessage(type=MessageType.MULTIPART_REPLY, body=body)
    return decoder(body[_MULTIPART.size :], bool(flags & MULTIPART_MORE))


def _flow_descs(body: bytes, more: bool) -> messages.FlowDescReply:  # noqa: FBT001  # called through the table below
    """Split a list of flows. Dumps have 100,000 of them: here alone speed comes before the helpers of reading.py."""
    flows: list[FlowDesc] = []
    offset, total = 0, len(body)
    while offset < total:
        if offset + _LEAST_FLOW > total:
            raise DecodeError(f"flow at offset {offset}: {_LEAST_FLOW} bytes expected, {total - offset} are left")
        length, table, priority, idle, hard, flags, importance, cookie = _FLOW_DESC.unpack_from(body, offset)
        end, start = offset + length, offset + _FLOW_DESC.size
        match_type, match_length = _TYPE_AND_LENGTH.unpack_from(body, start)
        stats = start + (match_length + 7 & ~7)
        if length < _LEAST_FLOW or end > total or match_type != OXM_MATCH or match_length < 4 or stats + 4 > end:  # noqa: PLR2004  # the match's own header
            raise DecodeError(
                f"flow at offset {offset}: {length} bytes with a match of type {match_type}, {match_length}"
            )
        _reserved, stats_length = _TYPE_AND_LENGTH.unpack_from(body, stats)
        instructions = stats + (stats_length + 7 & ~7)
        if stats_length < 4 or instructions > end:  # noqa: PLR2004  # the statistics' own header
            raise DecodeError(f"flow at offset {offset}: {length} bytes with {stats_length} of statistics")
        conditions = without_packet_type(body[start + 4 : start + match_length])
        statistics = body[stats + 4 : stats + stats_length]
        content = body[instructions:end]
        flags = _flow_flags(flags)
        flows.append(
            FlowDesc._make((table, priority, cookie, idle, hard, flags, importance, conditions, statistics, content))
        )
        offset = end
    return messages.FlowDescReply(flows=tuple(flows), more=more)


@cache
def _flow_flags(flags: int) -> FlowModFlags:
    return FlowModFlags(flags)


def _aggregate_stats(body: bytes, more: bool) -> messages.AggregateStatsReply:  # noqa: FBT001  # as above
    _reserved, length = unpack("aggregate statistics", _ERROR, body)
    stats = decode_stats(take("aggregate statistics", body, 4, length - 4))
    return messages.AggregateStatsReply(
        flow_count=stats.flow_count or 0,
        packet_count=stats.packet_count or 0,
        byte_count=stats.byte_count or 0,
        more=more,
    )


def _group_descs(body: bytes, more: bool) -> messages.GroupDescReply:  # noqa: FBT001  # as above
    groups: list[GroupDesc] = []
    offset = 0
    while offset < len(body):
        length, kind, group_id, buckets_length = unpack("group", _GROUP_DESC, body, offset)
        if length < _GROUP_DESC.size + buckets_length:
            raise DecodeError(f"group {group_id}: {length} bytes cannot hold {buckets_length} bytes of buckets")
        content = take(f"group {group_id}", body, offset + _GROUP_DESC.size, length - _GROUP_DESC.size)
        groups.append(
            GroupDesc(
                GroupId(group_id),
                _member("group: type", GroupType, kind),
                content[:buckets_length],
                content[buckets_length:],
            )
        )
        offset += length
    return messages.GroupDescReply(groups=tuple(groups), more=more)


def _group_stats(body: bytes, more: bool) -> messages.GroupStatsReply:  # noqa: FBT001  # as above
    groups: list[GroupStats] = []
    offset = 0
    while offset < len(body):
        length, group_id, references, packets, octets, seconds, nanoseconds = unpack(
            "group's counters", _GROUP_STATS, body, offset
        )
        if length < _GROUP_STATS.size:
            raise DecodeError(f"group {group_id}'s counters: {length} bytes, less than their own header")
        entry = take(f"group {group_id}'s counters", body, offset, length)
        buckets = (
            unpack("bucket's counters", _COUNTERS, entry, start)
            for start in range(_GROUP_STATS.size, length, _COUNTERS.size)
        )
        groups.append(
            GroupStats(
                group_id=GroupId(group_id),
                references=references,
                total=Counters(packets=packets, bytes=octets),
                duration=seconds + nanoseconds / 1e9,
                buckets=tuple(Counters(packets=bucket_packets, bytes=size) for bucket_packets, size in buckets),
            )
        )
        offset += length
    return messages.GroupStatsReply(groups=tuple(groups), more=more)


def _port_descs(body: bytes, more: bool) -> messages.PortDescReply:  # noqa: FBT001  # as above
    ports: list[PortDesc] = []
    offset = 0
    while offset < len(body):
        port, offset = _port(body, offset)
        ports.append(port)
    return messages.PortDescReply(ports=tuple(ports), more=more)


def _port(data: bytes, offset: int) -> tuple[PortDesc, int]:
    """Read the port at `offset` (section 7.2.1), without its properties; return it and the offset after it."""
    fixed = take("port", data, offset, _PORT.size)
    number, length, hardware_address, name, config, state = _PORT.unpack(fixed)
    if length < _PORT.size:
        raise DecodeError(f"port {number}: {length} bytes, less than its own header")
    take(f"port {number}", data, offset, length)
    port = PortDesc(
        port=number,
        name=name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace"),
        hardware_address=hardware_address,
        config=PortConfig(config),
        state=PortState(state),
    )
    return port, offset + length


_MULTIPART_DECODERS: Final[dict[int, Callable[[bytes, bool], Message]]] = {
    MultipartType.FLOW_DESC: _flow_descs,
    MultipartType.AGGREGATE_STATS: _aggregate_stats,
    MultipartType.GROUP_DESC: _group_descs,
    MultipartType.GROUP_STATS: _group_stats,
    MultipartType.PORT_DESC: _port_descs,
}

_DECODERS: Final[dict[int, Callable[[bytes], Message]]] = {
    MessageType.ERROR: _error,
    MessageType.ECHO_REQUEST: _echo_request,
    MessageType.ECHO_REPLY: _echo_reply,
    MessageType.FEATURES_REQUEST: _features_request,
    MessageType.FEATURES_REPLY: _features_reply,
    MessageType.SET_CONFIG: _set_config,
    MessageType.PACKET_IN: _packet_in,
    MessageType.PACKET_OUT: _packet_out,
    MessageType.PORT_STATUS: _port_status,
    MessageType.FLOW_MOD: _flow_mod,
    MessageType.GROUP_MOD: _group_mod,
    MessageType.BUNDLE_CONTROL: _bundle_control,
    MessageType.BUNDLE_ADD_MESSAGE: _bundle_add,
    MessageType.BARRIER_REQUEST: _barrier_request,
    MessageType.BARRIER_REPLY: _barrier_reply,
    MessageType.MULTIPART_REPLY: _multipart_reply,
}
