"""Pods' ports of the userspace datapath by packet sockets and by AF_XDP: `python -m benchmarks.pod_ports`.

Two labs of one Node, alike but for their Pods' ports; in each round every figure has a turn in the one and then in the
other. Client and server are Pods, so that each packet passes two such ports.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import typer

from antrea_proxy.cni.pod_ports import PodPorts
from benchmarks.lab import PORT, BenchLab, service, slice_of
from benchmarks.many_services import FIGURES, Figure
from benchmarks.options import RESULTS, Output, Rounds, Seconds
from benchmarks.report import Report

CLIENT: Final = ("client",)


@dataclass(slots=True)
class Side:
    """A lab with one kind of ports, and where its client asks: the server's address, and a Service of it."""

    kind: PodPorts
    lab: BenchLab
    targets: dict[str, tuple[str, int]] = field(default_factory=dict)

    def fill(self) -> None:
        """Make client, server and Service."""
        self.lab.pod("client")
        server = self.lab.pod("server", *self.lab.nginx())
        self.lab.create(service("measured"), slice_of("measured", 0, [server]))
        address = str(self.lab.await_endpoints("measured", 1)["ports"][0]["address"])
        self.targets = {"directly": (server, PORT), "through a Service": (address, 80)}


@dataclass(slots=True)
class Row:
    """One figure by one way, with each kind of ports."""

    figure: Figure
    way: str
    values: dict[PodPorts, list[float]] = field(default_factory=lambda: {kind: [] for kind in PodPorts})
    failed: int = 0

    @property
    def ratio(self) -> float:
        """AF_XDP to packet sockets, the median of the rounds."""
        pairs = zip(self.values[PodPorts.AF_XDP], self.values[PodPorts.AF_PACKET], strict=True)
        return median(own / other for own, other in pairs)

    def take(self, side: Side, *, seconds: int) -> None:
        """Measure it once."""
        address, port = side.targets[self.way]
        side.lab.forget_switched_connections()
        url = f"http://{address}:{port}{self.figure.path}"
        load = side.lab.load(CLIENT, url, *self.figure.words, seconds=seconds, connections=self.figure.connections)
        self.values[side.kind].append(self.figure.value(load))
        self.failed += load.failed


def benchmark(*, rounds: int, seconds: int, report: Report) -> None:
    """Measure every figure with both kinds of ports."""
    sides = [
        Side(kind=kind, lab=BenchLab(f"bench{os.getpid()}_{kind}", environment={"ANTREA_PROXY_POD_PORTS": kind}))
        for kind in PodPorts
    ]
    rows = [Row(figure=figure, way=way) for figure in FIGURES for way in ("directly", "through a Service")]
    with contextlib.ExitStack() as stack:
        for side in sides:
            report.console.print(f"making a lab of one Node, its Pods' ports by {side.kind}")
            stack.enter_context(side.lab.running())
            side.fill()
        for number in range(1, rounds + 1):
            report.console.print(f"round {number} of {rounds}")
            for row in rows:
                for side in sides:
                    row.take(side, seconds=seconds)
    show(rows, report)


def show(rows: list[Row], report: Report) -> None:
    """Print the table and note the results."""
    report.table(
        "Two Pods of one Node, userspace datapath",
        ("", "", "packet sockets", "AF_XDP", "ratio", "failed"),
        [
            (
                row.figure.name,
                row.way,
                *(row.figure.text(median(row.values[kind])) for kind in PodPorts),
                f"{row.ratio:.2f}",
                f"{row.failed}",
            )
            for row in rows
        ],
    )
    report.results["podPorts"] = [
        {"figure": row.figure.name, "way": row.way, "values": row.values, "ratio": row.ratio, "failed": row.failed}
        for row in rows
    ]


def main(rounds: Rounds = 5, seconds: Seconds = 3, output: Output = RESULTS / "pod_ports.json") -> None:
    """Measure Pods' ports by packet sockets and by AF_XDP. Needs root, wrk and nginx."""
    report = Report()
    with report.to_the_end("pod_ports"):
        benchmark(rounds=rounds, seconds=seconds, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
