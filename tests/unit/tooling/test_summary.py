"""The closing words and the exit status of script/test."""

import subprocess
import sys
from pathlib import Path

SUMMARY = Path(__file__).resolve().parents[3] / "script" / "lib" / "summary.py"
PASSED = '<testcase classname="tests.unit.a" name="test_good" time="0.5"/>'
FAILED = '<testcase classname="tests.lab.b" name="test_bad" time="2.5"><failure message="no">no</failure></testcase>'


def summary(reports: Path, *, stages: list[tuple[str, int]], **cases: str) -> subprocess.CompletedProcess[str]:
    """Summarise a run of these stages, each with an exit status, and the test cases of their reports."""
    (reports / "stages").write_text("".join(f"{name}\t{status}\t1.5\n" for name, status in stages))
    for name, text in cases.items():
        (reports / f"{name}.xml").write_text(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
    return subprocess.run([sys.executable, SUMMARY, reports, "3.0"], capture_output=True, text=True, check=False)


def test_a_run_without_failures_ends_with_0_and_its_counts(tmp_path: Path) -> None:
    done = summary(tmp_path, stages=[("lint", 0), ("unit", 0)], unit=PASSED)
    assert done.returncode == 0
    assert " 1 passed in 3.00s (0:03) " in done.stdout.splitlines()[-1]


def test_one_failed_test_fails_the_run_and_is_named(tmp_path: Path) -> None:
    done = summary(tmp_path, stages=[("unit", 0), ("lab", 1)], unit=PASSED, lab=FAILED)
    assert done.returncode == 1
    assert "FAILED lab.b::test_bad" in done.stdout
    assert "1 failed, 1 passed, stage lab failed" in done.stdout.splitlines()[-1]


def test_a_stage_that_is_no_test_fails_the_run_too(tmp_path: Path) -> None:
    assert summary(tmp_path, stages=[("lint", 1), ("unit", 0)], unit=PASSED).returncode == 1


def test_a_stage_that_a_filter_left_empty_fails_nothing(tmp_path: Path) -> None:
    assert summary(tmp_path, stages=[("unit", 0), ("lab", 5)], unit=PASSED).returncode == 0


def test_a_run_without_a_single_test_is_no_success(tmp_path: Path) -> None:
    assert summary(tmp_path, stages=[("unit", 5)]).returncode == 1


def test_the_slowest_tests_come_first(tmp_path: Path) -> None:
    done = summary(tmp_path, stages=[("unit", 0), ("lab", 1)], unit=PASSED, lab=FAILED)
    assert done.stdout.index("2.50 s  lab.b::test_bad") < done.stdout.index("0.50 s  unit.a::test_good")
