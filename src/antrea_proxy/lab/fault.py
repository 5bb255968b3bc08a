"""What the API server can be told to do wrong, as values: the command line names them without loading a server."""

from __future__ import annotations

from enum import StrEnum

RETRY_AFTER_SECONDS = 1
"""What a busy server asks for."""
WATCH_SECONDS = 0.5
"""How long a watch lives while watches are dropped."""


FORBIDDEN_KIND = "endpointslices"
"""Of what lists and watches are forbidden, where nothing else is asked for: the plural of a kind."""


class Fault(StrEnum):
    """What is wrong, until it is switched off again."""

    DROP_WATCHES = "drop-watches"
    GONE = "gone"
    BUSY = "busy"
    BROKEN = "broken"
    STALL = "stall"
    CUT = "cut"
    NO_WATCH_LIST = "no-watch-list"
    FORBID = "forbid"

    @property
    def meaning(self) -> str:
        """What agents meet, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    Fault.DROP_WATCHES: f"watches are reset at once, and new ones after {WATCH_SECONDS:g} s",
    Fault.GONE: "watches are answered 410: everything must be listed anew",
    Fault.BUSY: f"every request is answered 429 with Retry-After: {RETRY_AFTER_SECONDS}",
    Fault.BROKEN: "every request is answered 500",
    Fault.STALL: "requests are taken and not answered, and watches fall silent",
    Fault.NO_WATCH_LIST: "watches that begin with a list are refused, as by servers that have none",
    Fault.FORBID: "lists and watches of EndpointSlices (or of --kind) are answered 403, as without a right",
    Fault.CUT: "every answer and every event is closed in mid-object",
}
