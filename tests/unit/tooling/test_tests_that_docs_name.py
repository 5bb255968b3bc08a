"""The tables of docs/reference that lead from what is promised to a test: the tests exist, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from antrea_proxy.settings.feature_gates import GATES
from antrea_proxy.settings.known_keys import USED

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs/reference"


@pytest.mark.parametrize(("page", "folder", "least"), [("scenarios", "tests/lab", 40), ("procedures", "tests", 20)])
def test_every_test_that_a_table_names_exists(page: str, folder: str, least: int) -> None:
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(test_\w+))?`", (REFERENCE / f"{page}.md").read_text())
    assert len(named) > least
    for file, test in named:
        assert f"def {test or 'test_'}" in (ROOT / folder / file).read_text(), f"{file}::{test}"


def test_every_parameter_of_the_proxy_has_its_test() -> None:
    table = (REFERENCE / "procedures.md").read_text()
    missing = [key for key in USED if key.startswith("antreaProxy.") and f"| `{key}` |" not in table]
    assert not missing


def test_every_key_and_gate_that_decides_something_is_in_the_reference() -> None:
    page = (REFERENCE / "configuration.md").read_text()
    rows = set(re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE))))
    assert not USED.keys() - rows
    assert not [name for name, gate in GATES.items() if gate.used and f"`{name}`" not in page]
