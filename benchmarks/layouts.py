"""Our pipeline beside one laid out as Antrea documents its own, on the same switch: `python -m benchmarks.layouts`.

Two labs of one Node, side by side. In one the agent has the Services; in the other its proxy is off and the bridge
holds the stages of Antrea's document "OVS pipeline" for one Pod and one Service: the endpoint is chosen by a select
group without a selection method, noted in registers, and translated by a flow of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from statistics import median
from typing import Final

import typer

from benchmarks import megaflows
from benchmarks.lab import PORT, BenchLab
from benchmarks.megaflows import Recirculations
from benchmarks.options import RESULTS, Connections, Output, Rounds, Seconds
from benchmarks.report import Report
from benchmarks.sandbox import BenchmarkError
from benchmarks.traffic import CLIENT, FIRST, make_service, serving

SIZES: Final = (1, 8, 64, 257, 1000)
THEIRS: Final = "antreaProxy: {enable: false}\n"
CLUSTER_IP: Final = "10.96.0.200"
SERVICE: Final = 0x10
"""The mark of a Service's connections, a bit of its own."""

(
    CLASSIFIER, SPOOF_GUARD, UN_SNAT, CONNTRACK_ZONE, CONNTRACK_STATE, PRE_ROUTING, SESSION_AFFINITY, SERVICE_LB,
    ENDPOINT_DNAT, ANTREA_EGRESS, EGRESS, EGRESS_DEFAULT, EGRESS_METRIC, L3_FORWARDING, EGRESS_MARK, L3_DEC_TTL,
    SNAT_MARK, SNAT, L2_FORWARDING, TRAFFIC_CONTROL, INGRESS_CLASSIFIER, ANTREA_INGRESS, INGRESS, INGRESS_DEFAULT,
    INGRESS_METRIC, CONNTRACK_COMMIT, OUTPUT,
) = range(27)  # fmt: skip
"""The stages that the way of a Pod's packet to an endpoint passes."""

PASSAGES: Final = (
    UN_SNAT, ANTREA_EGRESS, EGRESS, EGRESS_DEFAULT, EGRESS_METRIC, EGRESS_MARK, SNAT_MARK, SNAT, TRAFFIC_CONTROL,
    INGRESS_CLASSIFIER, ANTREA_INGRESS, INGRESS, INGRESS_DEFAULT, INGRESS_METRIC,
)  # fmt: skip
"""Those in which such a packet meets nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of the bridge, with the addresses behind it."""

    number: int
    mac: str
    ip: str = ""


@dataclass(slots=True)
class Turns:
    """What was measured with so many endpoints, ours and theirs; 0: to the first endpoint directly."""

    endpoints: int
    rates: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    upcalls: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    megaflows: list[int] = field(default_factory=lambda: [0, 0])
    failed: list[int] = field(default_factory=lambda: [0, 0])
    ways: list[Recirculations | None] = field(default_factory=lambda: [None, None])

    @property
    def name(self) -> str:
        """What the row is of."""
        return f"{self.endpoints}" if self.endpoints else "directly"


