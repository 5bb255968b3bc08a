"""Numbers of OpenFlow 1.5.1 and of the Nicira and Netronome extensions, by the names of their documents.

OpenFlow's sections are those of the OpenFlow Switch Specification 1.5.1; the extensions are described in
ovs-actions(7), ovs-fields(7) and Open vSwitch's include/openflow/nicira-ext.h.
"""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag
from typing import Final, NewType

TableId = NewType("TableId", int)
"""A flow table, 0 to 254; 255 means all tables in requests and deletions (section 7.3.4.1)."""

GroupId = NewType("GroupId", int)
"""A group, 0 to 0xffffff00 (section 7.3.4.3)."""

Cookie = NewType("Cookie", int)
"""A flow's opaque 64-bit mark; all ones is reserved (section 6.4)."""

NO_COOKIE: Final = Cookie(0)

VERSION: Final = 6
"""OpenFlow 1.5 in a message's header (section 7.1.1)."""

HEADER_LENGTH: Final = 8
MAX_MESSAGE_LENGTH: Final = 0xFFFF

ALL_TABLES: Final = TableId(0xFF)
MAX_TABLE: Final = TableId(0xFE)
MAX_GROUP: Final = GroupId(0xFFFFFF00)
ALL_GROUPS: Final = GroupId(0xFFFFFFFC)
ANY_GROUP: Final = GroupId(0xFFFFFFFF)

MAX_BUCKET: Final = 0xFFFFFF00
BUCKET_FIRST: Final = 0xFFFFFFFD
BUCKET_LAST: Final = 0xFFFFFFFE
BUCKET_ALL: Final = 0xFFFFFFFF

NO_BUFFER: Final = 0xFFFFFFFF

OFPP_MAX: Final = 0xFFFFFF00
OFPP_UNSET: Final = 0xFFFFFFF7
OFPP_IN_PORT: Final = 0xFFFFFFF8
OFPP_TABLE: Final = 0xFFFFFFF9
OFPP_NORMAL: Final = 0xFFFFFFFA
OFPP_FLOOD: Final = 0xFFFFFFFB
OFPP_ALL: Final = 0xFFFFFFFC
OFPP_CONTROLLER: Final = 0xFFFFFFFD
OFPP_LOCAL: Final = 0xFFFFFFFE
OFPP_ANY: Final = 0xFFFFFFFF

NICIRA: Final = 0x00002320
"""The experimenter of Open vSwitch's own messages and actions."""

NETRONOME: Final = 0x0000154D
"""The experimenter of the group property that names a selection method."""


class MessageType(IntEnum):
    """The type byte of a message's header (section 7.1.1)."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REQUEST = 5
    FEATURES_REPLY = 6
    GET_CONFIG_REQUEST = 7
    GET_CONFIG_REPLY = 8
    SET_CONFIG = 9
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    GROUP_MOD = 15
    PORT_MOD = 16
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    BUNDLE_CONTROL = 33
    BUNDLE_ADD_MESSAGE = 34


class MultipartType(IntEnum):
    """The type of a multipart request or reply (section 7.3.5). Open vSwitch's FLOW_DESC carries the statistics too."""

    FLOW_DESC = 1
    AGGREGATE_STATS = 2
    GROUP_STATS = 6
    GROUP_DESC = 7
    PORT_DESC = 13


MULTIPART_MORE: Final = 1
"""The flag of a multipart message that is not the last of its sequence (section 7.3.5)."""


class FlowModCommand(IntEnum):
    """What a FlowMod does (section 7.3.4.2)."""

    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class FlowModFlags(IntFlag):
    """Flags of a flow (section 7.3.4.2)."""

    SEND_FLOW_REM = 1
    CHECK_OVERLAP = 2
    RESET_COUNTS = 4
    NO_PACKET_COUNTS = 8
    NO_BYTE_COUNTS = 16


NO_FLOW_FLAGS: Final = FlowModFlags(0)


class GroupModCommand(IntEnum):
    """What a GroupMod does (section 7.3.4.3); ADD_OR_MOD is Open vSwitch's own."""

    ADD = 0
    MODIFY = 1
    DELETE = 2
    INSERT_BUCKET = 3
    REMOVE_BUCKET = 5
    ADD_OR_MOD = 0x8000


