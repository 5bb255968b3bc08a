"""The real agent as a process of its own, watched from outside: its log, its API and its memory."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.sandbox import BenchmarkError, child
from benchmarks.workload import NODE_NAME

SYNCHRONISED: Final = b"the switch is synchronised"
PATIENCE: Final = 300.0
"""Seconds for the first synchronisation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A running agent."""

    process: Process
    run_dir: Path
    log: Path
    first_synchronisation: asyncio.Future[float] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    async def synchronised(self) -> float:
        """Wait until it says that the switch holds all; return when (Unix time)."""
        try:
            return await asyncio.wait_for(asyncio.shield(self.first_synchronisation), PATIENCE)
        except TimeoutError as error:
            raise BenchmarkError(f"the agent was not ready within {PATIENCE:.0f} s: {self.log.read_text()}") from error

    async def status(self) -> dict[str, Any]:
        """Ask for /v1/status."""
        connector = aiohttp.UnixConnector(path=str(self.run_dir / "api.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://agent/v1/status") as response,
        ):
            answer: dict[str, Any] = await response.json()
            return answer

    async def read_log(self) -> None:
        """Keep the log, and note when the first synchronisation is told."""
        assert self.process.stderr is not None
        with self.log.open("wb") as log:
            while line := await self.process.stderr.readline():
                if SYNCHRONISED in line and not self.first_synchronisation.done():
                    self.first_synchronisation.set_result(time.time())
                log.write(line)
                log.flush()
        if not self.first_synchronisation.done():
            self.first_synchronisation.set_exception(BenchmarkError(f"the agent ended early: {self.log.read_text()}"))
            self.first_synchronisation.exception()  # marks it as seen: nobody may be waiting any more


@contextlib.asynccontextmanager
async def running_agent(directory: Path, *, ovs_run_dir: Path, kubeconfig: Path) -> AsyncIterator[Agent]:
    """Run the agent while the block runs, with its files in a new directory."""
    config = _configured(directory, ovs_run_dir)
    reading: asyncio.Task[None] | None = None
    try:
        async with child(
            str(Path(sys.executable).with_name("antrea-proxy")), "agent", "--config", str(config),
            "--node-name", NODE_NAME, "--kubeconfig", str(kubeconfig), stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            agent = Agent(process=process, run_dir=directory, log=directory / "agent.log")
            reading = asyncio.create_task(agent.read_log(), name="the agent's log")
            yield agent
    finally:
        if reading is not None:
            await reading


def _configured(directory: Path, ovs_run_dir: Path) -> Path:
    directory.mkdir()
    config = directory / "antrea-agent.conf"
    config.write_text(
        f"ovsRunDir: {ovs_run_dir}\n"
        f"cniSocket: {directory}/cni.sock\n"
        "ovsDatapathType: netdev\n"
        "trafficEncapMode: encap\n"
        "apiPort: 0\n"
    )
    return config
