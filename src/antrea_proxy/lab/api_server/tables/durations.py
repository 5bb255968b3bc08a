"""Ages as kubectl prints them.

Source: k8s.io/apimachinery `pkg/util/duration`, HumanDuration.
"""

from __future__ import annotations

from datetime import datetime

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY


def _pair(seconds: int, large: int, small: int, letters: str) -> str:
    whole, rest = divmod(seconds, large)
    part = rest // small
    return f"{whole}{letters[0]}{part}{letters[1]}" if part else f"{whole}{letters[0]}"


def human_duration(seconds: int) -> str:
    """Print a number of seconds with two or three figures, such as 90s, 4m20s, 26h, 5d3h, 2y10d."""
    if seconds < -1:
        return "<invalid>"
    if seconds < 2 * _MINUTE:
        return f"{max(seconds, 0)}s"
    steps: tuple[tuple[int, int, int, str], ...] = (
        (10 * _MINUTE, _MINUTE, 1, "ms"),
        (3 * _HOUR, _MINUTE, 0, "m"),
        (8 * _HOUR, _HOUR, _MINUTE, "hm"),
        (2 * _DAY, _HOUR, 0, "h"),
        (8 * _DAY, _DAY, _HOUR, "dh"),
        (2 * _YEAR, _DAY, 0, "d"),
        (8 * _YEAR, _YEAR, _DAY, "yd"),
    )
    for below, large, small, letters in steps:
        if seconds < below:
            return _pair(seconds, large, small, letters) if small else f"{seconds // large}{letters}"
    return f"{seconds // _YEAR}y"


def age(since: str | None, now: datetime) -> str:
    """Print how long ago a metav1.Time was."""
    if not since:
        return "<unknown>"
    return human_duration(int((now - datetime.fromisoformat(since)).total_seconds()))
