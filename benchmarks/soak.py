"""Very many connections while endpoints change, and what agent and switch hold meanwhile: `python -m benchmarks.soak`.

A lab of one Node. Clients open connections to the servers directly and through Services, over TCP and UDP. Each second
an endpoint of each Service is replaced by another, and every fifth a whole Service by a new one.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, Final, cast

import msgspec
import typer

from benchmarks.lab import PORT, BenchLab, slice_of
from benchmarks.options import RESULTS, Output
from benchmarks.report import Report, megabytes
from benchmarks.sandbox import BenchmarkError, memory
from benchmarks.soak_client import LATE

CLIENT: Final = Path(__file__).with_name("soak_client.py")
CLIENTS: Final = ("client-1", "client-2")
SERVERS: Final = ("server-1", "server-2", "server-3", "server-4")
PROTOCOLS: Final = ("TCP", "UDP")
NEIGHBOUR_EVERY: Final = 5
"""Seconds until the Service that nobody uses is replaced by a new one."""
NEIGHBOUR_ENDPOINTS: Final = 100
_ELSEWHERE: Final = IPv4Address("10.30.0.1")

SWEEP: Final = 20
"""Seconds between two visits of the tracker's sweeper (lib/conntrack.c): what it holds goes up and down with them."""
WARM: Final = 90.0
"""Seconds until the tracker holds as many connections as it ever will at a rate: it forgets one that is closed after
45 s, a datagram's after 60 s (lib/conntrack-tp.c), when the sweeper comes."""
COOL: Final = 100
"""Seconds after the last connection until the tracker should have forgotten all of them."""
BEFORE: Final = 5
"""Seconds without any connection, to compare with."""

LINES: Final = {
    "agentBytes": ("agent's memory (VmRSS)", megabytes),
    "switchBytes": ("ovs-vswitchd's memory (VmRSS)", megabytes),
    "megaflows": ("megaflows", "{:.0f}".format),
    "tracked": ("tracked connections", "{:.0f}".format),
}
"""What is looked at each second: its name in the table, and how a value is written."""


@dataclass(slots=True)
class Samples:
    """One value a second of each."""

    seconds: list[float] = field(default_factory=list)
    agentBytes: list[int] = field(default_factory=list)  # noqa: N815 - as in the JSON
    switchBytes: list[int] = field(default_factory=list)  # noqa: N815
    megaflows: list[int] = field(default_factory=list)
    tracked: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)

    def thirds(self, line: str, begin: float, end: float) -> tuple[float, float]:
        """Return the means of the first and the last third of a line between two moments, each of whole SWEEPs."""
        held = [
            value for second, value in zip(self.seconds, getattr(self, line), strict=True) if begin <= second <= end
        ]
        if not held:
            raise BenchmarkError("it was over before anything was looked at; let it be more connections")
        third = max(1, len(held) // 3)
        third -= third % SWEEP if third > SWEEP else 0
        return fmean(held[:third]), fmean(held[-third:])


class Tally:
    """What the clients have told so far, by kind of connection. Their readers add to it, one thread each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.failed: dict[str, Counter[str]] = {}

    def add(self, line: str) -> None:
        """Take one line of a client."""
        told = msgspec.json.decode(line)
        with self._lock:
            self.answered.update(told["answered"])
            self.late.update(told["late"])
            for name, reasons in told["failed"].items():
                self.failed.setdefault(name, Counter()).update(reasons)

    def totals(self) -> tuple[int, int]:
        """Return how many were answered, and how many failed."""
        with self._lock:
            return self.answered.total(), sum(reasons.total() for reasons in self.failed.values())


class Watched:
    """The Node's agent and switch, and one look at them after the other."""

    def __init__(self, lab: BenchLab, tally: Tally) -> None:
        self._lab = lab
        self._tally = tally
        self._told = (0, 0)
        self._begun = time.monotonic()
        self.processes = self._processes()
        self.samples = Samples()

    def look(self) -> None:
        """Take one value of each line."""
        agent, switch = self.processes
        told = self._tally.totals()
        answered, failed = (now - before for now, before in zip(told, self._told, strict=True))
        self._told = told
        samples = self.samples
        try:
            held = memory(agent)["VmRSS"], memory(switch)["VmRSS"]
        except FileNotFoundError as error:
            raise BenchmarkError(f"a process died: agent and switch were {self.processes}: {error}") from error
        flows = re.search(r"flows: (\d+)", self._lab.appctl("dpctl/show"))
        samples.seconds.append(round(time.monotonic() - self._begun, 2))
        samples.agentBytes.append(held[0])
        samples.switchBytes.append(held[1])
        samples.megaflows.append(int(flows[1]) if flows else 0)
        samples.tracked.append(int(self._lab.appctl("dpctl/ct-get-nconns")))
        samples.answered.append(answered)
        samples.failed.append(failed)

    def check(self) -> None:
        """Raise BenchmarkError if one of them is another process than at the beginning."""
        if (now := self._processes()) != self.processes:
            raise BenchmarkError(f"agent and switch were processes {self.processes}, and are {now}")

    def _processes(self) -> tuple[int, int]:
        (node,) = msgspec.json.decode(self._lab.command("status", "-o", "json"))["nodes"]
        return node["agent"]["pid"], node["switch"]["pid"]


class Changes:
    """What changes in the cluster meanwhile."""

    def __init__(self, lab: BenchLab, servers: Sequence[str]) -> None:
        self._lab = lab
        self._servers = servers
        self._neighbours = count(1)
        self.made = 0
        for protocol in PROTOCOLS:
            lab.create(_service(protocol), self._slice(protocol))
        lab.create(*self._neighbour(0))

    def next(self) -> None:
        """Let another server be left out of each Service; now and then let another Service take the place of one."""
        self.made += 1
        document = {"apiVersion": "v1", "kind": "List", "items": [self._slice(protocol) for protocol in PROTOCOLS]}
        self._lab.run("kubectl", "replace", "-f", "-", given=msgspec.json.encode(document).decode())
        if self.made % NEIGHBOUR_EVERY == 0:
            number = next(self._neighbours)
            self._lab.create(*self._neighbour(number))
            names = f"service/neighbour-{number - 1}", f"endpointslice/neighbour-{number - 1}-0"
            self._lab.run("kubectl", "delete", "--wait=false", *names)

    def _slice(self, protocol: str) -> dict[str, Any]:
        left_out = self.made % len(self._servers)
        found = slice_of(protocol.lower(), 0, [*self._servers[:left_out], *self._servers[left_out + 1 :]])
        found["ports"][0]["protocol"] = protocol
        return found

    @staticmethod
    def _neighbour(number: int) -> Sequence[dict[str, Any]]:
        name = f"neighbour-{number}"
        addresses = [str(_ELSEWHERE + number % 600 * NEIGHBOUR_ENDPOINTS + one) for one in range(NEIGHBOUR_ENDPOINTS)]
        return _service("TCP", name), slice_of(name, 0, addresses)


def _service(protocol: str, name: str = "") -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": PORT, "protocol": protocol}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name or protocol.lower()},
        "spec": {"ports": ports},
    }


