"""Open Virtual Network (OVN) beside the agent, with the same load balancers: `python -m benchmarks.ovn`.

Connections to a virtual IP of OVN and to a Service of a lab, in turn, through two switches of one kind. Then a whole
cluster into an empty switch, and single changes of it: by OVN, and by the agent.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import typer

from benchmarks.cold_start import ColdStart
from benchmarks.lab import PORT, BenchLab, Load, service, slice_of
from benchmarks.options import RESULTS, Connections, Output, Rounds, Seconds
from benchmarks.ovn_node import (
    OvnNode,
    all_load_balancers,
    endpoints,
    load_balancer,
    running_ovn,
    until_answered,
    version,
    vip,
)
from benchmarks.report import Report, Sample, megabytes
from benchmarks.report import seconds as time_text
from benchmarks.sandbox import child, fresh_network, memory
from benchmarks.traffic import CLIENT
from benchmarks.workload import Workload

MEASURED: Final = "measured"
SERVERS: Final = ("server-1", "server-2")
PAUSE: Final = 0.3
"""Seconds between two changes."""


@dataclass(slots=True)
class Measured:
    """What was measured; pairs are ours and OVN's."""

    rates: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    failed: list[int] = field(default_factory=lambda: [0, 0])
    program: tuple[float, float] = (0.0, 0.0)
    changes: tuple[Sequence[float], Sequence[float]] = ((), ())
    agent_memory: Mapping[str, int] = field(default_factory=dict)
    ovn_memory: Mapping[str, int] = field(default_factory=dict)
    flows: tuple[int, int] = (0, 0)


async def connect(
    lab: BenchLab, address: str, directory: Path, *, rounds: int, seconds: int, connections: int, report: Report
) -> Measured:
    """Open connections in turn, to the lab's Service and to OVN's virtual IP.

    Only to it, and with a new switch of OVN's for each round: Open vSwitch 3.1.0 aborts under OVN after some thousands
    of connections that Pods open to each other directly, and after some 100,000 to a virtual IP (conntrack.c: assertion
    conn->conn_type == CT_CONN_TYPE_DEFAULT).
    """
    measured = Measured()
    for number in range(1, rounds + 1):
        report.console.print(f"connections: round {number} of {rounds}")
        lab.forget_switched_connections()
        taken = lab.open_connections(CLIENT, address, 80, seconds=seconds, connections=connections)
        measured.rates[0].append(taken[0])
        measured.failed[0] += taken[1]
        load = await _through_ovn(lab, directory / f"connections-{number}", seconds=seconds, connections=connections)
        measured.rates[1].append(load.requests)
        measured.failed[1] += load.failed
    return measured


async def _through_ovn(lab: BenchLab, directory: Path, *, seconds: int, connections: int) -> Load:
    """Open connections to a virtual IP of two Pods, in a network of their own."""
    fresh_network()
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_ovn(directory))
        client, *servers = [await stack.enter_async_context(node.pod(number)) for number in (1, 2, 3)]
        for server in servers:
            await stack.enter_async_context(child(*server.inside(*lab.nginx())))
            await until_answered(server, f"http://{server.address}:{PORT}/")
        rows = [load_balancer(vip(0), [server.address for server in servers])]
        await node.northbound.until_in_the_switch(*all_load_balancers(rows))
        await until_answered(client, f"http://{vip(0)}/")
        load = await node.load(client, f"http://{vip(0)}/", seconds=seconds, connections=connections)
        node.appctl("version")  # the switch is there still: what it had given up would be no measurement
    return load


async def program(workload: Workload, directory: Path, *, changes: int, measured: Measured, report: Report) -> None:
    """Let the agent, then OVN, put all load balancers into an empty switch and change some of them."""
    cold_start = ColdStart(workload, directory, report)
    report.console.print("the agent: a cold start, and changes")
    await cold_start.record(change=False)
    await cold_start.agent(changes=changes)
    ours = cold_start.measured
    fresh_network()
    async with running_ovn(directory / "ovn") as node, node.pod(1):
        rows = [load_balancer(vip(place), endpoints(place, workload.endpoints)) for place in range(workload.services)]
        report.console.print("OVN: all load balancers into the switch")
        taken = await node.northbound.until_in_the_switch(*all_load_balancers(rows))
        report.console.print("OVN: changes")
        changed = [await _change(node, workload, number, changes) for number in range(changes)]
        measured.program = (ours.agent[0], taken)
        measured.changes = (ours.changes, changed)
        measured.flows = (report.results["switch"]["flows"], node.switch.flow_and_group_counts()[0])
        measured.ovn_memory = {name: memory(process.pid)["VmRSS"] for name, process in node.processes.items()}
        measured.agent_memory = {"agent": ours.agent_now[0], "ovs-vswitchd": ours.switch_memory[0]}


