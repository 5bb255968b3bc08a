"""An agent is replaced by one of another version, newer and then older again, while traffic goes on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import antrea_proxy
from lab_cluster import PROGRAM, Cluster, wait_until
from lab_stage import Stage, ask_agent, synchronisations
from lab_traffic import unharmed

NODE = "node-1"
NEWER = "99.0.0"
CHANGES = {
    "__init__.py": ('__version__ = "', f'__version__ = "{NEWER}+'),
    "pipeline/registers.py": ("MOST_REFUSALS: Final = 3", "MOST_REFUSALS: Final = 2"),
    "cni/ipam.py": ("_STATE_VERSION = 1", "_STATE_VERSION = 2"),
}
"""What the newer version has otherwise: flows in the switch, and the file of the Node's addresses."""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command antrea-proxy of a newer version."""
    place = tmp_path_factory.mktemp("newer")
    package = place / "antrea_proxy"
    shutil.copytree(Path(antrea_proxy.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in CHANGES.items():
        text = (package / name).read_text()
        assert old in text, f"{name} is another than this test knows"
        (package / name).write_text(text.replace(old, new))
    program = place / "antrea-proxy"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(place)!r})\n"
        "from antrea_proxy.cli.main import app\nsys.exit(app())\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def own_version_again(cluster: Cluster) -> Iterator[None]:
    """Whatever happens, the lab's own agent runs on the Node after the test."""
    yield
    cluster.lab("restart", "agent", NODE, "--program", PROGRAM)


@pytest.mark.usefixtures("own_version_again")
def test_no_connection_new_or_old_is_harmed_by_an_upgrade_or_a_downgrade(
    cluster: Cluster, stage: Stage, namespace: str, newer: Path
) -> None:
    own = _version(cluster)
    addresses = stage.service("versions", endpoints=len(stage.nodes))
    before, starts = _addresses_given(cluster), len(synchronisations(cluster, NODE))
    with unharmed(stage.clients[NODE], addresses, stage.servers):
        for program, version in ((newer, f"{NEWER}+{own}"), (PROGRAM, own)):
            cluster.lab("restart", "agent", NODE, "--program", str(program))
            wait_until(lambda version=version: _version(cluster) == version, f"version {version} runs")  # type: ignore[misc]
            wait_until(lambda: ask_agent(cluster, NODE, "/v1/status")["phase"] == "running", "it is at work")
    assert all(synchronisations(cluster, NODE)[starts:]), "each has flows that the other has not"
    # The older version cannot read the newer one's file, and finds out from the switch who has which address.
    cluster.run_pod(namespace, "later", node=NODE)
    assert not before & {entry["ip"] for entry in cluster.get("pod", "-n", namespace, "later")["status"]["podIPs"]}
    stage.remove("versions")


def _version(cluster: Cluster) -> str:
    return str(ask_agent(cluster, NODE, "/v1/status")["version"])


def _addresses_given(cluster: Cluster) -> set[str]:
    pods = cluster.get("pods", "-A", f"--field-selector=spec.nodeName={NODE}")["items"]
    return {entry["ip"] for pod in pods for entry in pod["status"].get("podIPs", [])}


def test_a_program_that_is_none_is_refused_and_the_agent_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    pid = _agent_pid(cluster)
    for words, why in (
        (("agent", NODE, "--program", str(tmp_path / "none")), "there is no such program"),
        (("switch", NODE, "--program", PROGRAM), "--program is for the agent"),
    ):
        done = cluster.lab("restart", *words, check=False)
        assert done.returncode == 2
        assert why in done.stderr
    assert _agent_pid(cluster) == pid


def _agent_pid(cluster: Cluster) -> int:
    (pid,) = (entry["agent"]["pid"] for entry in cluster.status()["nodes"] if entry["name"] == NODE)
    return int(pid)