@contextlib.contextmanager
def clients(
    lab: BenchLab, kinds: dict[str, Any], tally: Tally, *, rate: int, connections: int
) -> Iterator[list[subprocess.Popen[str]]]:
    """Let the clients open so many connections in all while the block runs."""
    with contextlib.ExitStack() as stack:
        started = []
        for number, client in enumerate(CLIENTS):
            share = connections // len(CLIENTS) + (number < connections % len(CLIENTS))
            given = msgspec.json.encode({"kinds": kinds, "rate": rate / len(CLIENTS), "count": share}).decode()
            words = (*lab.exec_words((client,)), sys.executable, str(CLIENT), given)
            process = stack.enter_context(
                subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
            )
            stack.callback(process.kill)
            threading.Thread(target=_read, args=(process, tally), daemon=True).start()
            started.append(process)
        yield started


def _read(process: subprocess.Popen[str], tally: Tally) -> None:
    for line in cast("Iterator[str]", process.stdout):
        tally.add(line)


class Changing(threading.Thread):
    """Makes a change each second until it is told to stop."""

    def __init__(self, changes: Changes) -> None:
        super().__init__()
        self._changes = changes
        self._ended = threading.Event()
        self._problem: BenchmarkError | None = None

    def run(self) -> None:
        """Work as a thread."""
        try:
            while not self._ended.wait(1.0):
                self._changes.next()
        except BenchmarkError as error:
            self._problem = error

    def end(self) -> None:
        """Wait for the last change. Raises BenchmarkError if one could not be made."""
        self._ended.set()
        self.join()
        if self._problem is not None:
            raise self._problem


