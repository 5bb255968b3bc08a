"""A pytest plugin for the virtual machine: each outcome as a line of JSON in the folder that the machine shares."""

import json
from pathlib import Path

import pytest

RESULTS = Path("/vmio/results.jsonl")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write what the test is called, what became of this phase of it, how long it took and why it failed."""
    line = {
        "test": report.nodeid,
        "phase": report.when,
        "outcome": report.outcome,
        "seconds": report.duration,
        "why": report.longreprtext,
    }
    with RESULTS.open("a") as results:
        results.write(json.dumps(line) + "\n")
