"""docs/reference/commands.md is what the commands say of themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_of_commands_is_made_from_the_commands_as_they_are() -> None:
    """Else script/reference was forgotten."""
    words = [sys.executable, str(ROOT / "script" / "lib" / "commands.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (ROOT / "docs" / "reference" / "commands.md").read_text() == done.stdout
