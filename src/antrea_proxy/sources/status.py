"""How a source is doing, for the agent to publish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antrea_proxy.kubernetes.events import Undecodable


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """One kind's source. Times are seconds since the epoch.

    `connected_since` is None while nothing is being received; `last_error` stays, with its time, when that is over.
    `lists` counts complete lists: all but the first were needed because a watch could not be resumed. `undecodable`
    are the objects that are not of their kind's shape now; `problems` what else is wrong with the input now (files that
    cannot be read); `ignored` names kinds of objects that nothing here reads.
    """

    kind: str
    connected_since: float | None = None
    last_error: str = ""
    last_error_at: float | None = None
    lists: int = 0
    undecodable: tuple[Undecodable, ...] = ()
    problems: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def relists(self) -> int:
        """How many complete lists followed the first."""
        return max(0, self.lists - 1)


StatusListener = Callable[[SourceStatus], None]
"""Called in the event loop at each change; must not wait."""
