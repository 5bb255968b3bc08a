"""What is wrong with a settings file: every problem as a value, and the one error that carries them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with one key.

    `path` is the key as written in antrea-agent.conf with dots between the levels (`antreaProxy.proxyAll`), empty where
    the file as a whole is meant. `value` is the value as it reads in the file, empty where there is none. `line` counts
    from 1 in the file that was read; None where no line can be blamed, as for a default.
    """

    path: str
    value: str
    reason: str
    remedy: str
    line: int | None = None

    def __str__(self) -> str:
        subject = self.path or "the file"
        shown = f": {self.value}" if self.value else ""
        place = f" (line {self.line})" if self.line is not None else ""
        return f"{subject}{shown}{place}: {self.reason}; {self.remedy}"


class SettingsError(Exception):
    """The file cannot be used; `problems` holds all that is wrong with it, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
