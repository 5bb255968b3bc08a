"""OpenFlow messages of every kind: what tests of the codec, of its readers and of its bounds have in common."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

from antrea_proxy.openflow import actions, fields, messages
from antrea_proxy.openflow.action_encoding import encode_buckets, encode_instructions, encode_selection_method
from antrea_proxy.openflow.constants import (
    ALL_TABLES,
    OFPP_CONTROLLER,
    OFPP_IN_PORT,
    OFPP_NORMAL,
    BundleControlType,
    Cookie,
    CtState,
    FlowModCommand,
    FlowModFlags,
    GroupId,
    GroupModCommand,
    GroupType,
    LearnFlags,
    MessageType,
    MultipartType,
    NatFlags,
    NatKind,
    PortConfig,
    TableId,
)
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.match_encoding import encode_match
from antrea_proxy.openflow.messages import Bucket, Message, SelectionMethod
from antrea_proxy.openflow.packing import padded

TCP_SERVICE = Match(
    (fields.IPV4_DST, int(IPv4Address("10.96.0.1"))),
    (fields.TCP_DST, 80),
    (fields.ETH_TYPE, fields.ETH_TYPE_IPV4),
    (fields.IP_PROTO, fields.IP_PROTO_TCP),
    (fields.CT_STATE, CtState.NEW | CtState.TRK, CtState.NEW | CtState.TRK),
    (fields.REG4, 1, 0xFF),
    (fields.REG3, 7),
)
UDP6_SERVICE = Match(
    (fields.ETH_TYPE, fields.ETH_TYPE_IPV6),
    (fields.IP_PROTO, fields.IP_PROTO_UDP),
    (fields.IPV6_DST, int(IPv6Address("fd00::1"))),
    (fields.IPV6_SRC, int(IPv6Address("fd01::")), int(IPv6Address("ffff::"))),
    (fields.UDP_DST, 53),
    (fields.XXREG3, int(IPv6Address("::5:0:0:6"))),
)
NEIGHBOUR = Match(
    (fields.ETH_TYPE, fields.ETH_TYPE_IPV6),
    (fields.IP_PROTO, fields.IP_PROTO_ICMPV6),
    (fields.ICMPV6_TYPE, 135),
    (fields.ICMPV6_CODE, 0),
    (fields.ND_TARGET, int(IPv6Address("fd00::1"))),
)
ARP = Match(
    (fields.ETH_TYPE, fields.ETH_TYPE_ARP),
    (fields.ARP_OP, 1),
    (fields.ARP_TPA, int(IPv4Address("10.10.0.1"))),
    (fields.ARP_SHA, 0x0A5800000001),
)
PIPELINE_STATE = Match(
    (fields.IN_PORT, 2),
    (fields.CT_MARK, 0x10, 0x10),
    (fields.CT_ZONE, 65520),
    (fields.CT_LABEL, 1 << 100, 1 << 100),
    (fields.METADATA, 5),
    (fields.TUNNEL_ID, 9),
    (fields.TUN_IPV4_DST, int(IPv4Address("192.0.2.1"))),
    (fields.PKT_MARK, 1, 1),
    (fields.DP_HASH, 3, 15),
    (fields.REG0, 1),
    (fields.REG1, 2),
    (fields.REG15, 3, 3),
)
MATCHES = (Match(), TCP_SERVICE, UDP6_SERVICE, NEIGHBOUR, ARP, PIPELINE_STATE)

TO_ENDPOINT = actions.Conntrack(
    65520,
    TableId(20),
    commit=True,
    actions=(
        actions.Nat(NatKind.DST, IPv4Address("10.10.1.2"), port_min=8080),
        actions.SetField(fields.CT_MARK, 0x10, 0x10),
    ),
)
TO_ENDPOINT6 = actions.Conntrack(
    65520,
    TableId(20),
    commit=True,
    force=True,
    actions=(
        actions.Nat(NatKind.DST, IPv6Address("fd00:10::2"), port_min=8080),
        actions.SetField(fields.CT_LABEL, 5, 7),
    ),
)
AFFINITY = actions.Learn(
    table=TableId(12),
    priority=200,
    hard_timeout=10800,
    cookie=Cookie(0xABCD),
    flags=LearnFlags.DELETE_LEARNED,
    specs=(
        actions.LearnMatch(fields.ETH_TYPE, fields.ETH_TYPE_IPV4),
        actions.LearnMatch(fields.IP_PROTO, fields.IP_PROTO_TCP),
        actions.LearnMatch(fields.IPV4_SRC, fields.IPV4_SRC),
        actions.LearnMatch(fields.REG4, 5, n_bits=16),
        actions.LearnLoad(fields.REG3, fields.REG3),
        actions.LearnLoad(fields.REG0, 1, n_bits=1, offset=16),
        actions.LearnOutput(fields.REG1),
    ),
)
ACTIONS: tuple[actions.Action, ...] = (
    actions.SetField(fields.REG0, 7, 0xFF),
    actions.SetField(fields.REG1, 9),
    actions.SetField(fields.XXREG3, 1 << 90),
    actions.SetField(fields.ETH_DST, 0xAABBCCDDEEFF),
    actions.SetField(fields.TUN_IPV4_DST, int(IPv4Address("192.0.2.1"))),
    actions.CopyField(fields.DP_HASH, fields.REG7, 12),
    actions.CopyField(fields.TCP_SRC, fields.REG7, 12, 1, 3),
    actions.DecrementTtl(),
    actions.Resubmit(TableId(9)),
    actions.Resubmit(TableId(9), 5),
    TO_ENDPOINT,
    actions.Conntrack(65520, TableId(3), actions=(actions.Nat(),)),
    actions.Conntrack(
        1,
        commit=True,
        actions=(
            actions.Nat(NatKind.SRC, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9"), 1024, 65535, NatFlags.RANDOM),
        ),
    ),
    actions.ConntrackClear(),
    AFFINITY,
    actions.OutputRegister(fields.REG1),
    actions.OutputRegister(fields.REG1, offset=4, n_bits=16),
    actions.Group(GroupId(4)),
    actions.Output(OFPP_NORMAL),
    actions.Output(OFPP_IN_PORT),
    actions.Output(OFPP_CONTROLLER, 128),
)
ACTIONS6: tuple[actions.Action, ...] = (TO_ENDPOINT6, actions.CopyField(fields.IPV6_SRC, fields.XXREG0, 128))


def _choices(count: int) -> tuple[Bucket, ...]:
    return tuple(Bucket(bucket_id=number, weight=100 - number, actions=(TO_ENDPOINT,)) for number in range(count))


GROUPS = (
    messages.GroupMod(
        command=GroupModCommand.ADD_OR_MOD,
        group_id=GroupId(4),
        buckets=_choices(3),
        selection_method=SelectionMethod(name="dp_hash"),
    ),
    messages.GroupMod(
        group_id=GroupId(5),
        type=GroupType.ALL,
        buckets=tuple(
            Bucket(bucket_id=n, actions=(actions.SetField(fields.REG0, n), actions.Resubmit(TableId(8))))
            for n in range(2)
        ),
    ),
    messages.GroupMod(
        group_id=GroupId(6),
        buckets=_choices(1),
        selection_method=SelectionMethod(name="hash", fields=((fields.IPV4_SRC, 0xFFFFFFFF), (fields.IPV4_DST, 0xFF))),
    ),
    messages.GroupMod(
        group_id=GroupId(7),
        buckets=tuple(Bucket(bucket_id=n, weight=1, actions=(TO_ENDPOINT6,)) for n in range(2)),
    ),
)
FLOWS = (
    messages.FlowMod(
        table=TableId(3), priority=200, cookie=Cookie(0xDEADBEEF), match=TCP_SERVICE, actions=ACTIONS, hard_timeout=9
    ),
    messages.FlowMod(table=TableId(4), priority=190, match=UDP6_SERVICE, actions=ACTIONS6, idle_timeout=5),
    messages.FlowMod(table=TableId(5), match=NEIGHBOUR, flags=FlowModFlags.SEND_FLOW_REM),
    messages.FlowMod(table=TableId(6), match=ARP, importance=0, actions=(actions.Output(OFPP_NORMAL),)),
)
STATE_FLOW = messages.FlowMod(table=TableId(7), match=PIPELINE_STATE)
"""It matches on dp_hash, which Open vSwitch reads but does not install (OFPBRC_EPERM)."""

REQUESTS: tuple[Message, ...] = (
    messages.Hello(),
    messages.EchoRequest(data=b"are you there"),
    messages.EchoReply(data=b"yes"),
    messages.FeaturesRequest(),
    messages.SetConfig(miss_send_len=128),
    messages.PacketOut(actions=(actions.Output(4),), data=bytes(60), in_port=3),
    *FLOWS,
    STATE_FLOW,
    messages.FlowMod(
        command=FlowModCommand.DELETE, table=ALL_TABLES, cookie=Cookie(0x1000), cookie_mask=0xF000, out_group=GroupId(3)
    ),
    *GROUPS,
    messages.GroupMod(command=GroupModCommand.DELETE, group_id=GroupId(4)),
    messages.PortMod(port=3, hardware_address=bytes(6), config=PortConfig.NO_PACKET_IN, mask=PortConfig.NO_PACKET_IN),
    messages.BundleControl(bundle_id=1, type=BundleControlType.OPEN_REQUEST),
    messages.BundleAdd(bundle_id=1, message=FLOWS[0]),
    messages.BarrierRequest(),
    messages.FlowDescRequest(table=TableId(3), cookie=Cookie(1), cookie_mask=3),
    messages.AggregateStatsRequest(match=ARP),
    messages.GroupDescRequest(),
    messages.GroupStatsRequest(group_id=GroupId(4)),
    messages.PortDescRequest(),
    messages.ConntrackFlush(
        ip_proto=17,
        zone=65520,
        original=messages.ConntrackTuple(destination=IPv4Address("10.96.0.10"), destination_port=53),
        reply=messages.ConntrackTuple(source=IPv4Address("10.10.1.2"), source_port=5353),
    ),
    messages.ConntrackFlush(ip_proto=58, original=messages.ConntrackTuple(destination=IPv6Address("fd00::1"))),
)
"""All that this side sends."""


def frame(kind: MessageType, body: bytes, xid: int = 7) -> bytes:
    """A message that only a switch sends."""
    return struct.pack("!BBHI", 6, kind, 8 + len(body), xid) + body


def multipart(kind: MultipartType, body: bytes, *, more: bool = False, xid: int = 7) -> bytes:
    """One part of a multipart reply."""
    return frame(MessageType.MULTIPART_REPLY, struct.pack("!HH4x", kind, int(more)) + body, xid)


def statistics(**values: int) -> bytes:
    """OXS statistics with their header, padded."""
    numbers = {"duration": 0, "idle_time": 1, "flow_count": 3, "packet_count": 4, "byte_count": 5}
    written = b"".join(
        struct.pack("!HBBI", 0x8002, numbers[name] << 1, 4, value)
        if name == "flow_count"
        else struct.pack("!HBBQ", 0x8002, numbers[name] << 1, 8, value)
        for name, value in values.items()
    )
    return padded(struct.pack("!HH", 0, 4 + len(written)) + written)


def flow_entry(flow: messages.FlowMod) -> bytes:
    """The flow as a switch lists it, used by 3 packets of 180 bytes."""
    content = (
        encode_match(flow.match)
        + statistics(duration=5 << 32, idle_time=2 << 32, packet_count=3, byte_count=180)
        + encode_instructions(flow.actions)
    )
    head = struct.pack(
        "!H2xBxHHHHHQ", 24 + len(content), flow.table, flow.priority, flow.idle_timeout, flow.hard_timeout, flow.flags,
        flow.importance, flow.cookie,
    )  # fmt: skip
    return head + content


def group_entry(group: messages.GroupMod) -> bytes:
    """The group as a switch lists it."""
    buckets, properties = encode_buckets(group.buckets), encode_selection_method(group.selection_method)
    length = 16 + len(buckets) + len(properties)
    return struct.pack("!HBxIH6x", length, group.type, group.group_id, len(buckets)) + buckets + properties


PORT = struct.pack("!IH2x6s2x16sII", 2, 72, bytes(6), b"antrea-gw0", 1, 4) + struct.pack("!HH28x", 0, 32)

FROM_SWITCH: tuple[bytes, ...] = (
    frame(MessageType.FEATURES_REPLY, struct.pack("!QIBB2xII", 0x1234, 0, 254, 0, 0x24F, 0)),
    encode(messages.Error(type=2, code=9, data=encode(messages.BarrierRequest())), xid=7),
    encode(messages.Error(type=0xFFFF, code=42, data=encode(messages.BarrierRequest()), experimenter=0x2320), xid=7),
    frame(
        MessageType.PACKET_IN,
        struct.pack("!IHBBQ", 0xFFFFFFFF, 60, 1, 9, 5) + encode_match(Match((fields.IN_PORT, 3))) + bytes(2 + 60),
    ),
    frame(MessageType.PORT_STATUS, struct.pack("!B7x", 2) + PORT),
    encode(messages.BundleControl(bundle_id=1, type=BundleControlType.COMMIT_REPLY), xid=7),
    encode(messages.BarrierReply(), xid=7),
    encode(messages.EchoReply(data=b"yes"), xid=7),
    multipart(MultipartType.FLOW_DESC, b"".join(map(flow_entry, (*FLOWS, STATE_FLOW)))),
    multipart(MultipartType.AGGREGATE_STATS, statistics(packet_count=3, byte_count=180, flow_count=2)),
    multipart(MultipartType.GROUP_DESC, b"".join(map(group_entry, GROUPS))),
    multipart(
        MultipartType.GROUP_STATS,
        struct.pack("!H2xII4xQQII", 56, 4, 1, 3, 180, 5, 500_000_000) + struct.pack("!QQ", 3, 180),
    ),
    multipart(MultipartType.PORT_DESC, PORT + PORT),
)
"""All that a switch sends."""
