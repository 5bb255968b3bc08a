"""How a cold start grows with the cluster, in time and in memory: `python -m benchmarks.growth`. See README.md."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from benchmarks.agent import running_agent
from benchmarks.api_server import running_api_server
from benchmarks.report import Report, megabytes, seconds
from benchmarks.sandbox import fresh_network, memory, processor_seconds
from benchmarks.switch import running_switch
from benchmarks.workload import Workload

SIZES: Final = {
    "Services": [Workload(services=number, endpoints=10) for number in (5_000, 10_000, 25_000, 50_000)],
    "endpoints of one Service": [Workload(services=1, endpoints=number) for number in (1_000, 5_000, 20_000)],
    "Nodes": [Workload(services=1000, endpoints=10, least_nodes=number) for number in (500, 2_500, 5_000)],
}
"""What grows, while the rest stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One cold start: seconds from the lists' first byte, of the clock and of the agent's processor; bytes."""

    seconds: float
    processor: float
    agent_peak: int
    switch_memory: int
    flows: int
    groups: int


async def start(workload: Workload, directory: Path) -> Start:
    """Start an agent in a cluster, with an empty switch."""
    fresh_network()
    async with (
        running_api_server(workload.lists(), directory / "kubeconfig") as server,
        running_switch(directory / "ovs") as switch,
        running_agent(directory / "agent", ovs_run_dir=directory / "ovs", kubeconfig=directory / "kubeconfig") as agent,
    ):
        busy: list[float] = []
        server.at_first_request = lambda: busy.append(processor_seconds(agent.process.pid))
        await agent.synchronised()
        processor = processor_seconds(agent.process.pid) - busy[0]
        done = (await agent.status())["switch"]["lastCommitAt"]
        flows, groups = switch.flow_and_group_counts()
        return Start(
            seconds=done - server.first_request_at,
            processor=processor,
            agent_peak=memory(agent.process.pid)["VmHWM"],
            switch_memory=memory(switch.daemon.pid)["VmRSS"],
            flows=flows,
            groups=groups,
        )


def show(what: str, starts: dict[Workload, Start], report: Report) -> None:
    """Print the table of what grows, and note it."""
    report.table(
        f"Cold start, by {what}",
        (
            "Services x endpoints, Nodes", "first byte to last commit", "agent's processor", "agent, at most",
            "ovs-vswitchd", "flows", "groups",
        ),
        [
            (
                f"{size.services} x {size.endpoints}, {size.nodes}", seconds(one.seconds), seconds(one.processor),
                megabytes(one.agent_peak), megabytes(one.switch_memory), str(one.flows), str(one.groups),
            )
            for size, one in starts.items()
        ],
    )  # fmt: skip
    report.results[what] = [
        {"services": size.services, "endpoints": size.endpoints, "nodes": size.nodes, **msgspec.to_builtins(one)}
        for size, one in starts.items()
    ]


def main(
    largest: Annotated[
        int, typer.Option(min=1, help="Leave out clusters of more Services, endpoints of one, or Nodes than this.")
    ] = 50_000,
    output: Annotated[Path, typer.Option(help="Where to write the results as JSON.", dir_okay=False)] = Path(
        "build/bench/growth.json"
    ),
) -> None:
    """Measure cold starts of clusters up to 50,000 Services, 20,000 endpoints of one, and 5,000 Nodes. Needs root."""
    report = Report()
    with report.to_the_end("growth"):
        for what, sizes in SIZES.items():
            starts: dict[Workload, Start] = {}
            for size in sizes:
                alone = {"Services": size.services, "endpoints of one Service": size.endpoints, "Nodes": size.nodes}
                if alone[what] <= largest:
                    report.console.print(f"{size.services} Services x {size.endpoints} endpoints, {size.nodes} Nodes")
                    with tempfile.TemporaryDirectory(prefix="antrea-proxy-bench-") as directory:
                        starts[size] = asyncio.run(start(size, Path(directory)))
            show(what, starts, report)
        report.write(output)


if __name__ == "__main__":
    typer.run(main)
