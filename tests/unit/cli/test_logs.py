"""What the agent's log looks like, by where it goes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from antrea_proxy.cli.logs import configure_logs


@pytest.fixture(autouse=True)
def own_configuration() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def lines(path: Path, monkeypatch: pytest.MonkeyPatch, *, journal: bool) -> list[str]:
    """Log one event of each level, and one below the level that is asked for."""
    with path.open("w") as stream:
        place = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{place.st_dev}:{place.st_ino + (not journal)}")
        monkeypatch.setattr(sys, "stderr", stream)
        configure_logs("info")
        log = structlog.get_logger()
        log.debug("not asked for")
        log.info("synchronised", messages=58)
        log.warning("late")
        log.error("failed", exc_info=ValueError("two\nlines"))
    return path.read_text().splitlines()


def test_lines_for_the_journal_bear_their_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines(tmp_path / "log", monkeypatch, journal=True)
    assert [line[:3] for line in found] == ["<6>", "<4>", "<3>"]
    assert found[0].startswith("<6>timestamp=")
    assert found[0].endswith("level=info event=synchronised messages=58")


def test_lines_for_anything_else_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = lines(tmp_path / "log", monkeypatch, journal=False)
    assert len(found) == 3
    assert all(line.startswith("timestamp=") for line in found)
