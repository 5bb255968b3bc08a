"""How long the agent needs for a whole cluster, and for one change of it: `python -m benchmarks.cold_start`.

A real agent, a real switch, and the switch alone taking the same bytes as the floor under both: see README.md.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import msgspec
import typer

from antrea_proxy.kubernetes.kinds import ENDPOINT_SLICES
from benchmarks import stages
from benchmarks.agent import Agent, running_agent
from benchmarks.api_server import StaticApiServer, running_api_server
from benchmarks.openflow_bytes import (
    Recording,
    last_change,
    recording,
    replay_at_once,
    replay_in_step,
    replay_single_changes,
    tapped,
)
from benchmarks.report import Report, Sample, megabytes, seconds
from benchmarks.sandbox import BenchmarkError, child, fresh_network, memory, processor_seconds
from benchmarks.switch import Switch, running_switch
from benchmarks.workload import Workload, watch_line

PAUSE: Final = 0.03
"""Seconds from one change to the next: the agent is at rest before it, and is not asked anything while it works."""

SETTLING: Final = 1.0
"""Seconds after the first synchronisation in which the agent finishes with the Node's own network stack."""


@dataclass(slots=True)
class Measured:
    """One list of values for each thing that was measured; seconds, and bytes of memory."""

    in_step: list[float] = field(default_factory=list)
    at_once: list[float] = field(default_factory=list)
    agent: list[float] = field(default_factory=list)
    from_start: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    floor_processor: list[float] = field(default_factory=list)
    agent_processor: list[float] = field(default_factory=list)
    agent_peak: list[int] = field(default_factory=list)
    agent_now: list[int] = field(default_factory=list)
    switch_memory: list[int] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    change_floor: list[float] = field(default_factory=list)


class ColdStart:
    """All measurements of one size, in one temporary directory."""

    def __init__(self, workload: Workload, directory: Path, report: Report) -> None:
        self._workload = workload
        self._directory = directory
        self._report = report
        self._lists = workload.lists()
        self._number = 0
        self.measured = Measured()

    async def record(self, *, change: bool) -> tuple[Recording, bytes]:
        """Run the agent once behind a tap; return what it sent until it was done, and for one change after it."""
        place = self._next()
        async with (
            running_api_server(self._lists, place / "kubeconfig") as server,
            running_switch(place / "ovs") as switch,
            tapped(switch, place / "tap") as tap,
            running_agent(place / "agent", ovs_run_dir=place / "tap", kubeconfig=place / "kubeconfig") as agent,
        ):
            await agent.synchronised()
            recorded = recording(tap)
            await asyncio.sleep(SETTLING)
            single = b""
            if change:
                await self._change(server, agent, 0, version=2)
                single = last_change(bytes(tap.sent))
            self._report.results["switch"] = dict(zip(("flows", "groups"), switch.flow_and_group_counts(), strict=True))
        return recorded, single

    async def floor(self, recorded: Recording, single: bytes, *, changes: int) -> None:
        """Replay the recording into two fresh switches, each way once; then the single change."""
        for replay, taken in ((replay_in_step, self.measured.in_step), (replay_at_once, self.measured.at_once)):
            async with running_switch(self._next() / "ovs") as switch:
                switch.add_bridge()
                busy = processor_seconds(switch.daemon.pid)
                taken.append(await asyncio.to_thread(replay, switch, recorded))
                self.measured.floor_processor.append(processor_seconds(switch.daemon.pid) - busy)
                if replay is replay_in_step and single:
                    self.measured.change_floor += await asyncio.to_thread(
                        replay_single_changes, switch, [single] * changes, pause=PAUSE
                    )

    async def agent(self, *, changes: int) -> None:
        """Run the agent from nothing to a synchronised switch; then change one Service after the other."""
        place = self._next()
        measured = self.measured
        async with (
            running_api_server(self._lists, place / "kubeconfig") as server,
            running_switch(place / "ovs") as switch,
        ):
            started = time.time()
            async with running_agent(
                place / "agent", ovs_run_dir=place / "ovs", kubeconfig=place / "kubeconfig"
            ) as agent:
                busy: list[float] = []
                server.at_first_request = lambda: busy.append(processor_seconds(agent.process.pid))
                told = await agent.synchronised()
                measured.agent_processor.append(processor_seconds(agent.process.pid) - busy[0])
                report = (await agent.status())["switch"]
                done = report["lastCommitAt"]
                if not told - 1.0 < done <= told:
                    raise BenchmarkError(f"the last commit was at {done}, but the log told of it at {told}")
                measured.agent.append(done - server.first_request_at)
                measured.from_start.append(done - started)
                measured.commits.append(report["lastCommitSeconds"])
                agent_memory = memory(agent.process.pid)
                measured.agent_peak.append(agent_memory["VmHWM"])
                measured.agent_now.append(agent_memory["VmRSS"])
                measured.switch_memory.append(memory(switch.daemon.pid)["VmRSS"])
                await asyncio.sleep(SETTLING)
                for number in range(changes):
                    service = number * self._workload.services // changes
                    measured.changes.append(await self._change(server, agent, service, version=number + 2))
                self._check(switch, changes)

    async def stages(self) -> None:
        """Run the stages one after the other in a process of their own."""
        place = self._next()
        async with (
            running_api_server(self._lists, place / "kubeconfig"),
            running_switch(place / "ovs") as switch,
        ):
            switch.add_bridge()
            async with child(
                sys.executable, "-m", stages.__name__, "--kubeconfig", str(place / "kubeconfig"),
                "--socket", str(switch.management), stdout=asyncio.subprocess.PIPE, stderr=None,
            ) as process:  # fmt: skip
                answer, _ = await process.communicate()
                if process.returncode:
                    raise BenchmarkError(f"the stages' process ended with {process.returncode}")
            self.measured.stages.append(msgspec.json.decode(answer))

    async def _change(self, server: StaticApiServer, agent: Agent, service: int, *, version: int) -> float:
        """Replace one endpoint of a Service; return the seconds from the event's sending to the switch's commit."""
        commits = (await agent.status())["switch"]["commits"]
        line = watch_line("MODIFIED", self._workload.slice(service, version=version, moved=1))
        await asyncio.sleep(PAUSE)
        began = await server.publish(ENDPOINT_SLICES.path, line)
        for _ in range(100):
            await asyncio.sleep(PAUSE)
            report = (await agent.status())["switch"]
            if report["commits"] > commits:
                return float(report["lastCommitAt"] - began)
        raise BenchmarkError(f"a change of service-{service} never came to the switch; see {agent.log}")

    def _check(self, switch: Switch, changes: int) -> None:
        """Make sure that the switch holds as much as before, and the newest endpoint of the last change."""
        expected = self._report.results["switch"]
        flows, groups = switch.flow_and_group_counts()
        if {"flows": flows, "groups": groups} != expected:
            raise BenchmarkError(f"the switch holds {flows} flows and {groups} groups, not {expected}")
        if changes:
            service = (changes - 1) * self._workload.services // changes
            endpoints = self._workload.slice(service, version=changes + 1, moved=1)["endpoints"]
            address = endpoints[-1]["addresses"][0]
            if address not in switch.groups():
                raise BenchmarkError(f"the switch never got the endpoint {address} of service-{service}")

    def _next(self) -> Path:
        """Make a directory and a network of its own for the next measurement."""
        self._number += 1
        fresh_network()
        place = self._directory / str(self._number)
        place.mkdir()
        return place


