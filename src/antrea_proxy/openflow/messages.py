"""OpenFlow 1.5 messages as values. Transaction ids are no part of them: `encode` takes one, `decode` gives one.

Numbers are held against their width when a message is encoded; see encoding.py for what it raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from antrea_proxy.openflow.actions import Action
from antrea_proxy.openflow.constants import (
    ALL_GROUPS,
    ALL_TABLES,
    ANY_GROUP,
    BUCKET_ALL,
    NO_COOKIE,
    NO_FLOW_FLAGS,
    OFPP_ANY,
    OFPP_CONTROLLER,
    BundleControlType,
    BundleFlags,
    ConfigFlags,
    Cookie,
    FlowModCommand,
    FlowModFlags,
    GroupId,
    GroupModCommand,
    GroupType,
    PortConfig,
    PortReason,
    TableId,
)
from antrea_proxy.openflow.entries import FlowDesc, GroupDesc, GroupStats, PortDesc
from antrea_proxy.openflow.error_names import error_names
from antrea_proxy.openflow.groups import Bucket, SelectionMethod
from antrea_proxy.openflow.match import ANY_PACKET, Match

__all__ = [
    "AggregateStatsReply",
    "AggregateStatsRequest",
    "BarrierReply",
    "BarrierRequest",
    "Bucket",
    "BundleAdd",
    "BundleControl",
    "ConntrackFlush",
    "ConntrackTuple",
    "EchoReply",
    "EchoRequest",
    "Error",
    "FeaturesReply",
    "FeaturesRequest",
    "FlowDescReply",
    "FlowDescRequest",
    "FlowMod",
    "GroupDescReply",
    "GroupDescRequest",
    "GroupMod",
    "GroupStatsReply",
    "GroupStatsRequest",
    "Hello",
    "Message",
    "MultipartReplyMessage",
    "PacketIn",
    "PacketOut",
    "PortDescReply",
    "PortDescRequest",
    "PortMod",
    "PortStatus",
    "SelectionMethod",
    "SetConfig",
    "UnknownMessage",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of both sides, with the versions that the sender speaks (section 7.5.1)."""

    versions: frozenset[int] = frozenset({6})


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """The switch's refusal of a message; `data` holds the start of the message, or its transaction's (section 7.5.4).

    `experimenter` is None for the errors of the standard.
    """

    type: int
    code: int
    data: bytes = b""
    experimenter: int | None = None

    @property
    def type_name(self) -> str:
        """The type's name, as BAD_ACTION."""
        return error_names(self.type, self.code, self.experimenter)[0]

    @property
    def code_name(self) -> str:
        """The code's name, as BAD_OUT_PORT."""
        return error_names(self.type, self.code, self.experimenter)[1]

    def __str__(self) -> str:
        return f"{self.type_name}/{self.code_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoRequest:
    """Are you there? The answer repeats `data`."""

    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoReply:
    """The answer to an EchoRequest."""

    data: bytes = b""


@dataclass(frozen=True, slots=True)
class FeaturesRequest:
    """Asks who the switch is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesReply:
    """Who the switch is (section 7.3.1)."""

    datapath_id: int
    n_buffers: int = 0
    n_tables: int = 0
    auxiliary_id: int = 0
    capabilities: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig:
    """How fragments are treated, and how many bytes of a packet go to the controller.

    Over Open vSwitch's management socket packet-in and flow-removed messages come only once miss_send_len is not 0.
    """

    miss_send_len: int
    flags: ConfigFlags = ConfigFlags.FRAG_NORMAL


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketOut:
    """Inject the frame `data`, as if it came from `in_port`, and do `actions` to it."""

    actions: tuple[Action, ...]
    data: bytes
    in_port: int = OFPP_CONTROLLER


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketIn:
    """A frame, or its start, that the pipeline sent to the controller (section 7.4.1); conditions as in FlowDesc."""

    table: TableId
    reason: int
    cookie: Cookie
    match_bytes: bytes
    data: bytes
    total_len: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMod:
    """Add, change or delete flows (section 7.3.4.2). Timeouts are in seconds, 0 for none.

    MODIFY and DELETE can be narrowed by the bits of `cookie_mask`; deletions also by out_port and out_group.
    """

    command: FlowModCommand = FlowModCommand.ADD
    table: TableId
    priority: int = 0
    match: Match = ANY_PACKET
    actions: tuple[Action, ...] = ()
    cookie: Cookie = NO_COOKIE
    cookie_mask: int = 0
    idle_timeout: int = 0
    hard_timeout: int = 0
    flags: FlowModFlags = NO_FLOW_FLAGS
    importance: int = 0
    out_port: int = OFPP_ANY
    out_group: GroupId = ANY_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMod:
    """Add, change or delete a group (section 7.3.4.3)."""

    command: GroupModCommand = GroupModCommand.ADD
    group_id: GroupId
    type: GroupType = GroupType.SELECT
    buckets: tuple[Bucket, ...] = ()
    selection_method: SelectionMethod | None = None
    command_bucket_id: int = BUCKET_ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMod:
    """Change the bits `mask` of a port's configuration to `config`; the hardware address must be the port's."""

    port: int
    hardware_address: bytes
    config: PortConfig
    mask: PortConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleControl:
    """Open, close, commit or discard a bundle, or the switch's answer to that (section 7.3.9)."""

    bundle_id: int
    type: BundleControlType
    flags: BundleFlags = BundleFlags.ATOMIC | BundleFlags.ORDERED


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleAdd:
    """Add a message to a bundle. Its transaction id is also the inner message's (section 7.3.9.6)."""

    bundle_id: int
    message: FlowMod | GroupMod | PortMod | PacketOut
    flags: BundleFlags = BundleFlags.ATOMIC | BundleFlags.ORDERED


