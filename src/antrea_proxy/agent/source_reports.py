"""What the sources say of themselves: their troubles go to the log once, their state to the agent's status."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from antrea_proxy.agent.status import SourceReport
from antrea_proxy.sources import SourceStatus

_log = structlog.get_logger(__name__)


class SourceReports:
    """Keeps the last word of each kind's source; `show` gets all of them whenever one changes."""

    def __init__(self, show: Callable[[tuple[SourceReport, ...]], None]) -> None:
        self._show = show
        self._last: dict[str, SourceStatus] = {}

    def changed(self, status: SourceStatus) -> None:
        """Take the new status of a kind's source."""
        previous = self._last.get(status.kind)
        self._last[status.kind] = status
        known = () if previous is None else _complaints(previous)
        for text in _complaints(status):
            if text not in known:
                _log.warning("an object cannot be used", kind=status.kind, problem=text)
        if status.last_error and (previous is None or previous.last_error_at != status.last_error_at):
            _log.warning("a source is in trouble", kind=status.kind, error=status.last_error)
        self._show(
            tuple(
                SourceReport(
                    kind=item.kind,
                    synced=item.lists > 0,
                    connected_since=item.connected_since,
                    last_error=item.last_error,
                    relists=item.relists,
                )
                for item in self._last.values()
            )
        )


def _complaints(status: SourceStatus) -> tuple[str, ...]:
    """What is wrong with the input of a source, in words."""
    ignored = (f"kind {kind}: nothing here reads it; it is ignored" for kind in status.ignored)
    return (*map(str, status.undecodable), *status.problems, *ignored)
