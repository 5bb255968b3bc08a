"""Close a test run: the stages with their times, the slowest tests, one line of totals, and the exit status of all."""  # noqa: INP001 - a script, run by its path

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

SLOWEST = 10
NOTHING_COLLECTED = 5  # pytest's exit status; a stage that -k leaves empty has not failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one line of the stages file says."""

    name: str
    status: int
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether nothing in this stage went wrong."""
        return self.status in (0, NOTHING_COLLECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test of a JUnit report."""

    name: str
    outcome: str
    seconds: float


def read_stages(reports: Path) -> list[Stage]:
    """Read the lines `name TAB exit status TAB seconds` that script/test wrote."""
    lines = (reports / "stages").read_text().splitlines()
    fields = [line.split("\t") for line in lines]
    return [Stage(name=name, status=int(status), seconds=float(seconds)) for name, status, seconds in fields]


def read_cases(reports: Path) -> list[Case]:
    """Read every test of every JUnit report in the folder."""
    outcomes = {"failure": "failed", "error": "error", "skipped": "skipped"}
    cases = []
    for report in sorted(reports.glob("*.xml")):
        for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it a moment ago
            outcome = next((outcomes[child.tag] for child in case if child.tag in outcomes), "passed")
            name = f"{case.get('classname', '').removeprefix('tests.')}::{case.get('name', '')}"
            cases.append(Case(name=name, outcome=outcome, seconds=float(case.get("time", "0"))))
    return cases


def main(reports: Path, seconds: float) -> int:
    """Print the summary of the reports in this folder, of a run that took so long; the result is the exit status."""
    stages, cases = read_stages(reports), read_cases(reports)
    write = sys.stdout.write
    write("\n==> summary\n")
    for case in sorted(cases, key=lambda case: -case.seconds)[:SLOWEST]:
        write(f"  {case.seconds:7.2f} s  {case.name}\n")
    for case in cases:
        if case.outcome in ("failed", "error"):
            write(f"  {case.outcome.upper()} {case.name}\n")
    for stage in stages:
        verdict = "ok" if stage.passed else f"FAILED ({stage.status})"
        write(f"  {stage.name:<12} {stage.seconds:7.1f} s  {verdict}\n")
    counts = Counter(case.outcome for case in cases)
    parts = [f"{counts[outcome]} {outcome}" for outcome in ("failed", "passed", "skipped", "error") if counts[outcome]]
    parts += [f"stage {stage.name} failed" for stage in stages if not stage.passed]
    line = f" {', '.join(parts) or 'no tests ran'} in {seconds:.2f}s ({int(seconds) // 60}:{int(seconds) % 60:02}) "
    write(f"{line:=^100}\n")
    return 0 if cases and all(stage.passed for stage in stages) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2])))