def flows(pod: Port, gateway: Port, endpoints: Sequence[str]) -> Iterator[str]:
    """The flows of the other layout, as ovs-ofctl reads them."""

    def at(table: int, match: str, actions: str, priority: int = 200) -> str:
        comma = "," if match else ""
        return f"table={table},priority={priority}{comma}{match} actions={actions}"

    def on(table: int) -> str:
        return f"resubmit(,{table})"

    yield at(CLASSIFIER, "arp", "NORMAL", 210)
    for port, source in ((pod, 3), (gateway, 2)):
        yield at(CLASSIFIER, f"in_port={port.number}", f"set_field:{source}/0xf->reg0,{on(SPOOF_GUARD)}")
    own = f"ip,in_port={pod.number},dl_src={pod.mac},nw_src={pod.ip}"
    yield at(SPOOF_GUARD, own, on(UN_SNAT))
    yield at(SPOOF_GUARD, f"ip,in_port={gateway.number}", on(UN_SNAT))
    yield at(CONNTRACK_ZONE, "ip", f"ct(table={CONNTRACK_STATE},zone=65520,nat)")
    yield at(CONNTRACK_STATE, "ct_state=+inv+trk,ip", "drop")
    known = f"ct_state=-new+trk,ct_mark={SERVICE}/{SERVICE},ip"
    yield at(CONNTRACK_STATE, known, f"set_field:0x200/0x200->reg0,{on(ANTREA_EGRESS)}", 190)
    yield at(CONNTRACK_STATE, "", on(PRE_ROUTING), 0)
    yield at(PRE_ROUTING, "ip", f"{on(SESSION_AFFINITY)},{on(SERVICE_LB)}")
    yield at(SESSION_AFFINITY, "", "set_field:0x10000/0x70000->reg4", 0)
    served = f"tcp,reg4=0x10000/0x70000,nw_dst={CLUSTER_IP},tp_dst=80"
    yield at(
        SERVICE_LB, served, "set_field:0x20000/0x70000->reg4,set_field:0x200/0x200->reg0,set_field:1->reg7,group:1"
    )
    yield at(SERVICE_LB, "", on(ENDPOINT_DNAT), 0)
    for endpoint in endpoints:
        chosen = f"tcp,reg3={int(IPv4Address(endpoint)):#x},reg4={0x20000 | PORT:#x}/0x7ffff"
        mark = f"exec(set_field:{SERVICE}/{SERVICE}->ct_mark,move:NXM_NX_REG0[0..3]->NXM_NX_CT_MARK[0..3])"
        translate = f"ct(commit,table={ANTREA_EGRESS},zone=65520,nat(dst={endpoint}:{PORT}),{mark})"
        yield at(ENDPOINT_DNAT, chosen, translate)
    yield at(ENDPOINT_DNAT, "", on(ANTREA_EGRESS), 0)
    for table in PASSAGES:
        yield at(table, "", on(table + 1), 0)
    to_pod = f"set_field:{gateway.mac}->eth_src,set_field:{pod.mac}->eth_dst,{on(EGRESS_MARK)}"
    yield at(L3_FORWARDING, f"ip,nw_dst={pod.ip}", to_pod)
    yield at(L3_FORWARDING, "ip", f"set_field:{gateway.mac}->eth_dst,{on(EGRESS_MARK)}", 190)
    yield at(L3_DEC_TTL, f"ip,in_port={gateway.number}", on(SNAT_MARK), 210)
    yield at(L3_DEC_TTL, "ip", f"dec_ttl,{on(SNAT_MARK)}")
    for port in (pod, gateway):
        found = f"set_field:{port.number}->reg1,set_field:0x100/0x100->reg0,{on(TRAFFIC_CONTROL)}"
        yield at(L2_FORWARDING, f"dl_dst={port.mac}", found)
    commit = f"ct(commit,table={OUTPUT},zone=65520,exec(move:NXM_NX_REG0[0..3]->NXM_NX_CT_MARK[0..3]))"
    yield at(CONNTRACK_COMMIT, f"ct_state=+new+trk,ct_mark=0/{SERVICE},ip", commit)
    yield at(CONNTRACK_COMMIT, "", on(OUTPUT), 0)
    yield at(OUTPUT, "reg0=0x100/0x100", "output:NXM_NX_REG1[]")


def group(endpoints: Sequence[str]) -> str:
    """The group of the Service, as ovs-ofctl reads it."""
    buckets = (
        f"bucket=bucket_id:{number},weight:100,actions=set_field:{int(IPv4Address(endpoint)):#x}->reg3,"
        f"set_field:{PORT}/0xffff->reg4,resubmit(,{ENDPOINT_DNAT})"
        for number, endpoint in enumerate(endpoints)
    )
    return ",".join(("group_id=1,type=select", *buckets))


class OtherLayout:
    """A lab whose bridge holds the other layout."""

    def __init__(self, lab: BenchLab, pod_ip: str) -> None:
        self._lab = lab
        self._pod_ip = pod_ip

    def hold(self, endpoints: Sequence[str]) -> None:
        """Let the bridge hold one Service of these endpoints, in the place of all that it held."""
        described = self._lab.ofctl("dump-ports-desc", "")
        gateway = self._port(described, "antrea-gw0", "")
        pod = self._port(described, "client-", self._pod_ip)
        place = self._lab.node_directory
        (place / "groups").write_text(f"{group(endpoints)}\n")
        (place / "flows").write_text("\n".join(flows(pod, gateway, endpoints)) + "\n")
        self._lab.ofctl("del-groups", "")
        self._lab.ofctl("add-groups", str(place / "groups"))
        self._lab.ofctl("replace-flows", str(place / "flows"))

    def _port(self, described: str, name: str, ip: str) -> Port:
        found = re.search(rf"^ (\d+)\(({re.escape(name)}\S*)\):", described, re.MULTILINE)
        if found is None:
            raise BenchmarkError(f"the bridge has no port {name}: {described}")
        if not ip:
            return Port(number=int(found[1]), mac=self._mac(("--node", "node-1"), found[2]))
        return Port(number=int(found[1]), mac=self._mac(CLIENT, "eth0"), ip=ip)

    def _mac(self, place: Sequence[str], interface: str) -> str:
        return self._lab.inside(place, "cat", f"/sys/class/net/{interface}/address").strip()


