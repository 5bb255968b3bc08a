"""One file with what somebody else needs to see of a Node."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

from api_server import running_api
from worlds import WORLD

COMMAND = str(Path(sys.executable).with_name("antrea-proxy"))


def bundle(*words: str) -> subprocess.CompletedProcess[str]:
    """Run it."""
    return subprocess.run((COMMAND, "support-bundle", *words), capture_output=True, text=True, check=False, timeout=60)


def test_it_holds_what_the_agent_shows_and_names_what_is_missing(tmp_path: Path) -> None:
    """No switch is where this agent says; its owner alone may read the file."""
    made = tmp_path / "made.tar.gz"
    with running_api(tmp_path, WORLD.status()) as api:
        done = bundle("--socket", str(api.socket_path), "--output", str(made))
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    with tarfile.open(made) as archive:
        files = {item.name: archive.extractfile(item).read().decode() for item in archive}  # type: ignore[union-attr]
    for name in ("status", "config", "services", "endpoints", "flows", "groups", "nodes", "pods"):
        assert json.loads(files[f"antrea-proxy/{name}.json"]), name
    assert "default" in files["antrea-proxy/services.json"]
    for line in files["antrea-proxy/missing.txt"].splitlines():
        assert f"missing: {line}" in done.stderr


def test_without_an_agent_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made.tar.gz"
    done = bundle("--socket", str(tmp_path / "api.sock"), "--output", str(made))
    assert done.returncode == 1
    assert "no agent answers" in done.stderr
    assert not made.exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with running_api(tmp_path, WORLD.status()) as api:
        done = bundle("--socket", str(api.socket_path), "--output", str(tmp_path / "no" / "made.tar.gz"))
    assert done.returncode == 1
    assert f"{tmp_path}/no/made.tar.gz: No such file or directory" in done.stderr
