"""The reference encoder: one message to its bytes, by the book."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from antrea_proxy.openflow import fields, messages
from antrea_proxy.openflow.action_encoding import (
    encode_actions,
    encode_buckets,
    encode_instructions,
    encode_selection_method,
)
from antrea_proxy.openflow.constants import (
    HEADER_LENGTH,
    MAX_MESSAGE_LENGTH,
    NICIRA,
    NO_BUFFER,
    VERSION,
    MessageType,
    MultipartType,
)
from antrea_proxy.openflow.errors import InvalidValueError, require_bits
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.match_encoding import encode_match, match_bytes
from antrea_proxy.openflow.messages import Message
from antrea_proxy.openflow.packing import pack, padded

__all__ = ["encode", "encode_actions", "encode_buckets", "encode_match", "match_bytes"]


def encode(message: Message, *, xid: int = 0) -> bytes:
    """Return the bytes of `message`, with the transaction id `xid` (of a BundleAdd: also of the message within).

    Raises InvalidValueError for a number that does not fit its place, naming the message and the place, and for a
    message of more than 65,535 bytes.
    """
    require_bits(type(message).__name__, "xid", xid, 32)
    if isinstance(message, messages.UnknownMessage):
        return _frame(message.type, message.body, xid, message)
    if isinstance(message, messages.BundleAdd):
        inner = encode(message.message, xid=xid)
        head = pack(message, "!I2xH", bundle_id=message.bundle_id, flags=message.flags)
        return _frame(MessageType.BUNDLE_ADD_MESSAGE, head + inner, xid, message)
    encoder = _BODIES.get(type(message))
    if encoder is None:
        raise InvalidValueError(f"{type(message).__name__} is sent by the switch; there is no encoding for it here")
    message_type, body = encoder
    return _frame(message_type, body(message), xid, message)


def _frame(message_type: int, body: bytes, xid: int, message: Message) -> bytes:
    length = HEADER_LENGTH + len(body)
    if length > MAX_MESSAGE_LENGTH:
        raise InvalidValueError(
            f"{type(message).__name__} takes {length} bytes; a message has at most {MAX_MESSAGE_LENGTH}: split it"
        )
    return struct.pack("!BBHI", VERSION, message_type, length, xid) + body


def _hello(message: messages.Hello) -> bytes:
    bitmap = sum(1 << version for version in message.versions)
    return pack(message, "!HHI", type=1, length=8, versions=bitmap)


def _data(message: messages.EchoRequest | messages.EchoReply) -> bytes:
    return message.data


def _empty(_message: object) -> bytes:
    return b""


def _error(message: messages.Error) -> bytes:
    if message.experimenter is None:
        return pack(message, "!HH", type=message.type, code=message.code) + message.data
    return pack(message, "!HHI", type=0xFFFF, code=message.code, experimenter=message.experimenter) + message.data


def _set_config(message: messages.SetConfig) -> bytes:
    return pack(message, "!HH", flags=message.flags, miss_send_len=message.miss_send_len)


def _packet_out(message: messages.PacketOut) -> bytes:
    wanted = encode_actions(message.actions)
    head = pack(message, "!IH2x", buffer=NO_BUFFER, actions_len=len(wanted))
    return head + encode_match(Match((fields.IN_PORT, message.in_port))) + wanted + message.data


def _flow_mod(message: messages.FlowMod) -> bytes:
    head = pack(
        message,
        "!QQBBHHHIIIHH",
        cookie=message.cookie,
        cookie_mask=message.cookie_mask,
        table=message.table,
        command=message.command,
        idle_timeout=message.idle_timeout,
        hard_timeout=message.hard_timeout,
        priority=message.priority,
        buffer=NO_BUFFER,
        out_port=message.out_port,
        out_group=message.out_group,
        flags=message.flags,
        importance=message.importance,
    )
    return head + encode_match(message.match) + encode_instructions(message.actions)


def _group_mod(message: messages.GroupMod) -> bytes:
    buckets = encode_buckets(message.buckets)
    head = pack(
        message,
        "!HBxIH2xI",
        command=message.command,
        type=message.type,
        group_id=message.group_id,
        bucket_array_len=len(buckets),
        command_bucket_id=message.command_bucket_id,
    )
    return head + buckets + encode_selection_method(message.selection_method)


def _port_mod(message: messages.PortMod) -> bytes:
    if len(message.hardware_address) != 6:  # noqa: PLR2004  # an Ethernet address
        raise InvalidValueError(f"PortMod: hardware_address has {len(message.hardware_address)} bytes; it takes 6")
    port = pack(message, "!I4x", port=message.port)
    return port + message.hardware_address + pack(message, "!2xII", config=message.config, mask=message.mask)


def _bundle_control(message: messages.BundleControl) -> bytes:
    return pack(message, "!IHH", bundle_id=message.bundle_id, type=message.type, flags=message.flags)


def _multipart(multipart_type: MultipartType, body: bytes) -> bytes:
    return struct.pack("!HH4x", multipart_type, 0) + body


def _flow_request(message: messages.FlowDescRequest | messages.AggregateStatsRequest) -> bytes:
    kind = MultipartType.FLOW_DESC
    if isinstance(message, messages.AggregateStatsRequest):
        kind = MultipartType.AGGREGATE_STATS
    head = pack(
        message,
        "!B3xII4xQQ",
        table=message.table,
        out_port=message.out_port,
        out_group=message.out_group,
        cookie=message.cookie,
        cookie_mask=message.cookie_mask,
    )
    return _multipart(kind, head + encode_match(message.match))


def _group_desc_request(message: messages.GroupDescRequest) -> bytes:
    return _multipart(MultipartType.GROUP_DESC, pack(message, "!I4x", group_id=message.group_id))


def _group_stats_request(message: messages.GroupStatsRequest) -> bytes:
    return _multipart(MultipartType.GROUP_STATS, pack(message, "!I4x", group_id=message.group_id))


def _port_desc_request(message: messages.PortDescRequest) -> bytes:
    return _multipart(MultipartType.PORT_DESC, pack(message, "!I4x", port=message.port))


_CT_FLUSH_SUBTYPE: Final = 32


def _property(kind: int, payload: bytes) -> bytes:
    return padded(struct.pack("!HH", kind, 4 + len(payload)) + payload)


def _conntrack_tuple(kind: int, wanted: messages.ConntrackTuple) -> bytes:
    parts: list[bytes] = []
    for number, address in enumerate((wanted.source, wanted.destination)):
        if address is not None:
            packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed  # noqa: PLR2004  # IP's own version number; IPv4 as mapped IPv6
            parts.append(_property(number, packed))
    for number, port in enumerate((wanted.source_port, wanted.destination_port), start=2):
        if port is not None:
            parts.append(_property(number, pack(wanted, "!H2x", port=port)))
    if not parts:
        return b""
    # A nested property's payload starts at its eighth byte (Open vSwitch, lib/ofp-prop.c, ofpprop_put_nested).
    return _property(kind, bytes(4) + b"".join(parts))


def _conntrack_flush(message: messages.ConntrackFlush) -> bytes:
    head = pack(message, "!IIB7x", experimenter=NICIRA, subtype=_CT_FLUSH_SUBTYPE, ip_proto=message.ip_proto)
    zone = b"" if message.zone is None else _property(2, pack(message, "!H2x", zone=message.zone))
    return head + _conntrack_tuple(0, message.original) + _conntrack_tuple(1, message.reply) + zone


_BODIES: Final[dict[type, tuple[MessageType, Callable[[Any], bytes]]]] = {
    messages.Hello: (MessageType.HELLO, _hello),
    messages.Error: (MessageType.ERROR, _error),
    messages.EchoRequest: (MessageType.ECHO_REQUEST, _data),
    messages.EchoReply: (MessageType.ECHO_REPLY, _data),
    messages.FeaturesRequest: (MessageType.FEATURES_REQUEST, _empty),
    messages.SetConfig: (MessageType.SET_CONFIG, _set_config),
    messages.PacketOut: (MessageType.PACKET_OUT, _packet_out),
    messages.FlowMod: (MessageType.FLOW_MOD, _flow_mod),
    messages.GroupMod: (MessageType.GROUP_MOD, _group_mod),
    messages.PortMod: (MessageType.PORT_MOD, _port_mod),
    messages.BundleControl: (MessageType.BUNDLE_CONTROL, _bundle_control),
    messages.BarrierRequest: (MessageType.BARRIER_REQUEST, _empty),
    messages.BarrierReply: (MessageType.BARRIER_REPLY, _empty),
    messages.FlowDescRequest: (MessageType.MULTIPART_REQUEST, _flow_request),
    messages.AggregateStatsRequest: (MessageType.MULTIPART_REQUEST, _flow_request),
    messages.GroupDescRequest: (MessageType.MULTIPART_REQUEST, _group_desc_request),
    messages.GroupStatsRequest: (MessageType.MULTIPART_REQUEST, _group_stats_request),
    messages.PortDescRequest: (MessageType.MULTIPART_REQUEST, _port_desc_request),
    messages.ConntrackFlush: (MessageType.EXPERIMENTER, _conntrack_flush),
}
