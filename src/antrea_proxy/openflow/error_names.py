"""Names of the switch's errors: OpenFlow 1.5.1 section 7.5.4, and Open vSwitch's own (ovs-ofctl(8), ofp-errors.h)."""

from __future__ import annotations

from typing import Final

from antrea_proxy.openflow.constants import NICIRA

_BAD_REQUEST = (
    "BAD_VERSION", "BAD_TYPE", "BAD_MULTIPART", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "EPERM", "BAD_LEN", "BUFFER_EMPTY",
    "BUFFER_UNKNOWN", "BAD_TABLE_ID", "IS_SECONDARY", "BAD_PORT", "BAD_PACKET", "MULTIPART_BUFFER_OVERFLOW",
    "MULTIPART_REQUEST_TIMEOUT", "MULTIPART_REPLY_TIMEOUT", "MULTIPART_BAD_SCHED", "PIPELINE_FIELDS_ONLY", "UNKNOWN",
)  # fmt: skip
_BAD_ACTION = (
    "BAD_TYPE", "BAD_LEN", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_OUT_PORT", "BAD_ARGUMENT", "EPERM", "TOO_MANY",
    "BAD_QUEUE", "BAD_OUT_GROUP", "MATCH_INCONSISTENT", "UNSUPPORTED_ORDER", "BAD_TAG", "BAD_SET_TYPE", "BAD_SET_LEN",
    "BAD_SET_ARGUMENT", "BAD_SET_MASK", "BAD_METER",
)  # fmt: skip
_BAD_INSTRUCTION = (
    "UNKNOWN_INST", "UNSUP_INST", "BAD_TABLE_ID", "UNSUP_METADATA", "UNSUP_METADATA_MASK", "BAD_EXPERIMENTER",
    "BAD_EXP_TYPE", "BAD_LEN", "EPERM", "DUP_INST",
)  # fmt: skip
_BAD_MATCH = (
    "BAD_TYPE", "BAD_LEN", "BAD_TAG", "BAD_DL_ADDR_MASK", "BAD_NW_ADDR_MASK", "BAD_WILDCARDS", "BAD_FIELD", "BAD_VALUE",
    "BAD_MASK", "BAD_PREREQ", "DUP_FIELD", "EPERM",
)  # fmt: skip
_FLOW_MOD_FAILED = (
    "UNKNOWN", "TABLE_FULL", "BAD_TABLE_ID", "OVERLAP", "EPERM", "BAD_TIMEOUT", "BAD_COMMAND", "BAD_FLAGS", "CANT_SYNC",
    "BAD_PRIORITY", "IS_SYNC",
)  # fmt: skip
_GROUP_MOD_FAILED = (
    "GROUP_EXISTS", "INVALID_GROUP", "WEIGHT_UNSUPPORTED", "OUT_OF_GROUPS", "OUT_OF_BUCKETS", "CHAINING_UNSUPPORTED",
    "WATCH_UNSUPPORTED", "LOOP", "UNKNOWN_GROUP", "CHAINED_GROUP", "BAD_TYPE", "BAD_COMMAND", "BAD_BUCKET", "BAD_WATCH",
    "EPERM", "UNKNOWN_BUCKET", "BUCKET_EXISTS",
)  # fmt: skip
_BAD_PROPERTY = (
    "BAD_TYPE", "BAD_LEN", "BAD_VALUE", "TOO_MANY", "DUP_TYPE", "BAD_EXPERIMENTER", "BAD_EXP_TYPE", "BAD_EXP_VALUE",
    "EPERM",
)  # fmt: skip
_BUNDLE_FAILED = (
    "UNKNOWN", "EPERM", "BAD_ID", "BUNDLE_EXIST", "BUNDLE_CLOSED", "OUT_OF_BUNDLES", "BAD_TYPE", "BAD_FLAGS",
    "MSG_BAD_LEN", "MSG_BAD_XID", "MSG_UNSUP", "MSG_CONFLICT", "MSG_TOO_MANY", "MSG_FAILED", "TIMEOUT",
    "BUNDLE_IN_PROGRESS", "SCHED_NOT_SUPPORTED", "SCHED_FUTURE", "SCHED_PAST",
)  # fmt: skip

_NAMES: Final[dict[int, tuple[str, tuple[str, ...]]]] = {
    0: ("HELLO_FAILED", ("INCOMPATIBLE", "EPERM")),
    1: ("BAD_REQUEST", _BAD_REQUEST),
    2: ("BAD_ACTION", _BAD_ACTION),
    3: ("BAD_INSTRUCTION", _BAD_INSTRUCTION),
    4: ("BAD_MATCH", _BAD_MATCH),
    5: ("FLOW_MOD_FAILED", _FLOW_MOD_FAILED),
    6: ("GROUP_MOD_FAILED", _GROUP_MOD_FAILED),
    7: ("PORT_MOD_FAILED", ("BAD_PORT", "BAD_HW_ADDR", "BAD_CONFIG", "BAD_ADVERTISE", "EPERM")),
    10: ("SWITCH_CONFIG_FAILED", ("BAD_FLAGS", "BAD_LEN", "EPERM")),
    14: ("BAD_PROPERTY", _BAD_PROPERTY),
    17: ("BUNDLE_FAILED", _BUNDLE_FAILED),
}

_NICIRA_NAMES: Final[dict[int, tuple[str, str]]] = {
    2: ("BAD_REQUEST", "NXM_INVALID"),
    3: ("BAD_REQUEST", "NXM_BAD_TYPE"),
    4: ("BAD_REQUEST", "MUST_BE_ZERO"),
    5: ("BAD_REQUEST", "BAD_REASON"),
    10: ("BAD_REQUEST", "UNENCODABLE_ERROR"),
    11: ("BAD_ACTION", "MUST_BE_ZERO"),
    12: ("FLOW_MOD_FAILED", "HARDWARE"),
    13: ("FLOW_MOD_FAILED", "BAD_TABLE_ID"),
    15: ("BAD_ACTION", "BAD_CONJUNCTION"),
    22: ("BUNDLE_FAILED", "BAD_VERSION"),
    37: ("FLOW_MOD_FAILED", "INVALID_TLV_FIELD"),
    42: ("BAD_ACTION", "CT_DATAPATH_SUPPORT"),
    43: ("BAD_MATCH", "CT_DATAPATH_SUPPORT"),
}


def error_names(error_type: int, code: int, experimenter: int | None) -> tuple[str, str]:
    """Return the names of an error's type and code, or numbers where it has none that is known."""
    if experimenter == NICIRA and code in _NICIRA_NAMES:
        return _NICIRA_NAMES[code]
    if experimenter is not None:
        return f"EXPERIMENTER {experimenter:#010x}", str(code)
    name, codes = _NAMES.get(error_type, (f"type {error_type}", ()))
    return name, codes[code] if code < len(codes) else f"code {code}"
