"""Changes of Services, steady, in bursts and beside a noisy one: `python -m benchmarks.changes`. See README.md."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from antrea_proxy.kubernetes.kinds import ENDPOINT_SLICES
from benchmarks.agent import Agent, running_agent
from benchmarks.api_server import StaticApiServer, running_api_server
from benchmarks.commit_times import CommitTimes, commits_noted
from benchmarks.report import Report, Sample, seconds
from benchmarks.sandbox import fresh_network, processor_seconds
from benchmarks.switch import running_switch
from benchmarks.workload import ENDPOINT_PORT, Workload, watch_line

SETTLING: Final = 2.0
"""Seconds after the first synchronisation in which the agent finishes with the Node's own network stack."""

RATE: Final = 100
"""Changes a second, each of another Service."""

BURST: Final = 1000
"""Services that change at once, as in a rolling restart."""

BURSTS: Final = 5
NEIGHBOURS_RATE: Final = 25
NOISE_RATE: Final = 500
"""Changes a second of the noisy Service, in tens."""

NOISE_AT_ONCE: Final = 10


@dataclass(frozen=True, slots=True)
class Change:
    """One endpoint of a Service replaced: the watch's line, and what the switch is told of it."""

    line: bytes
    endpoint: bytes


@dataclass(slots=True)
class Measured:
    """What a run of changes took: seconds of each until its commit, and bundles, messages and processor time of all."""

    taken: list[float] = field(default_factory=list)
    bundles: int = 0
    messages: int = 0
    processor: float = 0.0


class Changes:
    """Sends changes to a running agent, and reads from the tap when each has taken effect."""

    def __init__(self, workload: Workload, server: StaticApiServer, times: CommitTimes, agent: Agent) -> None:
        self._workload = workload
        self._server = server
        self._times = times
        self._agent = agent
        self._versions = count(2)

    async def steady(self, services: Sequence[int], *, rate: float) -> Measured:
        """Change one Service after the other, so many a second."""
        changes = [self._change(service) for service in services]
        return await self._measure(self._sent_steadily(changes, rate))

    async def burst(self, services: Sequence[int]) -> Measured:
        """Change all these Services in one piece of the watch."""
        return await self._measure(self._sent_at_once([self._change(service) for service in services]))

    async def beside_noise(self, services: Sequence[int], *, rate: float, noisy: int) -> Measured:
        """Do what `steady` does while another Service changes all the time."""
        pieces = [
            b"".join(self._change(noisy).line for _ in range(NOISE_AT_ONCE))
            for _ in range(int(len(services) / rate * NOISE_RATE / NOISE_AT_ONCE))
        ]
        noise = asyncio.create_task(self._make_noise(pieces))
        try:
            return await self.steady(services, rate=rate)
        finally:
            noise.cancel()

    def _change(self, service: int) -> Change:
        changed = self._workload.slice(service, version=next(self._versions), moved=1)
        address = IPv4Address(changed["endpoints"][-1]["addresses"][0])
        return Change(watch_line("MODIFIED", changed), address.packed + ENDPOINT_PORT.to_bytes(2, "big"))

    async def _measure(self, sending: Any) -> Measured:  # noqa: ANN401 - a coroutine of either way to send
        before, busy = len(self._times.commits), processor_seconds(self._agent.process.pid)
        sent: list[tuple[Change, float]] = await sending
        measured = Measured()
        for change, began in sent:
            commit = await self._times.until_with(change.endpoint, since=began)
            measured.taken.append(commit.at - began)
        commits = self._times.commits[before:]
        measured.bundles, measured.messages = len(commits), sum(commit.messages for commit in commits)
        measured.processor = processor_seconds(self._agent.process.pid) - busy
        return measured

    async def _sent_steadily(self, changes: Sequence[Change], rate: float) -> list[tuple[Change, float]]:
        sent: list[tuple[Change, float]] = []
        for change, due in zip(changes, _beats(rate), strict=False):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sent.append((change, await self._server.publish(ENDPOINT_SLICES.path, change.line)))
        return sent

    async def _sent_at_once(self, changes: Sequence[Change]) -> list[tuple[Change, float]]:
        lines = b"".join(change.line for change in changes)
        began = await self._server.publish(ENDPOINT_SLICES.path, lines)
        return [(change, began) for change in changes]

    async def _make_noise(self, pieces: Sequence[bytes]) -> None:
        for piece, due in zip(pieces, _beats(NOISE_RATE / NOISE_AT_ONCE), strict=False):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._server.publish(ENDPOINT_SLICES.path, piece)


