"""Where the command line's words go: logs and errors to stderr."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final, NoReturn

import structlog
import typer
from structlog.typing import Processor

_PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Of syslog (RFC 5424, section 6.2.1), by level."""


def configure_logs(level: str) -> None:
    """Write structured lines to stderr, with colours on a terminal and priorities for systemd's journal.

    An unknown level is a usage error.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        fail(f"--log-level: {level!r}: choose debug, info, warning or error", code=2)
    renderers: list[Processor]
    if sys.stderr.isatty():
        renderers = [structlog.dev.ConsoleRenderer()]
    else:
        renderers = [structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])]
        if _is_journal():
            renderers.append(_with_priority)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _is_journal() -> bool:
    """Whether stderr leads to systemd's journal (JOURNAL_STREAM, systemd.exec(5))."""
    if (journal := os.environ.get("JOURNAL_STREAM")) is None:
        return False
    stream = os.fstat(sys.stderr.fileno())
    return journal == f"{stream.st_dev}:{stream.st_ino}"


def _with_priority(_logger: object, level: str, line: object) -> str:
    """Say the line's priority as the journal reads it (sd-daemon(3)): `journalctl -p warning` finds it then."""
    return f"<{_PRIORITIES[level]}>{line}"


def fail(*messages: str, code: int = 1) -> NoReturn:
    """Say what is wrong, a line each, and end: 1 for a failure, 2 for wrong usage."""
    for message in messages:
        typer.echo(f"antrea-proxy: {message}", err=True)
    raise typer.Exit(code)
