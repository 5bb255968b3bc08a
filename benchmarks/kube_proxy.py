"""proxyAll beside kube-proxy's nftables layout, for the same Services: `python -m benchmarks.kube_proxy`.

Two labs of one Node each, side by side: in one the agent has all Service traffic (proxyAll), in the other its proxy is
off and the Node's own stack holds rules laid out as kube-proxy's nftables mode lays them out (KEP 3866). The same
connections are opened to both in turn: from the Node to a ClusterIP, and from a host outside to a NodePort.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from statistics import median
from typing import Final

import typer

from benchmarks.lab import NODE, OUTSIDE, PORT, BenchLab, service, slice_of
from benchmarks.options import RESULTS, Connections, Many, Output, Rounds, Seconds
from benchmarks.report import Report
from benchmarks.report import seconds as time_text

OURS: Final = "antreaProxy: {proxyAll: true}\n"
THEIRS: Final = "antreaProxy: {enable: false}\n"
MEASURED: Final = "measured"
ENDPOINTS: Final = 10
_ELSEWHERE: Final = IPv4Address("10.30.0.1")
"""The endpoints of the Services that are only there."""

CHANGES: Final = 10


@dataclass(frozen=True, slots=True)
class Rules:
    """One Service as kube-proxy's rules have it."""

    number: int
    cluster_ip: str
    node_port: int
    endpoints: Sequence[str]


@dataclass(slots=True)
class Measured:
    """Connections per second by place, ours and theirs, with so many Services."""

    services: int
    cluster_ip: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    node_port: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    failed: list[int] = field(default_factory=lambda: [0, 0])
    load_seconds: float = 0.0
    change_seconds: list[float] = field(default_factory=list)


def filler(first: int, count: int) -> Iterator[Rules]:
    """Services from a number on, beside the measured one."""
    for number in range(first, first + count):
        addresses = [str(_ELSEWHERE + (number * ENDPOINTS + place) % 60_000) for place in range(ENDPOINTS)]
        yield Rules(number, str(IPv4Address("10.96.64.0") + number), 0, addresses)


def table(services: Sequence[Rules]) -> str:
    """kube-proxy's layout: maps from address and port to a Service's chain, which draws an endpoint's chain."""
    chains, addresses, ports = [], [], []
    for item in services:
        name = f"service-{item.number}"
        draws = ", ".join(f"{place} : goto endpoint-{item.number}-{place}" for place in range(len(item.endpoints)))
        for place, endpoint in enumerate(item.endpoints):
            chains.append(_endpoint_chain(item.number, place, endpoint))
        chains.append(f"chain {name} {{ numgen random mod {len(item.endpoints)} vmap {{ {draws} }}; }}")
        chains.append(f"chain external-{item.number} {{ jump mark-for-masquerade; goto {name}; }}")
        addresses.append(f"{item.cluster_ip} . tcp . 80 : goto {name}")
        if item.node_port:
            ports.append(f"tcp . {item.node_port} : goto external-{item.number}")
    return "\n".join(
        (
            "table ip kube-proxy {",
            "chain mark-for-masquerade { mark set mark or 0x4000; }",
            *chains,
            f"map service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; {_elements(addresses)} }}",
            f"map service-nodeports {{ type inet_proto . inet_service : verdict; {_elements(ports)} }}",
            "chain services {",
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            "fib daddr type local meta l4proto . th dport vmap @service-nodeports",
            "}",
            "chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }",
            "chain nat-output { type nat hook output priority -100; jump services; }",
            "chain nat-postrouting { type nat hook postrouting priority srcnat",
            "mark and 0x4000 == 0 return",
            "mark set mark xor 0x4000",
            "masquerade fully-random",
            "}",
            "}",
        )
    )


def _endpoint_chain(number: int, place: int, endpoint: str) -> str:
    hairpin = f"ip saddr {endpoint} jump mark-for-masquerade"
    return f"chain endpoint-{number}-{place} {{ {hairpin}; meta l4proto tcp dnat to {endpoint}:{PORT}; }}"


def _elements(texts: Sequence[str]) -> str:
    return f"elements = {{ {', '.join(texts)} }}" if texts else ""


