"""What a benchmark found: values to keep as JSON, and tables to read, each time beside what it is compared with."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.sandbox import BenchmarkError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Repeated measurements of one thing, in seconds."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def p99(self) -> float:
        """What 99 of 100 do not exceed."""
        return quantiles(self.values, n=100, method="inclusive")[98] if len(self.values) > 1 else self.values[0]

    def summary(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "median": self.median, "p99": self.p99, "min": min(self.values), "max": max(self.values),
            "values": list(self.values),
        }  # fmt: skip


@dataclass(slots=True)
class Report:
    """Tables on the terminal as they come, and one JSON file at the end."""

    console: Console = field(default_factory=lambda: Console(width=100))
    results: dict[str, Any] = field(default_factory=dict)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; all columns but the first hold figures."""
        table = Table(title=title, title_justify="left", title_style="bold")
        for place, column in enumerate(columns):
            table.add_column(column, justify="right" if place else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    @contextlib.contextmanager
    def to_the_end(self, name: str) -> Iterator[None]:
        """Tell why a benchmark did not come to its end, and leave with that exit code; SIGTERM is taken for Ctrl-C."""
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            yield
        except BenchmarkError as error:
            self.console.print(f"{name}: {error}", style="red", markup=False)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            self.console.print(f"{name}: interrupted; nothing is left behind", style="red")
            raise typer.Exit(130) from error

    def write(self, path: Path) -> None:
        """Keep the results, and what machine they are of."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = msgspec.json.encode({"machine": machine(), **self.results})
        path.write_bytes(msgspec.json.format(content, indent=2) + b"\n")
        self.console.print(f"written: {path}")


def machine() -> dict[str, Any]:
    """Describe what the figures depend on."""
    version = subprocess.run(["ovs-vswitchd", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openvswitch": version.split("\n", 1)[0].split()[-1],
    }


def seconds(value: float) -> str:
    """Write a time as people do."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.1f} ms" if value >= 0.01 else f"{value * 1000:.2f} ms"


def megabytes(value: float) -> str:
    """Write an amount of memory."""
    return f"{value / 1e6:.0f} MB"