class GroupType(IntEnum):
    """How a group uses its buckets (section 5.6.1)."""

    ALL = 0
    SELECT = 1
    INDIRECT = 2
    FAST_FAILOVER = 3


class BucketProperty(IntEnum):
    """Types of a bucket's properties (section 7.3.4.3.1)."""

    WEIGHT = 0
    WATCH_PORT = 1
    WATCH_GROUP = 2


class BundleControlType(IntEnum):
    """Steps of a bundle; each request's reply is one more (section 7.3.9.2)."""

    OPEN_REQUEST = 0
    OPEN_REPLY = 1
    CLOSE_REQUEST = 2
    CLOSE_REPLY = 3
    COMMIT_REQUEST = 4
    COMMIT_REPLY = 5
    DISCARD_REQUEST = 6
    DISCARD_REPLY = 7


class BundleFlags(IntFlag):
    """How a bundle is committed (section 7.3.9.4)."""

    ATOMIC = 1
    ORDERED = 2


class Instruction(IntEnum):
    """Types of instructions (section 7.2.5)."""

    GOTO_TABLE = 1
    WRITE_METADATA = 2
    WRITE_ACTIONS = 3
    APPLY_ACTIONS = 4
    CLEAR_ACTIONS = 5


class ActionType(IntEnum):
    """Types of the standard actions used here (section 7.2.6)."""

    OUTPUT = 0
    GROUP = 22
    DEC_NW_TTL = 24
    SET_FIELD = 25
    COPY_FIELD = 28
    EXPERIMENTER = 0xFFFF


class NiciraAction(IntEnum):
    """Subtypes of Open vSwitch's own actions used here (ovs-actions(7))."""

    RESUBMIT_TABLE = 14
    OUTPUT_REG = 15
    LEARN = 16
    CT = 35
    NAT = 36
    CT_CLEAR = 43


class ConfigFlags(IntFlag):
    """How the switch treats IP fragments (section 7.3.2)."""

    FRAG_NORMAL = 0
    FRAG_DROP = 1
    FRAG_REASM = 2


class PortConfig(IntFlag):
    """What a port was told to do (section 7.2.1.1).

    OpenFlow 1.5 has no flag against flooding: it left with 1.1, and Open vSwitch takes it over OpenFlow 1.0 alone.
    """

    PORT_DOWN = 1
    NO_RECV = 4
    NO_FWD = 32
    NO_PACKET_IN = 64


class PortState(IntFlag):
    """What a port is (section 7.2.1.1)."""

    LINK_DOWN = 1
    BLOCKED = 2
    LIVE = 4


class PortReason(IntEnum):
    """Why a PortStatus was sent (section 7.4.3)."""

    ADD = 0
    DELETE = 1
    MODIFY = 2


class CtState(IntFlag):
    """Bits of the field ct_state (ovs-fields(7))."""

    NEW = 0x01
    EST = 0x02
    REL = 0x04
    RPL = 0x08
    INV = 0x10
    TRK = 0x20
    SNAT = 0x40
    DNAT = 0x80


class ConntrackFlags(IntFlag):
    """Flags of ct() on the wire (nicira-ext.h)."""

    COMMIT = 1
    FORCE = 2


class NatKind(Enum):
    """What nat() translates; RESTORE applies what the connection's commit decided (ovs-actions(7))."""

    RESTORE = 0
    SRC = 1
    DST = 2


class NatFlags(IntFlag):
    """How nat() chooses within its ranges (ovs-actions(7))."""

    PERSISTENT = 4
    HASH = 8
    RANDOM = 16


NO_NAT_FLAGS: Final = NatFlags(0)


class NatRange(IntFlag):
    """Which of its optional parts a nat() action carries, in this order (nicira-ext.h)."""

    IPV4_MIN = 1
    IPV4_MAX = 2
    IPV6_MIN = 4
    IPV6_MAX = 8
    PORT_MIN = 16
    PORT_MAX = 32


class LearnFlags(IntFlag):
    """Flags of learn() (ovs-actions(7))."""

    SEND_FLOW_REM = 1
    DELETE_LEARNED = 2


NO_LEARN_FLAGS: Final = LearnFlags(0)

NO_RECIRCULATION: Final = 0xFF
"""The table of a ct() that ends there (nicira-ext.h, NX_CT_RECIRC_NONE)."""
