"""Where a benchmark runs: in nameless network namespaces, with children that cannot outlive it.

The kernel removes a nameless namespace with its last process, and kills the children with the benchmark
(PR_SET_PDEATHSIG), so that nothing is left whatever ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from antrea_proxy.lab.spawner import be_nice

CLONE_NEWNET: Final = 0x40000000
PATIENCE: Final = 15.0
"""Seconds for a child to come up or to end."""


class BenchmarkError(Exception):
    """The benchmark cannot be run, or something in it went wrong; says what."""


def fresh_network() -> None:
    """Take this process, and all that it starts from now on, into a new network namespace with an uplink.

    To be called from the main thread: the children inherit its namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise BenchmarkError(f"a network namespace cannot be made: {os.strerror(ctypes.get_errno())}; are you root?")
    for command in (
        "link set lo up",
        "link add eth0 type veth peer name nobody",
        "addr add 172.16.0.1/12 dev eth0",
        "link set nobody up",
        "link set eth0 up",
    ):
        run("ip", *command.split())


def run(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return its output. Raises BenchmarkError with its words if it fails."""
    done = subprocess.run(
        command, env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout


@contextlib.asynccontextmanager
async def child(
    *command: str,
    environment: Mapping[str, str] | None = None,
    stdout: int | None = subprocess.DEVNULL,
    stderr: int | None = subprocess.DEVNULL,
    niceness: int = 0,
) -> AsyncIterator[Process]:
    """Run a program while the block runs; then it is asked to end, and killed if it does not."""
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", *command,
        env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
        start_new_session=True, preexec_fn=partial(be_nice, niceness) if niceness else None,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()


def memory(pid: int) -> dict[str, int]:
    """Return VmHWM and VmRSS of a process in bytes: the most it ever had in memory, and what it has now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS")}


def processor_seconds(pid: int) -> float:
    """Return how long a process has kept processors busy, in its own code and in the kernel; steps of some 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def until_exists(path: Path, process: Process) -> None:
    """Wait for a file that a child makes. Raises BenchmarkError if the child ends before, or takes too long."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not os.access(path, os.F_OK):
        if process.returncode is not None:
            raise BenchmarkError(f"{path} was never made: its maker ended with {process.returncode}")
        if asyncio.get_running_loop().time() > deadline:
            raise BenchmarkError(f"{path} was not made within {PATIENCE:.0f} s")
        await asyncio.sleep(0.01)
