"""The command as a whole, as a user first meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("antrea-proxy")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment, timeout=60
    )


def test_help_names_every_command_and_shows_examples() -> None:
    answer = run("--help")
    assert answer.returncode == 0
    for word in ("agent", "lab", "get", "trace", "config", "pod-server", "Examples:", "antrea-proxy lab up"):
        assert word in answer.stdout


def test_version_is_printed() -> None:
    assert run("--version").stdout.startswith("antrea-proxy 0.")


def test_an_unknown_command_is_a_usage_error_that_names_it() -> None:
    answer = run("labb")
    assert answer.returncode == 2
    assert "labb" in answer.stderr


@pytest.mark.parametrize(("words", "completed"), [("antrea-proxy la", "lab"), ("antrea-proxy lab re", "restart")])
def test_the_shell_completes_commands_and_verbs(words: str, completed: str) -> None:
    count = str(len(words.split()) - 1)
    answer = run(_ANTREA_PROXY_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=count)
    assert completed in answer.stdout.split()
