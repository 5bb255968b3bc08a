"""The numbers and names that the plugin and the agent's side share.

The plugin is started for every Pod, so this module imports nothing that the interpreter has not loaded for json anyway
(dataclasses alone would cost it a third of its start-up time).
"""

from __future__ import annotations

from enum import IntEnum

SUPPORTED_VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Versions of the CNI specification, oldest first. 0.3.0 is 0.3.1 with a misprint; Antrea's own conflist names it."""

NEWEST_VERSION = SUPPORTED_VERSIONS[-1]

DEFAULT_SOCKET = "/var/run/antrea/cni.sock"
"""Where the agent listens when the network configuration has no `cniSocket`; the default of antrea-agent.conf."""

MAXIMUM_REQUEST = 4 << 20
"""Bytes of a request: a GC names every attachment of the Node, some 100 bytes for each of a few hundred."""

ENVIRONMENT = ("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH")
"""The variables that carry a request's parameters (CNI specification 1.1.0, section 2)."""


class ErrorCode(IntEnum):
    """Codes of an error result: up to 99 the specification's (section 5, Error), from 100 our own."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    DECODING_FAILURE = 6
    INVALID_CONFIGURATION = 7
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    LIMITED_CONNECTIVITY = 51
    UNEXPECTED = 100
    ADDRESSES_EXHAUSTED = 101
    ATTACHED_OTHERWISE = 102
    WIRING_FAILED = 103
    STATE_DIFFERS = 104
    CLEANUP_INCOMPLETE = 105
