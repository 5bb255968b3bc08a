"""Where the command line's words go: logs and errors to stderr."""

from __future__ import annotations

import logging
import sys
from typing import NoReturn

import structlog
import typer


def configure_logs(level: str) -> None:
    """Write structured lines to stderr, with colours on a terminal. An unknown level is a usage error."""
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        fail(f"--log-level: {level!r}: choose debug, info, warning or error", code=2)
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer()
            if terminal
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def fail(*messages: str, code: int = 1) -> NoReturn:
    """Say what is wrong, a line each, and end: 1 for a failure, 2 for wrong usage."""
    for message in messages:
        typer.echo(f"antrea-proxy: {message}", err=True)
    raise typer.Exit(code)
