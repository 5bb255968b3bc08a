"""What constant traffic sees of a restart: `python -m benchmarks.restarts`.

A lab of two Nodes: a Pod of node-1 reaches a Service with a server on each of them, while node-1's agent or switch is
restarted, or node-2 reset.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from benchmarks.lab import BenchLab, service
from benchmarks.report import Report
from benchmarks.sandbox import BenchmarkError

CLIENT: Final = Path(__file__).with_name("constant_client.py")
MEASURED: Final = "measured"
SERVERS: Final = {"server-1": "node-1", "server-2": "node-2"}
LATE: Final = 0.5
"""Seconds; a first packet that is lost is sent again after one second (RFC 6298, 2.1)."""
BEFORE: Final = 2.0
"""Seconds of traffic before the restart."""


@dataclass(slots=True)
class Event:
    """What is done, as words of `antrea-proxy lab restart`, and what the client told in each round."""

    name: str
    words: Sequence[str]
    seen: list[dict[str, Any]] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """Sums over all rounds; of times, the longest."""
        took = [one for seen in self.seen for one in seen["took"]]
        failed = sum(len(seen["failed"]) for seen in self.seen)
        return (
            self.name,
            f"{len(took) + failed}",
            f"{failed}",
            f"{sum(one > LATE for one in took)}",
            _milliseconds(max(seen["longestGap"] for seen in self.seen)),
            f"{sum(len(seen['broken']) for seen in self.seen)} of {len(self.seen)}",
            _milliseconds(max(seen["longestGapOfOne"] for seen in self.seen)),
        )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def watch(lab: BenchLab, address: str, event: Event, *, seconds: int) -> None:
    """Let the client ask for so long, and do meanwhile what the event says."""
    words = (*lab.exec_words(("client",)), sys.executable, str(CLIENT), address, "80", str(seconds))
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        try:
            time.sleep(BEFORE)
            if event.words:
                lab.command("restart", *event.words)
            told, said = client.communicate(timeout=seconds + 30)
        except BaseException:
            client.kill()
            raise
    if client.returncode:
        raise BenchmarkError(f"the client: exit {client.returncode}: {said.decode()}")
    seen = msgspec.json.decode(told)
    if not seen["took"]:
        raise BenchmarkError(f"{event.name}: not one connection was answered: {seen}")
    event.seen.append(seen)


def benchmark(*, rounds: int, seconds: int, report: Report) -> None:
    """Do everything once in each round."""
    events = [
        Event("nothing", ()),
        Event("agent, SIGTERM", ("agent", "node-1")),
        Event("agent, SIGKILL", ("agent", "node-1", "--kill")),
        Event("switch, SIGTERM", ("switch", "node-1")),
        Event("switch, SIGKILL", ("switch", "node-1", "--kill")),
        Event("the other Node, reset", ("node", "node-2")),
    ]
    lab = BenchLab(f"bench{os.getpid()}", nodes=2)
    report.console.print("making a lab of two Nodes")
    with lab.running():
        for name, node in SERVERS.items():
            lab.pod(name, *lab.nginx(), node=node, labels={"app": MEASURED})
        lab.pod("client")
        lab.create(service(MEASURED, selector={"app": MEASURED}))
        lab.await_endpoints(MEASURED, len(SERVERS))
        address = lab.run("kubectl", "get", "service", MEASURED, "-o", "jsonpath={.spec.clusterIP}")
        for number in range(1, rounds + 1):
            report.console.print(f"round {number} of {rounds}")
            for event in events:
                watch(lab, address, event, seconds=seconds)
                lab.await_endpoints(MEASURED, len(SERVERS))
    report.table(
        "What is restarted, on node-1 unless it says otherwise, and what its Pod sees of it",
        ("", "connections", "failed", f"later than {LATE:g} s", "longest gap", "lasting: broken", "its longest gap"),
        [event.row() for event in events],
    )
    report.results["restarts"] = {event.name: event.seen for event in events}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is restarted.")] = 5,
    seconds: Annotated[int, typer.Option(min=4, help="How long there is traffic around each restart.")] = 8,
    output: Annotated[Path, typer.Option(help="Where to write the results as JSON.", dir_okay=False)] = Path(
        "build/bench/restarts.json"
    ),
) -> None:
    """Measure what constant traffic sees of restarts. Needs root and nginx."""
    report = Report()
    with report.to_the_end("restarts"):
        benchmark(rounds=rounds, seconds=seconds, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