def _beats(rate: float) -> Iterator[float]:
    """Give times of the monotonic clock, so many a second, from now on."""
    began = time.monotonic()
    return (began + number / rate for number in count())


async def measure(workload: Workload, directory: Path, *, duration: float) -> dict[str, Measured]:
    """Bring a cluster into a switch, and change it in each way for so many seconds."""
    fresh_network()
    async with (
        running_api_server(workload.lists(), directory / "kubeconfig") as server,
        running_switch(directory / "ovs") as switch,
        commits_noted(switch, directory / "tap") as times,
        running_agent(directory / "agent", ovs_run_dir=directory / "tap", kubeconfig=directory / "kubeconfig") as agent,
    ):
        await agent.synchronised()
        await asyncio.sleep(SETTLING)
        changes = Changes(workload, server, times, agent)
        spread = [number * 7 % (workload.services - 1) + 1 for number in range(int(RATE * duration))]
        few = spread[: int(NEIGHBOURS_RATE * duration)]
        found = {
            f"{RATE} a second, each of another Service": await changes.steady(spread, rate=RATE),
            f"{NEIGHBOURS_RATE} a second": await changes.steady(few, rate=NEIGHBOURS_RATE),
            f"the same beside {NOISE_RATE} a second of one noisy Service": await changes.beside_noise(
                few, rate=NEIGHBOURS_RATE, noisy=0
            ),
        }
        size = min(BURST, workload.services)
        bursts = [await changes.burst(range(size)) for _ in range(BURSTS)]
        found[f"{BURSTS} bursts of {size} Services at once"] = Measured(
            taken=[taken for burst in bursts for taken in burst.taken],
            bundles=sum(burst.bundles for burst in bursts),
            messages=sum(burst.messages for burst in bursts),
            processor=sum(burst.processor for burst in bursts),
        )
        return found


def show(size: str, found: dict[str, Measured], report: Report) -> None:
    """Print a cluster's table, and note the results."""
    report.table(
        f"One endpoint of a Service replaced, {size}: from the watch event's sending to the commit's answer",
        ("", "changes", "median", "p99", "max", "bundles", "messages", "agent's processor time each"),
        [
            (
                name, str(len(one.taken)), seconds(Sample(values=one.taken).median),
                seconds(Sample(values=one.taken).p99), seconds(max(one.taken)), str(one.bundles), str(one.messages),
                seconds(one.processor / len(one.taken)),
            )
            for name, one in found.items()
        ],
    )  # fmt: skip
    report.results[size] = {
        name: {
            "seconds": Sample(values=one.taken).summary(),
            "bundles": one.bundles,
            "messages": one.messages,
            "processorSeconds": one.processor,
        }
        for name, one in found.items()
    }


def main(
    services: Annotated[
        list[int], typer.Option(min=10, max=100_000, help="Services, each of one port; once for each cluster.")
    ] = [1000, 10_000],  # noqa: B006 - typer reads it, and nobody changes it
    endpoints: Annotated[int, typer.Option(min=2, max=1000, help="Endpoints of each Service.")] = 10,
    duration: Annotated[float, typer.Option(min=0.2, help="Seconds for each way to change.")] = 10.0,
    output: Annotated[Path, typer.Option(help="Where to write the results as JSON.", dir_okay=False)] = Path(
        "build/bench/changes.json"
    ),
) -> None:
    """Measure changes of single Services in clusters of several sizes. Needs root."""
    report = Report()
    with report.to_the_end("changes"):
        for number in services:
            workload = Workload(services=number, endpoints=endpoints)
            report.console.print(f"a cluster of {number} Services x {endpoints} endpoints")
            with tempfile.TemporaryDirectory(prefix="antrea-proxy-bench-") as directory:
                found = asyncio.run(measure(workload, Path(directory), duration=duration))
            show(f"{number} Services x {endpoints} endpoints", found, report)
        report.write(output)


if __name__ == "__main__":
    typer.run(main)
