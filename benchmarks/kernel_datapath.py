"""What the kernel datapath keeps for connections through Services: `python -m benchmarks.kernel_datapath`.

Counts alone: script/bench runs this in a virtual machine, whose rates say nothing. One lab of one Node: megaflows,
upcalls and recirculations of direct connections and of those through Services of several sizes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import msgspec
import typer

from benchmarks import megaflows
from benchmarks.lab import PORT, BenchLab
from benchmarks.megaflows import Recirculations
from benchmarks.options import RESULTS, Connections, Output, Seconds
from benchmarks.report import Report
from benchmarks.traffic import CLIENT, FIRST, make_service, serving

SIZES: Final = (1, 8, 257)


class Counted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a turn left in the datapath; 0 endpoints: connections to the first one directly."""

    endpoints: int
    connections: int
    upcalls: int
    megaflows: int
    ways: Recirculations

    def row(self) -> tuple[str, ...]:
        """As the table has it."""
        ways = self.ways.first, self.ways.following, self.ways.reply
        numbers = self.connections, self.upcalls, self.megaflows, *ways
        return (f"{self.endpoints or 'directly'}", *(f"{number}" for number in numbers))


def count(lab: BenchLab, size: int, *, seconds: int, connections: int) -> Counted:
    """Open connections for so long, on a datapath that has forgotten those before."""
    address, port = (make_service(lab, f"plain-{size}", size, affinity=False), 80) if size else (str(FIRST), PORT)
    lab.forget_switched_connections()
    before = lab.upcalls()
    rate, _ = lab.open_connections(CLIENT, address, port, seconds=seconds, connections=connections)
    held = lab.appctl("dpctl/dump-flows")
    return Counted(
        endpoints=size,
        connections=round(rate * seconds),
        upcalls=lab.upcalls() - before,
        megaflows=megaflows.count(held),
        ways=megaflows.recirculations(held),
    )


def benchmark(*, sizes: Sequence[int], seconds: int, connections: int, report: Report) -> None:
    """Count with each number of endpoints."""
    lab = BenchLab(f"bench{os.getpid()}", datapath="system")
    report.console.print("making a lab of one Node on the kernel datapath")
    found: list[Counted] = []
    with lab.running(), serving(lab):
        lab.pod("client")
        for size in (0, *sizes):
            report.console.print(f"{size or 'no'} endpoints")
            found.append(count(lab, size, seconds=seconds, connections=connections))
    report.table(
        "What the kernel datapath keeps, and how often packets go through it once more",
        ("endpoints", "connections", "upcalls", "megaflows", "first packet", "those that follow", "replies"),
        [item.row() for item in found],
    )
    report.results["kernelDatapath"] = found


def main(seconds: Seconds = 5, connections: Connections = 4, output: Output = RESULTS / "kernel_datapath.json") -> None:
    """Count what the kernel datapath keeps. Needs root, wrk, nginx, and the kernel's openvswitch module."""
    report = Report()
    with report.to_the_end("kernel_datapath"):
        benchmark(sizes=SIZES, seconds=seconds, connections=connections, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
