"""Traffic through a Service against none, alone and among many Services: `python -m benchmarks.many_services`.

The same client, server and switch as in benchmarks.traffic. Beside each Service's turn there is one without a Service,
in every round, so that a ratio is of two turns that follow each other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import typer

from benchmarks.lab import LARGE, PORT, BenchLab, Load, service, slice_of
from benchmarks.options import RESULTS, Many, Output, Rounds, Seconds
from benchmarks.report import Report
from benchmarks.report import seconds as time_text
from benchmarks.traffic import CLIENT, FIRST, make_service, serving

ENDPOINTS: Final = 8
FILLER_ENDPOINTS: Final = 10
PART: Final = 500
"""Services that are made by one command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something that wrk measures: how it is to ask, and what of its words counts."""

    name: str
    path: str
    words: tuple[str, ...]
    connections: int
    value: Callable[[Load], float]
    text: Callable[[float], str]


def _rate(load: Load) -> float:
    return load.requests


FIGURES: Final = (
    Figure(
        name="new connections a second",
        path="/",
        words=("-H", "Connection: close"),
        connections=16,
        value=_rate,
        text="{:.0f}".format,
    ),
    Figure(name="requests a second", path="/", words=(), connections=16, value=_rate, text="{:.0f}".format),
    Figure(
        name="bytes a second",
        path=LARGE,
        words=(),
        connections=4,
        value=lambda load: load.bytes,
        text=lambda value: f"{value / 1e6:.0f} MB",
    ),
    Figure(
        name="latency of one request at a time, median",
        path="/",
        words=(),
        connections=1,
        value=lambda load: load.p50,
        text=time_text,
    ),
    Figure(
        name="the same, 99th percentile",
        path="/",
        words=(),
        connections=1,
        value=lambda load: load.p99,
        text=time_text,
    ),
)


@dataclass(slots=True)
class Turns:
    """The values of one figure with so many Services: directly, and through one."""

    services: int
    figure: Figure
    direct: list[float] = field(default_factory=list)
    through: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def ratio(self) -> float:
        """Through the Service to directly, the median of the rounds."""
        return median(own / other for own, other in zip(self.through, self.direct, strict=True))

    def take(self, lab: BenchLab, cluster_ip: str, *, seconds: int) -> None:
        """Measure both, one after the other."""
        for values, address, port in ((self.direct, str(FIRST), PORT), (self.through, cluster_ip, 80)):
            lab.forget_switched_connections()
            url = f"http://{address}:{port}{self.figure.path}"
            load = lab.load(CLIENT, url, *self.figure.words, seconds=seconds, connections=self.figure.connections)
            values.append(self.figure.value(load))
            self.failed += load.failed


def grow(lab: BenchLab, first: int, count: int) -> None:
    """Make so many Services more, numbered from `first`, that nobody asks; return when the switch has them."""
    endpoints = [str(FIRST + place) for place in range(FILLER_ENDPOINTS)]
    for start in range(first, first + count, PART):
        names = [f"filler-{number}" for number in range(start, min(start + PART, first + count))]
        lab.create(*(service(name) for name in names), *(slice_of(name, 0, endpoints) for name in names))
    if count:
        lab.await_endpoints(names[-1], FILLER_ENDPOINTS)


def benchmark(*, sizes: Sequence[int], rounds: int, seconds: int, report: Report) -> None:
    """Measure every figure with each number of Services."""
    lab = BenchLab(f"bench{os.getpid()}")
    report.console.print("making a lab of one Node")
    taken: list[Turns] = []
    with lab.running(), serving(lab):
        lab.pod("client")
        cluster_ip = make_service(lab, "measured", ENDPOINTS, affinity=False)
        there = 1
        for size in sizes:
            report.console.print(f"{size} Services: making them")
            grow(lab, there, size - there)
            there = size
            all_turns = [Turns(size, figure) for figure in FIGURES]
            taken += all_turns
            for number in range(1, rounds + 1):
                report.console.print(f"{size} Services: round {number} of {rounds}")
                for turns in all_turns:
                    turns.take(lab, cluster_ip, seconds=seconds)
    show(taken, report)


def show(taken: Sequence[Turns], report: Report) -> None:
    """Print the table and note the results."""
    report.table(
        f"A Pod and a server, directly and through one Service of {ENDPOINTS} endpoints",
        ("", "Services", "directly", "through it", "ratio", "failed"),
        [
            (
                turns.figure.name,
                f"{turns.services}",
                turns.figure.text(median(turns.direct)),
                turns.figure.text(median(turns.through)),
                f"{turns.ratio:.2f}",
                f"{turns.failed}",
            )
            for turns in sorted(taken, key=lambda turns: FIGURES.index(turns.figure))
        ],
    )
    report.results["manyServices"] = [
        {
            "services": turns.services,
            "figure": turns.figure.name,
            "direct": turns.direct,
            "through": turns.through,
            "ratio": turns.ratio,
            "failed": turns.failed,
        }
        for turns in taken
    ]


def main(
    many: Many = 1000,
    rounds: Rounds = 5,
    seconds: Seconds = 3,
    output: Output = RESULTS / "many_services.json",
) -> None:
    """Measure traffic through a Service against none, alone and among many. Needs root, wrk and nginx."""
    report = Report()
    with report.to_the_end("many_services"):
        benchmark(sizes=sorted({1, min(many, 1000), many}), rounds=rounds, seconds=seconds, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