@dataclass(frozen=True, slots=True)
class BarrierRequest:
    """Answer when all that was sent before has been done."""


@dataclass(frozen=True, slots=True)
class BarrierReply:
    """All that was sent before has been done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDescRequest:
    """Asks for flows: those that `match` covers, narrowed by table, output and the bits of `cookie_mask`."""

    table: TableId = ALL_TABLES
    match: Match = ANY_PACKET
    cookie: Cookie = NO_COOKIE
    cookie_mask: int = 0
    out_port: int = OFPP_ANY
    out_group: GroupId = ANY_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowDescReply:
    """Flows; `more` if further parts follow."""

    flows: tuple[FlowDesc, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateStatsRequest:
    """Asks for the sums over the flows that a FlowDescRequest with the same values would give."""

    table: TableId = ALL_TABLES
    match: Match = ANY_PACKET
    cookie: Cookie = NO_COOKIE
    cookie_mask: int = 0
    out_port: int = OFPP_ANY
    out_group: GroupId = ANY_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateStatsReply:
    """Sums over flows."""

    flow_count: int
    packet_count: int
    byte_count: int
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescRequest:
    """Asks for a group, or for all."""

    group_id: GroupId = ALL_GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescReply:
    """Groups; `more` if further parts follow."""

    groups: tuple[GroupDesc, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatsRequest:
    """Asks for the counters of a group, or of all."""

    group_id: GroupId = ALL_GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStatsReply:
    """Groups' counters; `more` if further parts follow."""

    groups: tuple[GroupStats, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDescRequest:
    """Asks for a port, or for all."""

    port: int = OFPP_ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDescReply:
    """Ports; `more` if further parts follow."""

    ports: tuple[PortDesc, ...]
    more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStatus:
    """A port came, went or changed."""

    reason: PortReason
    port: PortDesc


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackTuple:
    """One direction of a connection; what is None matches anything. ICMP is matched by addresses alone."""

    source: IPv4Address | IPv6Address | None = None
    destination: IPv4Address | IPv6Address | None = None
    source_port: int | None = None
    destination_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConntrackFlush:
    """Forget connections of `zone` (None: of every zone): NXT_CT_FLUSH, since Open vSwitch 3.1.

    `ip_proto` 0 means any; ports need one. It cannot be part of a bundle, and one pass over very many entries may miss
    some.
    """

    ip_proto: int = 0
    zone: int | None = None
    original: ConntrackTuple = ConntrackTuple()
    reply: ConntrackTuple = ConntrackTuple()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownMessage:
    """A message that this room has no value for: its type byte, and what follows its header."""

    type: int
    body: bytes


Message: TypeAlias = (
    Hello
    | Error
    | EchoRequest
    | EchoReply
    | FeaturesRequest
    | FeaturesReply
    | SetConfig
    | PacketOut
    | PacketIn
    | FlowMod
    | GroupMod
    | PortMod
    | BundleControl
    | BundleAdd
    | BarrierRequest
    | BarrierReply
    | FlowDescRequest
    | FlowDescReply
    | AggregateStatsRequest
    | AggregateStatsReply
    | GroupDescRequest
    | GroupDescReply
    | GroupStatsRequest
    | GroupStatsReply
    | PortDescRequest
    | PortDescReply
    | PortStatus
    | ConntrackFlush
    | UnknownMessage
)

MultipartReplyMessage: TypeAlias = (
    FlowDescReply | AggregateStatsReply | GroupDescReply | GroupStatsReply | PortDescReply
)
