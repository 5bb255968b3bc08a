"""Connections through Services of many sizes, with and without session affinity: `python -m benchmarks.traffic`.

A lab of one Node; wrk in a Pod opens a new connection for every request to nginx on the Node, which has the addresses
of all endpoints. Every target has its turn in each round, so that the machine's drift is the same for all.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import msgspec
import typer

from antrea_proxy.lab.places import Places
from benchmarks.report import Report
from benchmarks.sandbox import BenchmarkError

PROGRAM: Final = str(Path(sys.executable).parent / "antrea-proxy")
SIZES: Final = (1, 8, 64, 256, 257, 1000, 5000)
REFERENCE: Final = "8 endpoints"
FIRST: Final = IPv4Address("10.20.0.1")
ENDPOINTS: Final = "10.20.0.0/16"
"""Addresses outside of the cluster: all of them are the Node's (a route of type local), so that one server has them."""

PORT: Final = 8080
SLICE: Final = 1000
"""Endpoints of one EndpointSlice, at most (discovery.k8s.io/v1)."""

_RATE: Final = re.compile(r"Requests/sec:\s+([\d.]+)")
_ERRORS: Final = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")

NGINX: Final = """
daemon off; master_process off; pid {pid}; error_log stderr error;
events {{ worker_connections 4096; }}
http {{ access_log off; server {{ listen {port} backlog=4096 reuseport; location / {{ return 200 "ok\\n"; }} }} }}
"""


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


class TrafficLab:
    """A lab of one Node with a client Pod and a server on the Node."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._places = Places(name=name)
        self._agent = ("--lab", name, "--node", "node-1")
        self._environment = dict(os.environ)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Make it, and take it down whatever happens."""
        try:
            self._run(PROGRAM, "lab", "up", "--name", self._name, "--nodes", "1", "--datapath", "netdev")
            self._environment["KUBECONFIG"] = self._run(PROGRAM, "lab", "kubeconfig", "--name", self._name).strip()
            self._apply(_pod())
            self._run("kubectl", "wait", "pod", "client", "--for=condition=Ready", "--timeout=60s")
            self.on_node("ip", "route", "add", "local", ENDPOINTS, "dev", "lo")
            for place in (("--node", "node-1"), ("client",)):
                self._in(place, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets")
            with self._serving():
                yield
        finally:
            subprocess.run([PROGRAM, "lab", "down", "--name", self._name], check=False, capture_output=True)

    def service(self, name: str, endpoints: int, *, affinity: bool) -> str:
        """Make a Service of so many endpoints; return its ClusterIP when the switch has it."""
        self._apply(_service(name, affinity=affinity), *_slices(name, endpoints))
        for _ in range(300):
            found = msgspec.json.decode(self._run(PROGRAM, "get", "services", "-o", "json", *self._agent))
            ports = [port for item in found["items"] if item["name"] == name for port in item["ports"]]
            if ports and all(port["endpointsInUse"] == endpoints for port in ports):
                return str(ports[0]["address"])
            time.sleep(0.1)
        raise BenchmarkError(f"the agent never had Service {name} with {endpoints} endpoints")

    def measure(self, target: Target, *, seconds: int, connections: int) -> None:
        """Let wrk open connections for so long, on a datapath that has forgotten those of the target before."""
        self._appctl("revalidator/purge")
        before = self._upcalls()
        url = f"http://{target.address}:{target.port}/"
        words = ("wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-H", "Connection: close", url)
        told = self._in(("client",), *words)
        found = _RATE.search(told)
        if found is None:
            raise BenchmarkError(f"wrk said nothing of a rate: {told}")
        rate = float(found[1])
        errors = _ERRORS.search(told)
        target.rates.append(rate)
        # wrk counts a connection that the server closes after its answer as a read error: only the others are failures.
        target.errors += sum(map(int, errors.groups())) - int(errors[2]) if errors else 0
        target.upcalls.append((self._upcalls() - before) / max(1.0, rate * seconds))
        target.megaflows = max(target.megaflows, self._megaflows())

    def on_node(self, *words: str) -> str:
        """Run a command on the Node."""
        return self._in(("--node", "node-1"), *words)

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        place = self._places.node("node-1").ovs.parent
        configuration = place / "nginx.conf"
        configuration.write_text(NGINX.format(port=PORT, pid=place / "nginx.pid"))
        words = ["nginx", "-c", str(configuration), "-p", str(place)]
        with subprocess.Popen(
            [PROGRAM, "lab", "exec", "--name", self._name, "--node", "node-1", "--", *words], start_new_session=True
        ) as process:
            try:
                time.sleep(0.5)
                yield
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)

    def _upcalls(self) -> int:
        """How many packets met no megaflow so far."""
        found = re.search(r"missed:(\d+)", self._appctl("dpctl/show"))
        return int(found[1]) if found else 0

    def _megaflows(self) -> int:
        return len(self._appctl("dpctl/dump-flows").splitlines())

    def _appctl(self, *words: str) -> str:
        directory = self._places.node("node-1").ovs
        pid = (directory / "ovs-vswitchd.pid").read_text().strip()
        return self._run("ovs-appctl", "-t", str(directory / f"ovs-vswitchd.{pid}.ctl"), *words)

    def _apply(self, *objects: dict[str, Any]) -> None:
        document = msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self._run("kubectl", "apply", "-f", "-", given=document.decode())

    def _in(self, place: Sequence[str], *words: str) -> str:
        return self._run(PROGRAM, "lab", "exec", "--name", self._name, *place, "--", *words)

    def _run(self, *words: str, given: str | None = None) -> str:
        done = subprocess.run(
            words, input=given, env=self._environment, capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            raise BenchmarkError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout


def _pod() -> dict[str, Any]:
    container = {"name": "main", "image": "none"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}, "spec": {"containers": [container]}}


