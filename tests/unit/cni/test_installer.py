"""The plugin as one file, where a container runtime looks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("antrea-proxy"))


def install(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Install below a directory."""
    where = ("--bin-dir", str(tmp_path / "bin"), "--conf-dir", str(tmp_path / "net.d"))
    return subprocess.run((COMMAND, "install-cni", *where, *words), capture_output=True, text=True, check=False)


def test_the_plugin_runs_by_the_nodes_own_python_and_answers(tmp_path: Path) -> None:
    """Without this project's packages; a second installation replaces the first."""
    for _ in range(2):
        assert install(tmp_path).returncode == 0
    plugin = tmp_path / "bin" / "antrea-proxy-cni"
    environment = {"PATH": os.environ["PATH"], "CNI_COMMAND": "VERSION"}
    done = subprocess.run(
        [plugin], input='{"cniVersion": "1.0.0"}', env=environment, capture_output=True, text=True, check=True
    )
    assert "1.0.0" in json.loads(done.stdout)["supportedVersions"]
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["10-antrea.conflist", "antrea-proxy-cni"]
    configured = json.loads((tmp_path / "net.d" / "10-antrea.conflist").read_text())
    assert configured["plugins"] == [{"type": "antrea-proxy-cni"}]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "is no JSON"),
        ('{"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "bridge"}]}', "plugins[0].type must be"),
        ('{"name": "a", "plugins": [{"type": "antrea-proxy-cni"}]}', "cniVersion is missing"),
    ],
)
def test_a_configuration_that_would_start_no_pod_is_refused_and_nothing_written(
    tmp_path: Path, text: str, complaint: str
) -> None:
    """The kubelet would tell it of every Pod, and the Node would be NotReady."""
    given = tmp_path / "antrea-cni.conflist"
    given.write_text(text)
    done = install(tmp_path, "--conflist", str(given))
    assert done.returncode == 1
    assert complaint in done.stderr
    assert str(given) in done.stderr
    assert not list(tmp_path.glob("*/*"))


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With what to look at."""
    (tmp_path / "bin").write_text("a file")
    done = install(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path}/bin/antrea-proxy-cni cannot be written" in done.stderr
