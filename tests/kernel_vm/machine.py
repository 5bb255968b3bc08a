"""Run part of the lab suite in the virtual machine of `kernel-vm`, once, and tell what became of each of its tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB_TESTS = "tests/lab"
GUEST_TESTS = "tests/kernel_vm/guest_leaving_kube_proxy.py"
"""What can be tested in the machine alone; pytest finds it by this name only."""
STOP_SECONDS = 20.0
DATAPATH = {"ANTREA_PROXY_TEST_DATAPATH": "system"}
PATIENCE = 10
"""Times slower than a real one may the emulated machine be (seen: 10 to 20 for what computes, less for the rest)."""
TEST_SECONDS = 600
"""For one test in the machine, its share of fixtures included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one test in the machine; `why` is empty if it passed."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One boot of the machine: pytest's exit status in it, the outcome of each test, and all that was printed."""

    status: int
    output: str
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)


def selection(*, full: bool) -> Sequence[str]:
    """Tell pytest what runs in the machine: of the lab's tests those marked `kernel`; with `full` `cluster_ip`, too."""
    return LAB_TESTS, GUEST_TESTS, "-m", "kernel or cluster_ip" if full else "kernel"


def collect(*, full: bool) -> Sequence[str]:
    """Name the selected tests as pytest does, without running them. RuntimeError says why that cannot be."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *selection(full=full)]
    environment = dict(os.environ) | DATAPATH
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} collects nothing:\n{answer.stdout}{answer.stderr}")
    return [line for line in answer.stdout.splitlines() if "::" in line]


def run(share: Path, *, full: bool, progress: Callable[[str], object]) -> Run:
    """Boot, run the selection on the datapath `system`, and pass each line to `progress` as it comes.

    On an interrupt the machine is stopped before the exception goes on.
    """
    settings = ["env", f"ANTREA_PROXY_TEST_PATIENCE={PATIENCE}", *(f"{key}={value}" for key, value in DATAPATH.items())]
    pytest = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "kernel_vm.guest_report"]
    inner = [*settings, *pytest, f"--timeout={TEST_SECONDS}", *selection(full=full)]
    # A machine nobody listens to any more would go on until its time is up: it ends with us, whatever ends us.
    command = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        str(Path(__file__).with_name("kernel-vm")),
        "--share",
        str(share),
        *inner,
    ]
    environment = dict(os.environ) | {"KERNEL_VM_TIME": "5400" if full else "1800"}
    lines = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as machine:
        assert machine.stdout is not None
        try:
            for line in machine.stdout:
                lines.append(line)
                progress(line)
        except BaseException:
            machine.send_signal(signal.SIGTERM)
            machine.wait(STOP_SECONDS)
            raise
    return Run(status=machine.returncode, output="".join(lines), outcomes=read_outcomes(share / "results.jsonl"))


def read_outcomes(results: Path) -> Mapping[str, Outcome]:
    """Join the phases of each test: their times add up, and the first failure is why."""
    outcomes: dict[str, Outcome] = {}
    lines: Iterable[str] = results.read_text().splitlines() if results.exists() else ()
    for line in lines:
        phase = json.loads(line)
        before = outcomes.get(phase["test"], Outcome(seconds=0.0, why=""))
        why = "" if phase["outcome"] == "passed" else f"{phase['outcome']} in {phase['phase']}\n{phase['why']}"
        outcomes[phase["test"]] = Outcome(seconds=before.seconds + phase["seconds"], why=before.why or why)
    return outcomes