def benchmark(*, sizes: Sequence[int], rounds: int, seconds: int, connections: int, report: Report) -> None:
    """Measure both with each number of endpoints."""
    ours, theirs = BenchLab(f"bencha{os.getpid()}"), BenchLab(f"benchb{os.getpid()}", THEIRS)
    report.console.print("making two labs of one Node")
    taken: list[Turns] = []
    with ours.running(), theirs.running(), serving(ours), serving(theirs):
        ours.pod("client")
        other = OtherLayout(theirs, theirs.pod("client"))
        for size in (0, *sizes):
            turns = Turns(size)
            taken.append(turns)
            endpoints = [str(FIRST + place) for place in range(size or 1)]
            other.hold(endpoints)
            targets = ((ours, str(FIRST), PORT), (theirs, str(FIRST), PORT))
            if size:
                address = make_service(ours, f"plain-{size}", size, affinity=False)
                targets = ((ours, address, 80), (theirs, CLUSTER_IP, 80))
            for number in range(1, rounds + 1):
                report.console.print(f"{turns.name}: round {number} of {rounds}")
                for side, target in enumerate(targets):
                    measure(turns, side, *target, seconds=seconds, connections=connections)
    show(taken, report)


def measure(turns: Turns, side: int, lab: BenchLab, address: str, port: int, *, seconds: int, connections: int) -> None:
    """Open connections in one lab for so long, on a datapath that has forgotten those before."""
    lab.forget_switched_connections()
    before = lab.upcalls()
    rate, failed = lab.open_connections(CLIENT, address, port, seconds=seconds, connections=connections)
    turns.rates[side].append(rate)
    turns.failed[side] += failed
    turns.upcalls[side].append((lab.upcalls() - before) / max(1.0, rate * seconds))
    held = lab.appctl("dpctl/dump-flows")
    turns.megaflows[side] = max(turns.megaflows[side], megaflows.count(held))
    turns.ways[side] = megaflows.recirculations(held)


def show(taken: Sequence[Turns], report: Report) -> None:
    """Print the table and note the results."""

    def row(turns: Turns) -> tuple[str, ...]:
        ratio = median(own / other for own, other in zip(*turns.rates, strict=True))
        return (
            turns.name,
            *(f"{median(rates):.0f}" for rates in turns.rates),
            f"{ratio:.2f}",
            *(f"{median(upcalls):.4f}" for upcalls in turns.upcalls),
            *(f"{count}" for count in turns.megaflows),
            f"{turns.failed[0]} / {turns.failed[1]}",
        )

    columns = ("ours", "theirs", "ratio", "upcalls, ours", "theirs", "megaflows, ours", "theirs", "failed")
    report.table(
        "New connections per second beside a pipeline laid out as Antrea's",
        ("endpoints", *columns),
        [row(turns) for turns in taken],
    )
    report.table(
        "How often packets go through the datapath once more (recirculations): ours / theirs",
        ("endpoints", "first packet", "those that follow", "replies", "recirculation ids"),
        [
            (turns.name, *(" / ".join(map(str, pair)) for pair in zip(*map(_counts, turns.ways), strict=True)))
            for turns in taken
        ],
    )
    report.results["layouts"] = [
        {
            "endpoints": turns.endpoints,
            "perSecond": turns.rates,
            "upcallsEach": turns.upcalls,
            "megaflows": turns.megaflows,
            "failed": turns.failed,
            "recirculations": turns.ways,
        }
        for turns in taken
    ]


def _counts(way: Recirculations | None) -> tuple[int, ...]:
    assert way is not None
    return way.first, way.following, way.reply, way.ids


def main(
    rounds: Rounds = 5,
    seconds: Seconds = 3,
    connections: Connections = 16,
    output: Output = RESULTS / "layouts.json",
) -> None:
    """Measure our pipeline beside one laid out as Antrea's. Needs root, wrk and nginx."""
    report = Report()
    with report.to_the_end("layouts"):
        benchmark(sizes=SIZES, rounds=rounds, seconds=seconds, connections=connections, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
