"""Direct server return beside NAT, and beside a learned flow for each connection: `python -m benchmarks.direct_return`.

A lab of three Nodes: a host outside reaches the load-balancer IP by way of node-1, the servers are on the other two.
The flow that learns is put in front of those of DSR on node-1, by hand, for its turns.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import typer

from benchmarks.lab import OUTSIDE, BenchLab, service
from benchmarks.options import RESULTS, Connections, Output, Rounds, Seconds
from benchmarks.report import Report
from benchmarks.sandbox import BenchmarkError

CONFIGURATION: Final = "featureGates: {LoadBalancerModeDSR: true}\nantreaProxy: {proxyAll: true}\n"
INGRESS: Final = "node-1"
SERVERS: Final = {"server-2": "node-2", "server-3": "node-3"}
MEASURED: Final = "measured"
MODE: Final = "service.antrea.io/load-balancer-mode"
DIRECT_RETURN: Final = 6
"""The table that decides of a packet from outside (docs/how-it-works.md)."""
LEARNED: Final = 200
"""A table that the pipeline does not use."""

CLOSING: Final = ("-H", "Connection: close")
KINDS: Final[dict[str, tuple[str, ...]]] = {"new connections a second": CLOSING, "requests a second": ()}


@dataclass(slots=True)
class Way:
    """How connections are led to their endpoints, and what was measured of it by kind."""

    name: str
    begin: Callable[[], AbstractContextManager[None]]
    rates: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    upcalls: list[float] = field(default_factory=list)
    megaflows: int = 0
    failed: int = 0


class Stage:
    """The lab with its Service."""

    def __init__(self, lab: BenchLab) -> None:
        self.lab = lab
        self.address = ""

    def prepare(self) -> None:
        """Make servers and Service, and lead the host outside through node-1."""
        lab = self.lab
        for name, node in SERVERS.items():
            lab.pod(name, *lab.nginx(), node=node, labels={"app": MEASURED})
        lab.forget_closed_connections(OUTSIDE)
        lab.create(service(MEASURED, type="LoadBalancer", selector={"app": MEASURED}))
        lab.await_endpoints(MEASURED, len(SERVERS))
        words = ("kubectl", "get", "service", MEASURED, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
        lab.wait_until(lambda: bool(lab.run(*words)), "the Service has a load-balancer IP")
        self.address = lab.run(*words)
        lab.command("route", OUTSIDE[1], "--via", INGRESS)

    @contextlib.contextmanager
    def mode(self, mode: str) -> Iterator[None]:
        """Let the Service be in a mode."""
        self.lab.run("kubectl", "annotate", "--overwrite", "service", MEASURED, f"{MODE}={mode}")
        self.lab.wait_until(lambda: self._modes() == {mode}, f"mode {mode} is in force on every Node")
        yield

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """DSR, and a flow for each connection on the Node by which it comes."""
        match = f"priority=65000,tcp,nw_dst={self.address},tp_dst=80"
        key = "eth_type=0x800,nw_proto=6,NXM_OF_IP_SRC[],NXM_OF_IP_DST[],NXM_OF_TCP_SRC[],NXM_OF_TCP_DST[]"
        learn = f"learn(table={LEARNED},idle_timeout=30,fin_idle_timeout=5,{key},load:0x1->NXM_NX_REG7[])"
        with self.mode("dsr"):
            flow = f"table={DIRECT_RETURN},{match} actions={learn},{self._actions()}"
            self.lab.ofctl("add-flow", flow)
            try:
                yield
            finally:
                self.lab.ofctl("--strict", "del-flows", f"table={DIRECT_RETURN},{match}")
                self.lab.ofctl("del-flows", f"table={LEARNED}")

    def take(self, way: Way, *, seconds: int, connections: int) -> None:
        """One turn: both kinds, on switches that have forgotten the turn before."""
        url = f"http://{self.address}:80/"
        with way.begin():
            for kind, words in KINDS.items():
                for node in (INGRESS, *SERVERS.values()):
                    self.lab.forget_switched_connections(node)
                before = self.lab.upcalls()
                load = self.lab.load(OUTSIDE, url, *words, seconds=seconds, connections=connections)
                way.rates[kind].append(load.requests)
                way.failed += load.failed
                if words is CLOSING:
                    way.upcalls.append((self.lab.upcalls() - before) / max(1.0, load.requests * seconds))
                    way.megaflows = max(way.megaflows, len(self.lab.appctl("dpctl/dump-flows").splitlines()))

    def _modes(self) -> set[str]:
        found = (self.lab.service_on(node, MEASURED) for node in (INGRESS, *SERVERS.values()))
        return {str(port["mode"]) for item in found for port in item["ports"] if port["kind"] == "loadBalancerIP"}

    def _actions(self) -> str:
        """What the flow does that is the Service's own."""
        match = f"table={DIRECT_RETURN},tcp,nw_dst={self.address},tp_dst=80"
        found = re.search(r"actions=(\S+)", self.lab.ofctl("dump-flows", match))
        if found is None:
            raise BenchmarkError(f"the switch of {INGRESS} has no flow {match}")
        return found[1]


def benchmark(*, rounds: int, seconds: int, connections: int, report: Report) -> None:
    """Measure every way in each round."""
    lab = BenchLab(f"bench{os.getpid()}", CONFIGURATION, nodes=3)
    report.console.print("making a lab of three Nodes")
    with lab.running():
        stage = Stage(lab)
        stage.prepare()
        ways = [
            Way("NAT", lambda: stage.mode("nat")),
            Way("DSR", lambda: stage.mode("dsr")),
            Way("DSR with a learned flow per connection", stage.learning),
        ]
        for number in range(1, rounds + 1):
            report.console.print(f"round {number} of {rounds}")
            for way in ways:
                stage.take(way, seconds=seconds, connections=connections)
    show(ways, report)


def show(ways: Sequence[Way], report: Report) -> None:
    """Print the table and note the results. Ratios are within a round; the median of the rounds is shown."""
    reference = ways[0]

    def cells(way: Way, kind: str) -> tuple[str, str]:
        pairs = zip(way.rates[kind], reference.rates[kind], strict=True)
        return f"{median(way.rates[kind]):.0f}", f"{median(own / other for own, other in pairs):.2f}"

    report.table(
        f"From a host outside to servers on other Nodes; megaflows and upcalls are those of {INGRESS}",
        ("", "connections/s", "/ NAT", "requests/s", "/ NAT", "upcalls a connection", "megaflows", "failed"),
        [
            (
                way.name,
                *(cell for kind in KINDS for cell in cells(way, kind)),
                f"{median(way.upcalls):.4f}",
                f"{way.megaflows}",
                f"{way.failed}",
            )
            for way in ways
        ],
    )
    report.results["directReturn"] = {
        way.name: {
            "perSecond": way.rates,
            "upcallsEach": way.upcalls,
            "megaflows": way.megaflows,
            "failed": way.failed,
        }
        for way in ways
    }


def main(
    rounds: Rounds = 5,
    seconds: Seconds = 3,
    connections: Connections = 16,
    output: Output = RESULTS / "direct_return.json",
) -> None:
    """Measure direct server return against NAT and against learned flows. Needs root, wrk and nginx."""
    report = Report()
    with report.to_the_end("direct_return"):
        benchmark(rounds=rounds, seconds=seconds, connections=connections, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