class Pair:
    """Both labs, with the same Services."""

    def __init__(self, ours: BenchLab, theirs: BenchLab) -> None:
        self.labs = (ours, theirs)
        self._rules: list[Rules] = []
        self._targets: list[tuple[str, int, str]] = []

    def prepare(self) -> None:
        """Make a server and the measured Service in each."""
        for lab in self.labs:
            address = lab.pod("server", *lab.nginx())
            for place in (NODE, OUTSIDE):
                lab.forget_closed_connections(place)
            lab.create(service(MEASURED, type="NodePort"), slice_of(MEASURED, 0, [address]))
            found = lab.run(
                "kubectl", "get", "service", MEASURED, "-o", "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}"
            )
            cluster_ip, node_port = found.split()
            node = lab.run("kubectl", "get", "node", "node-1", "-o", "jsonpath={.status.addresses[0].address}")
            self._targets.append((cluster_ip, int(node_port), node.strip()))
            if not self._rules and lab is self.labs[1]:
                self._rules = [Rules(0, cluster_ip, int(node_port), [address])]
        self.labs[0].await_endpoints(MEASURED, 1)

    def grow(self, services: int, measured: Measured) -> None:
        """Let there be so many Services in both; theirs are loaded by `nft -f`, which is timed."""
        ours, theirs = self.labs
        more = list(filler(len(self._rules), services - len(self._rules)))
        for start in range(0, len(more), 500):
            part = more[start : start + 500]
            ours.create(
                *(service(f"filler-{item.number}", clusterIP=item.cluster_ip) for item in part),
                *(slice_of(f"filler-{item.number}", 0, item.endpoints) for item in part),
            )
        if more:
            ours.await_endpoints(f"filler-{more[-1].number}", ENDPOINTS)
        self._rules += more
        measured.load_seconds = self._nft(
            theirs, "add table ip kube-proxy\ndelete table ip kube-proxy\n" + table(self._rules)
        )
        for place in range(CHANGES):
            chain = f"ip kube-proxy endpoint-{self._rules[-1].number}-0"
            endpoint = str(_ELSEWHERE + place)
            text = (
                f"flush chain {chain}\nadd rule {chain} ip saddr {endpoint} jump mark-for-masquerade\n"
                f"add rule {chain} meta l4proto tcp dnat to {endpoint}:{PORT}\n"
            )
            if len(self._rules) > 1:
                measured.change_seconds.append(self._nft(theirs, text))

    def measure(self, measured: Measured, *, seconds: int, connections: int) -> None:
        """One round: each place, ours and theirs in turn."""
        for number, lab in enumerate(self.labs):
            cluster_ip, node_port, node = self._targets[number]
            for taken, place, address, port in (
                (measured.cluster_ip, NODE, cluster_ip, 80),
                (measured.node_port, OUTSIDE, node, node_port),
            ):
                lab.forget_switched_connections()
                rate, failed = lab.open_connections(place, address, port, seconds=seconds, connections=connections)
                taken[number].append(rate)
                measured.failed[number] += failed

    @staticmethod
    def _nft(lab: BenchLab, text: str) -> float:
        file = lab.node_directory / "kube-proxy.nft"
        file.write_text(text)
        began = time.perf_counter()
        lab.inside(NODE, "nft", "-f", str(file))
        return time.perf_counter() - began


def benchmark(*, sizes: Sequence[int], rounds: int, seconds: int, connections: int, report: Report) -> None:
    """Measure with few Services and with many."""
    ours, theirs = BenchLab(f"bencha{os.getpid()}", OURS), BenchLab(f"benchb{os.getpid()}", THEIRS)
    report.console.print("making two labs of one Node")
    results: list[Measured] = []
    with ours.running(), theirs.running():
        pair = Pair(ours, theirs)
        pair.prepare()
        for size in sizes:
            measured = Measured(size)
            results.append(measured)
            report.console.print(f"{size} Services: making them")
            pair.grow(size, measured)
            for number in range(1, rounds + 1):
                report.console.print(f"{size} Services: round {number} of {rounds}")
                pair.measure(measured, seconds=seconds, connections=connections)
    show(results, report)


def show(results: Sequence[Measured], report: Report) -> None:
    """Print the tables and note the results."""

    def row(item: Measured, name: str, rates: tuple[list[float], list[float]]) -> tuple[str, ...]:
        ratio = median(own / other for own, other in zip(*rates, strict=True))
        return f"{item.services}", name, f"{median(rates[0]):.0f}", f"{median(rates[1]):.0f}", f"{ratio:.2f}"

    report.table(
        "New connections per second: proxyAll beside kube-proxy's nftables layout",
        ("Services", "", "ours", "theirs", "ours / theirs"),
        [
            line
            for item in results
            for line in (
                row(item, "Node to ClusterIP", item.cluster_ip),
                row(item, "outside to NodePort", item.node_port),
            )
        ],
    )
    report.table(
        "kube-proxy's layout into the kernel by nft -f (starting the program included)",
        ("Services", "all", "one endpoint changed, median"),
        [
            (
                f"{item.services}",
                time_text(item.load_seconds),
                time_text(median(item.change_seconds)) if item.change_seconds else "",
            )
            for item in results
        ],
    )
    report.results["kubeProxy"] = [
        {
            "services": item.services,
            "clusterIpPerSecond": item.cluster_ip,
            "nodePortPerSecond": item.node_port,
            "failed": item.failed,
            "loadSeconds": item.load_seconds,
            "changeSeconds": item.change_seconds,
        }
        for item in results
    ]


def main(
    many: Many = 1000,
    rounds: Rounds = 5,
    seconds: Seconds = 3,
    connections: Connections = 16,
    output: Output = RESULTS / "kube_proxy.json",
) -> None:
    """Measure proxyAll beside kube-proxy's nftables layout. Needs root, wrk and nginx."""
    report = Report()
    with report.to_the_end("kube_proxy"):
        benchmark(
            sizes=sorted({1, min(many, 1000), many}),
            rounds=rounds,
            seconds=seconds,
            connections=connections,
            report=report,
        )
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
