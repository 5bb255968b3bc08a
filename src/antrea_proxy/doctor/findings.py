"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How much it matters."""

    ERROR = "error"
    """Traffic of Services fails."""
    WARNING = "warning"
    """Some of it fails, or will in a situation that can come."""
    NOTE = "note"
    """Worth knowing; nothing fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong, and how to mend it. `check` is the name of the check, one word for programs."""

    check: str
    severity: Severity
    what: str
    mend: str