async def benchmark(workload: Workload, *, runs: int, changes: int, report: Report) -> None:
    """Measure everything `runs` times, in turn, so that the machine's drift is the same for all."""
    with tempfile.TemporaryDirectory(prefix="antrea-proxy-bench-") as directory:
        report.console.print(f"making a cluster of {workload.services} Services x {workload.endpoints} endpoints")
        cold_start = ColdStart(workload, Path(directory), report)
        report.console.print("recording what the agent sends")
        recorded, single = await cold_start.record(change=changes > 0)
        for number in range(1, runs + 1):
            report.console.print(f"run {number} of {runs}: the floor")
            await cold_start.floor(recorded, single, changes=changes if number == runs else 0)
            report.console.print(f"run {number} of {runs}: the agent")
            await cold_start.agent(changes=changes if number == runs else 0)
            report.console.print(f"run {number} of {runs}: its stages")
            await cold_start.stages()
    show(workload, recorded, cold_start.measured, report)


def show(workload: Workload, recorded: Recording, measured: Measured, report: Report) -> None:
    """Print the tables and note the results."""
    floor = Sample(values=measured.in_step)
    agent, at_once = Sample(values=measured.agent), Sample(values=measured.at_once)

    def ratio(sample: Sample) -> str:
        return f"{sample.median / floor.median:.2f}"

    def spread(sample: Sample) -> str:
        return f"{seconds(min(sample.values))} to {seconds(max(sample.values))}"

    rows = [
        (name, seconds(sample.median), spread(sample), ratio(sample))
        for name, sample in (
            ("floor: the switch alone, the same bytes in step", floor),
            ("the switch alone, the same bytes at once", at_once),
            ("agent: first byte of the lists to the last commit", agent),
            ("of it, from its first bundle to the last commit", Sample(values=measured.commits)),
            ("agent: from its process's start", Sample(values=measured.from_start)),
            ("processor time of the switch alone", Sample(values=measured.floor_processor)),
            ("processor time of the agent, from the first byte", Sample(values=measured.agent_processor)),
        )
    ]
    size = f"{workload.services} Services x {workload.endpoints} endpoints"
    counts = report.results["switch"]
    bytes_sent = f"{recorded.messages} messages in {recorded.bundles} bundles, {megabytes(len(recorded.data))}"
    report.table(
        f"Cold start, {size}: {counts['flows']} flows, {counts['groups']} groups; {bytes_sent}",
        ("", "median", "range", "/ floor"),
        rows,
    )
    by_stage = {
        name: Sample(values=[run["seconds"][name] for run in measured.stages]) for name in measured.stages[0]["seconds"]
    }
    whole = Sample(values=[sum(run["seconds"].values()) for run in measured.stages])
    collecting = Sample(values=[run["collectingSeconds"] for run in measured.stages])

    def busy(name: str) -> str:
        """The processor's time for a stage, where it was measured."""
        values = [run["processorSeconds"].get(name) for run in measured.stages]
        return "" if None in values else seconds(median(values))

    report.table(
        "Its stages, one after the other in a process of their own",
        ("", "median", "processor", "/ floor", "of all"),
        [
            (name, seconds(sample.median), busy(name), ratio(sample), f"{sample.median / whole.median:.0%}")
            for name, sample in (
                *by_stage.items(), ("all stages", whole), ("in them: garbage collection", collecting),
            )
        ],
    )  # fmt: skip
    report.table(
        "Memory",
        ("", "median"),
        [
            ("agent, at most (VmHWM)", megabytes(median(measured.agent_peak))),
            ("agent, synchronised (VmRSS)", megabytes(median(measured.agent_now))),
            ("ovs-vswitchd, synchronised (VmRSS)", megabytes(median(measured.switch_memory))),
        ],
    )
    results: dict[str, Any] = {
        "services": workload.services,
        "endpointsPerService": workload.endpoints,
        "listBytes": {path: len(body) for path, body in workload.lists().items()},
        "messages": recorded.messages,
        "bundles": recorded.bundles,
        "openflowBytes": len(recorded.data),
        "floorSeconds": floor.summary(),
        "atOnceSeconds": at_once.summary(),
        "agentSeconds": agent.summary(),
        "agentFromStartSeconds": Sample(values=measured.from_start).summary(),
        "agentToFloor": agent.median / floor.median,
        "floorProcessorSeconds": measured.floor_processor,
        "agentProcessorSeconds": measured.agent_processor,
        "stageSeconds": {name: sample.summary() for name, sample in by_stage.items()},
        "stageProcessorSeconds": [run["processorSeconds"] for run in measured.stages],
        "collectingSeconds": collecting.summary(),
        "agentPeakBytes": measured.agent_peak,
        "agentBytes": measured.agent_now,
        "switchBytes": measured.switch_memory,
    }
    if measured.changes:
        change, lowest = Sample(values=measured.changes), Sample(values=measured.change_floor)
        report.table(
            f"One endpoint replaced, {len(measured.changes)} times: from the watch event's sending to the commit",
            ("", "median", "p99", "max", "median / floor"),
            [
                (
                    name, seconds(sample.median), seconds(sample.p99), seconds(max(sample.values)),
                    f"{sample.median / lowest.median:.1f}",
                )
                for name, sample in (("floor: the switch alone, the same message", lowest), ("agent", change))
            ],
        )  # fmt: skip
        results |= {"changeSeconds": change.summary(), "changeFloorSeconds": lowest.summary()}
    report.results |= results


