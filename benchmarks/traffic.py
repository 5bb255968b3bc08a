"""Connections through Services of many sizes, with and without session affinity: `python -m benchmarks.traffic`.

A lab of one Node; wrk in a Pod opens a new connection for every request to nginx on the Node, which has the addresses
of all endpoints. Every target has its turn in each round, so that the machine's drift is the same for all.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from statistics import median
from typing import Final

import typer

from benchmarks.lab import NODE, PORT, BenchLab, service, slice_of
from benchmarks.options import RESULTS, Connections, Output, Rounds, Seconds
from benchmarks.report import Report

SIZES: Final = (1, 8, 64, 256, 257, 1000, 5000)
REFERENCE: Final = "8 endpoints"
FIRST: Final = IPv4Address("10.20.0.1")
ENDPOINTS: Final = "10.20.0.0/16"
"""Addresses outside of the cluster: all of them are the Node's (a route of type local), so that one server has them."""

SLICE: Final = 1000
"""Endpoints of one EndpointSlice, at most (discovery.k8s.io/v1)."""

CLIENT: Final = ("client",)


@dataclass(slots=True)
class Target:
    """Where connections go, and what was measured: connections per second, failures, upcalls for each connection."""

    name: str
    address: str
    port: int
    rates: list[float] = field(default_factory=list)
    errors: int = 0
    upcalls: list[float] = field(default_factory=list)
    megaflows: int = 0


def make_service(lab: BenchLab, name: str, endpoints: int, *, affinity: bool) -> str:
    """Make a Service of so many endpoints; return its ClusterIP when the switch has it."""
    addresses = [str(FIRST + place) for place in range(endpoints)]
    parts = [addresses[start : start + SLICE] for start in range(0, endpoints, SLICE)]
    spec = {"sessionAffinity": "ClientIP"} if affinity else {}
    lab.create(service(name, **spec), *(slice_of(name, number, part) for number, part in enumerate(parts)))
    return str(lab.await_endpoints(name, endpoints)["ports"][0]["address"])


def measure(lab: BenchLab, target: Target, *, seconds: int, connections: int) -> None:
    """Open connections for so long, on a datapath that has forgotten those of the target before."""
    lab.forget_switched_connections()
    before = lab.upcalls()
    rate, errors = lab.open_connections(CLIENT, target.address, target.port, seconds=seconds, connections=connections)
    target.rates.append(rate)
    target.errors += errors
    target.upcalls.append((lab.upcalls() - before) / max(1.0, rate * seconds))
    target.megaflows = max(target.megaflows, len(lab.appctl("dpctl/dump-flows").splitlines()))


@contextlib.contextmanager
def serving(lab: BenchLab) -> Iterator[None]:
    """Let the Node have the addresses of all endpoints, and answer there."""
    lab.inside(NODE, "ip", "route", "add", "local", ENDPOINTS, "dev", "lo")
    lab.forget_closed_connections(NODE)
    with subprocess.Popen([*lab.exec_words(NODE), *lab.nginx()], start_new_session=True) as process:
        try:
            time.sleep(0.5)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def benchmark(*, rounds: int, seconds: int, connections: int, sizes: Sequence[int], report: Report) -> None:
    """Measure every target in each round."""
    lab = BenchLab(f"bench{os.getpid()}")
    report.console.print("making a lab of one Node")
    with lab.running(), serving(lab):
        lab.pod("client")
        targets = [Target("direct, without a Service", str(FIRST), PORT)]
        for size in sizes:
            word = "endpoint" if size == 1 else "endpoints"
            plain = make_service(lab, f"plain-{size}", size, affinity=False)
            targets.append(Target(f"{size} {word}", plain, 80))
            sticky = make_service(lab, f"sticky-{size}", size, affinity=True)
            targets.append(Target(f"{size} {word}, session affinity", sticky, 80))
        for number in range(1, rounds + 1):
            report.console.print(f"round {number} of {rounds}: {len(targets)} targets, {seconds} s each")
            for target in targets:
                measure(lab, target, seconds=seconds, connections=connections)
    show(targets, report)


def show(targets: Sequence[Target], report: Report) -> None:
    """Print the table and note the results. Ratios are within a round; the median of the rounds is shown."""
    (reference,) = (target for target in targets if target.name == REFERENCE)

    def ratio(target: Target) -> float:
        return median(own / other for own, other in zip(target.rates, reference.rates, strict=True))

    report.table(
        "New connections per second from one Pod",
        ("", "connections/s", f"/ {REFERENCE}", "upcalls a connection", "megaflows", "failed"),
        [
            (
                target.name,
                f"{median(target.rates):.0f}",
                f"{ratio(target):.2f}",
                f"{median(target.upcalls):.4f}",
                str(target.megaflows),
                str(target.errors),
            )
            for target in targets
        ],
    )
    report.results["connections"] = {
        target.name: {
            "perSecond": target.rates,
            "ratio": ratio(target),
            "upcallsEach": target.upcalls,
            "megaflows": target.megaflows,
            "failed": target.errors,
        }
        for target in targets
    }


def main(
    rounds: Rounds = 5,
    seconds: Seconds = 3,
    connections: Connections = 16,
    output: Output = RESULTS / "traffic.json",
) -> None:
    """Measure new connections per second through Services of 1 to 5,000 endpoints. Needs root, wrk and nginx."""
    report = Report()
    with report.to_the_end("traffic"):
        benchmark(rounds=rounds, seconds=seconds, connections=connections, sizes=SIZES, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