def _service(name: str, *, affinity: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"ports": [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}]}
    if affinity:
        spec["sessionAffinity"] = "ClientIP"
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _slices(name: str, endpoints: int) -> Iterator[dict[str, Any]]:
    for number, start in enumerate(range(0, endpoints, SLICE)):
        addresses = [str(FIRST + place) for place in range(start, min(start + SLICE, endpoints))]
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-{number}", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
        }


def benchmark(*, rounds: int, seconds: int, connections: int, sizes: Sequence[int], report: Report) -> None:
    """Measure every target in each round."""
    lab = TrafficLab(f"bench{os.getpid()}")
    report.console.print("making a lab of one Node")
    with lab.running():
        targets = [Target("direct, without a Service", str(FIRST), PORT)]
        for size in sizes:
            word = "endpoint" if size == 1 else "endpoints"
            targets.append(Target(f"{size} {word}", lab.service(f"plain-{size}", size, affinity=False), 80))
            address = lab.service(f"sticky-{size}", size, affinity=True)
            targets.append(Target(f"{size} {word}, session affinity", address, 80))
        for number in range(1, rounds + 1):
            report.console.print(f"round {number} of {rounds}: {len(targets)} targets, {seconds} s each")
            for target in targets:
                lab.measure(target, seconds=seconds, connections=connections)
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
    rounds: Annotated[int, typer.Option(min=1, help="How often every target has its turn.")] = 5,
    seconds: Annotated[int, typer.Option(min=1, help="How long each turn is.")] = 3,
    connections: Annotated[int, typer.Option(min=1, help="Connections at once.")] = 16,
    output: Annotated[Path, typer.Option(help="Where to write the results as JSON.", dir_okay=False)] = Path(
        "build/bench/traffic.json"
    ),
) -> None:
    """Measure new connections per second through Services of 1 to 5,000 endpoints. Needs root, wrk and nginx."""
    report = Report()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        benchmark(rounds=rounds, seconds=seconds, connections=connections, sizes=SIZES, report=report)
    except BenchmarkError as error:
        report.console.print(f"traffic: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        report.console.print("traffic: interrupted; nothing is left behind", style="red")
        raise typer.Exit(130) from error
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
