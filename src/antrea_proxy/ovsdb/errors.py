"""What can go wrong between us and Open vSwitch's database, in one family."""

from __future__ import annotations


class OvsdbError(Exception):
    """Base of every error of this room."""


class OvsdbUnavailable(OvsdbError):  # noqa: N818 - names a state of the other side, as the message does
    """The database, or ovs-vswitchd, cannot be reached; the outcome of what was under way is unknown.

    Every operation of `Database` is idempotent: call it again.
    """


class OvsdbProtocolError(OvsdbError):
    """The other side sent something that is not JSON-RPC, or not what RFC 7047 allows at that place."""


class OvsdbRefused(OvsdbError):  # noqa: N818 - says what the server did
    """The server refused a request; the message holds its own words."""


class SwitchTimeout(OvsdbError):  # noqa: N818 - says what happened
    """The database took a change, and ovs-vswitchd did not act on it in time: it is stopped or stuck."""


class BridgeError(OvsdbError):
    """ovs-vswitchd could not make the bridge, for instance because the kernel lacks its datapath type."""


class PortError(OvsdbError):
    """ovs-vswitchd could not make the port; the message holds the text of its `error` column."""