async def _change(node: OvnNode, workload: Workload, number: int, changes: int) -> float:
    """Replace one endpoint of one load balancer; return the seconds until the switch has it."""
    await asyncio.sleep(PAUSE)
    place = number * workload.services // changes
    row = load_balancer(vip(place), endpoints(place, workload.endpoints, moved=1))
    where = [["name", "==", f"service-{place}"]]
    return await node.northbound.until_in_the_switch(
        {"op": "update", "table": "Load_Balancer", "where": where, "row": row}
    )


def benchmark(workload: Workload, *, rounds: int, seconds: int, connections: int, changes: int, report: Report) -> None:
    """Measure connections, then programming."""
    lab = BenchLab(f"bench{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="antrea-proxy-bench-") as place:
        directory = Path(place)
        report.console.print("making a lab of one Node, and one of OVN")
        with lab.running():
            addresses = [lab.pod(name, *lab.nginx()) for name in SERVERS]
            lab.pod(*CLIENT)
            lab.create(service(MEASURED), slice_of(MEASURED, 0, addresses))
            address = str(lab.await_endpoints(MEASURED, len(addresses))["ports"][0]["address"])
            turns = connect(
                lab, address, directory,
                rounds=rounds, seconds=seconds, connections=connections, report=report,
            )  # fmt: skip
            measured = asyncio.run(turns)
        asyncio.run(program(workload, directory, changes=changes, measured=measured, report=report))
    show(workload, measured, report)


def show(workload: Workload, measured: Measured, report: Report) -> None:
    """Print the tables and note the results."""
    ours, theirs = measured.rates
    ratio = median(own / other for own, other in zip(ours, theirs, strict=True))
    size = f"{workload.services} Services x {workload.endpoints} endpoints"
    changes = [Sample(values=values) for values in measured.changes]
    report.table(
        f"Beside OVN {version()}",
        ("", "ours", "OVN", "ours / OVN"),
        [
            ("new connections a second", f"{median(ours):.0f}", f"{median(theirs):.0f}", f"{ratio:.2f}"),
            ("of them failed, in all", *map(str, measured.failed), ""),
            (f"{size} into the switch", *map(time_text, measured.program), _ratio(measured.program)),
            *(
                (f"one endpoint replaced: {name}", *map(time_text, values), _ratio(values))
                for name, values in (
                    ("median", [sample.median for sample in changes]),
                    ("longest", [max(sample.values) for sample in changes]),
                )
            ),
            ("flows in the switch", *map(str, measured.flows), _ratio(measured.flows)),
        ],
    )
    report.table(
        "Memory with them (VmRSS)",
        ("", "ours", "OVN"),
        [
            (
                name,
                *(
                    megabytes(held[name]) if name in held else ""
                    for held in (measured.agent_memory, measured.ovn_memory)
                ),
            )
            for name in dict.fromkeys((*measured.agent_memory, *measured.ovn_memory))
        ],
    )
    results: dict[str, Any] = {
        "version": version(),
        "services": workload.services,
        "endpointsPerService": workload.endpoints,
        "perSecond": measured.rates,
        "failed": measured.failed,
        "programSeconds": measured.program,
        "changeSeconds": measured.changes,
        "flows": measured.flows,
        "bytes": (measured.agent_memory, measured.ovn_memory),
    }
    report.results["ovn"] = results


def _ratio(pair: Sequence[float]) -> str:
    ratio = pair[0] / pair[1]
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1 / {1 / ratio:.0f}"


def main(  # noqa: PLR0917 - typer reads the signature
    services: Annotated[int, typer.Option(min=1, max=60_000, help="Services, each of one port.")] = 10_000,
    endpoints_each: Annotated[int, typer.Option("--endpoints", min=1, max=100, help="Endpoints of each Service.")] = 10,
    changes: Annotated[int, typer.Option(min=1, help="Single changes.")] = 20,
    rounds: Rounds = 5,
    seconds: Seconds = 3,
    connections: Connections = 16,
    output: Output = RESULTS / "ovn.json",
) -> None:
    """Measure OVN beside the agent. Needs root, wrk, nginx, and Debian's ovn-central and ovn-host."""
    report = Report()
    with report.to_the_end("ovn"):
        workload = Workload(services=services, endpoints=endpoints_each)
        benchmark(workload, rounds=rounds, seconds=seconds, connections=connections, changes=changes, report=report)
    report.write(output)


if __name__ == "__main__":
    typer.run(main)