def main(
    services: Annotated[int, typer.Option(min=1, max=100_000, help="Services, each of one port.")] = 10_000,
    endpoints: Annotated[int, typer.Option(min=1, max=1000, help="Endpoints of each Service.")] = 10,
    runs: Annotated[int, typer.Option(min=1, help="How often everything is measured, in turn.")] = 3,
    changes: Annotated[int, typer.Option(min=0, help="Single changes to measure in the last run.")] = 200,
    output: Annotated[Path, typer.Option(help="Where to write the results as JSON.", dir_okay=False)] = Path(
        "build/bench/cold_start.json"
    ),
) -> None:
    """Measure the agent's cold start and single changes against the switch alone. Needs root."""
    report = Report()
    try:
        workload = Workload(services=services, endpoints=endpoints)
        asyncio.run(_until_terminated(benchmark(workload, runs=runs, changes=changes, report=report)))
    except BenchmarkError as error:
        report.console.print(f"cold_start: {error}", style="red", markup=False)
        raise typer.Exit(1) from error
    except asyncio.CancelledError as error:
        report.console.print("cold_start: interrupted; nothing is left behind", style="red")
        raise typer.Exit(130) from error
    report.write(output)


async def _until_terminated(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work ends, or take it down in good order when asked to (Ctrl-C, SIGTERM)."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task


if __name__ == "__main__":
    typer.run(main)
