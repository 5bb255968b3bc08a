"""docs/procedures.md, pasted into one shell: what the page says is printed is printed."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import subprocess
from pathlib import Path

from lab_cluster import PATIENCE, PROGRAM

PAGE = Path(__file__).resolve().parents[2] / "docs" / "procedures.md"
_SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MARK = "===="


def _sections() -> dict[str, dict[str, str]]:
    """Give the block of commands, and of what they print last, of each section by its title."""
    sections = {title: dict(_BLOCK.findall(body)) for title, body in _SECTION.findall(PAGE.read_text())}
    assert len(sections) > 5
    assert all("bash" in blocks for blocks in sections.values())
    return sections


def test_every_procedure_of_the_page_does_what_it_says_when_it_is_pasted(tmp_path: Path) -> None:
    sections = _sections()
    script = "".join(f"echo; echo {shlex.quote(_MARK + title)}\n{blocks['bash']}" for title, blocks in sections.items())
    environment = {**os.environ, "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"}
    words = ["timeout", f"{90 * PATIENCE:.0f}", "bash", "-eu", "-o", "pipefail", "-c", script]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    finally:
        subprocess.run([PROGRAM, "lab", "down", "--name", "guide"], check=False, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = dict(part.split("\n", 1) for part in done.stdout.split(_MARK)[1:])
    assert printed.keys() == sections.keys()
    for title, blocks in sections.items():
        if "text" in blocks:
            last = printed[title].strip().splitlines()[-1]
            assert fnmatch.fnmatch(last, blocks["text"].strip()), f"{title}: {printed[title]}"