def watch(watched: Watched, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
    """Look once a second for so long, or until something is so."""
    begun = time.monotonic()
    for number in count(1):
        if until() or number > seconds:
            return
        watched.look()
        time.sleep(max(0.0, begun + number - time.monotonic()))


def benchmark(*, connections: int, rate: int, cool: int, report: Report) -> None:
    """Let the clients open their connections, and tell what that left."""
    lab = BenchLab(f"bench{os.getpid()}")
    report.console.print("making a lab of one Node")
    with lab.running():
        servers = [lab.pod(name) for name in SERVERS]
        for client in CLIENTS:
            lab.pod(client)
        changes = Changes(lab, servers)
        kinds: dict[str, Any] = {}
        for protocol in PROTOCOLS:
            (port,) = lab.await_endpoints(protocol.lower(), len(servers) - 1)["ports"]
            direct, through = [(server, PORT) for server in servers], [(port["address"], 80)]
            kinds[f"{protocol}, direct"] = {"protocol": protocol.lower(), "targets": direct}
            kinds[f"{protocol}, through a Service"] = {"protocol": protocol.lower(), "targets": through}
        tally = Tally()
        watched = Watched(lab, tally)
        watch(watched, BEFORE)
        following = 1

        def done() -> bool:
            nonlocal following
            answered, failed = tally.totals()
            if answered + failed >= following * connections / 10:
                report.console.print(f"{answered + failed:,} connections, {failed} failed, {changes.made} changes")
                following = (answered + failed) * 10 // connections + 1
            return all(process.poll() is not None for process in running)

        report.console.print(f"{connections:,} connections at {rate:,} a second")
        changing = Changing(changes)
        with clients(lab, kinds, tally, rate=rate, connections=connections) as running:
            changing.start()
            try:
                watch(watched, math.inf, until=done)
            finally:
                changing.end()
        if any(process.returncode for process in running):
            raise BenchmarkError(f"clients ended with {[process.returncode for process in running]}")
        end = watched.samples.seconds[-1]
        report.console.print(f"and {cool} s more, for the tracker to forget them")
        watch(watched, cool)
        watched.check()
    show(watched, tally, changes.made, end, report)


def show(watched: Watched, tally: Tally, changes: int, end: float, report: Report) -> None:
    """Print the tables and the verdict, and note the results."""
    samples = watched.samples
    warm = end - BEFORE > 2 * WARM
    begin = BEFORE + (WARM if warm else 0)
    growth = {}
    rows = []
    for line, (name, text) in LINES.items():
        first, last = samples.thirds(line, begin, end)
        growth[line] = last / first - 1 if first else 0.0
        before, after = (getattr(samples, line)[place] for place in (0, -1))
        rows.append((name, text(before), text(first), text(last), f"{growth[line]:+.1%}", text(after)))
    answered, failed = tally.totals()
    report.table(
        f"{answered + failed:,} connections and {changes} changes in {end - BEFORE:.0f} s",
        ("", "before", "first third", "last third", "growth", "afterwards"),
        rows,
    )
    report.table(
        "What became of the connections",
        ("", "answered", f"of them later than {LATE:g} s", "failed", ""),
        [
            (
                name,
                f"{tally.answered[name]:,}",
                f"{tally.late[name]}",
                f"{reasons.total()}",
                ", ".join(f"{reason} {number}" for reason, number in reasons.items()),
            )
            for name, reasons in tally.failed.items()
        ],
    )
    agent, switch = watched.processes
    if warm:
        grown = max(growth, key=lambda line: growth[line])
        verdict = f"most grew {LINES[grown][0]}, by {growth[grown]:+.1%}"
        report.console.print(f"Thirds are of what followed the first {WARM:.0f} s, after which the tracker is full.")
    else:
        verdict = f"too short to tell of growth: the tracker fills for {WARM:.0f} s"
    verdict += (
        f"; {failed} of {answered + failed:,} connections failed ({failed / max(1, answered + failed):.3%}); "
        f"agent and switch are the processes that they were ({agent}, {switch})"
    )
    report.console.print(f"Verdict: {verdict}.")
    report.results["soak"] = {
        "connections": answered + failed,
        "changes": changes,
        "judged": {"from": begin, "to": end, "warm": warm},
        "growth": growth,
        "verdict": verdict,
        "kinds": {
            name: {"answered": tally.answered[name], "late": tally.late[name], "failed": reasons}
            for name, reasons in tally.failed.items()
        },
        "samples": msgspec.to_builtins(samples),
    }


def main(
    connections: Annotated[int, typer.Option(min=1000, help="Connections in all.")] = 500_000,
    rate: Annotated[
        int, typer.Option(min=100, max=10_000, help="New connections a second, half of them through Services.")
    ] = 2000,
    cool: Annotated[int, typer.Option(min=1, help="Seconds to go on looking after the last connection.")] = COOL,
    output: Output = RESULTS / "soak.json",
) -> None:
    """Open very many connections while endpoints change, and watch agent and switch. Needs root."""
    report = Report()
    with report.to_the_end("soak"):
        benchmark(connections=connections, rate=rate, cool=cool, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
