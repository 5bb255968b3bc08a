"""The image of deploy/Dockerfile, built and run without a container engine: its init container, and a Node's agent."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from lab_cluster import PROGRAM, Cluster, JsonObject
from lab_stage import Stage, ask_agent
from lab_traffic import steady

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
NAME = "localhost/antrea-proxy:tested"
BUILDAH = ("buildah", "--root", f"{ROOT}/build/image/storage", "--runroot", f"{ROOT}/build/image/run")
NODE = "node-1"


def buildah(*words: str) -> str:
    command = [*BUILDAH, "--storage-driver", "vfs", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    """The file system of a container of the image."""
    subprocess.run([ROOT / "script" / "image", NAME], check=True)
    container = buildah("from", "--pull-never", NAME)
    try:
        yield Path(buildah("mount", container))
    finally:
        buildah("rm", container)


@pytest.fixture(scope="module")
def manifest() -> list[JsonObject]:
    """The objects of the plain manifest."""
    return list(yaml.safe_load_all((ROOT / "deploy" / "antrea-proxy.yaml").read_text()))


def contained(image: Path, command: Sequence[str], mounts: Mapping[str, Path]) -> list[str]:
    """Give the words that run a command in the image, on the network that they are run in.

    `mounts` is what lies where in it, beside /proc, /sys and /dev. What is mounted there later is seen, too, as with
    `mountPropagation: HostToContainer`.
    """
    lines = []
    for inside, outside in {"/proc": Path("/proc"), "/sys": Path("/sys"), "/dev": Path("/dev"), **mounts}.items():
        target = shlex.quote(f"{image}{inside}")
        lines.append(f"mkdir -p {target} && mount --rbind {shlex.quote(str(outside))} {target}")
    path = "PATH=/opt/antrea-proxy/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    lines.append(f'exec chroot {shlex.quote(str(image))} env {path} {shlex.join(command)} "$@"')
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-ec", "\n".join(lines), "sh"]


def test_the_init_container_of_the_manifest_installs_a_plugin_that_the_nodes_own_python_runs(
    image: Path, manifest: list[JsonObject], tmp_path: Path
) -> None:
    (daemon_set,) = (item for item in manifest if item["kind"] == "DaemonSet")
    (config_map,) = (item for item in manifest if item["kind"] == "ConfigMap")
    spec = daemon_set["spec"]["template"]["spec"]
    (container,) = spec["initContainers"]
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {}
    for mount in container["volumeMounts"]:
        mounts[mount["mountPath"]] = outside = tmp_path / mount["name"]
        outside.mkdir()
        if "configMap" in volumes[mount["name"]]:
            for key, text in config_map["data"].items():
                (outside / key).write_text(text)
    done = subprocess.run(contained(image, container["command"], mounts), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in mounts["/host/etc/cni/net.d"].iterdir()] == ["10-antrea.conflist"]
    (plugin,) = mounts["/host/opt/cni/bin"].iterdir()
    answered = subprocess.run(
        [plugin],
        check=True,
        capture_output=True,
        text=True,
        input='{"cniVersion": "1.1.0"}',
        env={"CNI_COMMAND": "VERSION", "PATH": os.environ["PATH"]},
    )
    assert "1.1.0" in json.loads(answered.stdout)["supportedVersions"]


@pytest.fixture
def contained_agent(image: Path, cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """The command that runs the agent of the image; the lab's own runs again after the test."""
    program = tmp_path / "antrea-proxy"
    # The lab has its Nodes' sockets and files below /run, as a Node has them.
    words = contained(image, ["antrea-proxy"], {"/run": Path("/run")})
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    yield program
    cluster.lab("restart", "agent", NODE, "--program", PROGRAM)


def test_a_node_runs_with_the_agent_of_the_image(
    image: Path, cluster: Cluster, stage: Stage, namespace: str, contained_agent: Path
) -> None:
    addresses = stage.service("contained", endpoints=len(stage.nodes))
    client = stage.clients[NODE]
    with steady(client, "tcp", (addresses[0], 80)) as tcp, steady(client, "udp", (addresses[1], 80)) as udp:
        cluster.lab("restart", "agent", NODE, "--program", str(contained_agent))
        tallies = tcp.result(), udp.result()
    for tally in tallies:
        assert not tally.failed
        assert set(tally.answers) == set(stage.servers)
    (pid,) = (entry["agent"]["pid"] for entry in cluster.status()["nodes"] if entry["name"] == NODE)
    assert Path(f"/proc/{pid}/root").readlink() == image
    cluster.run_pod(namespace, "wired", node=NODE)
    assert cluster.pod(namespace, "wired").get(addresses[0], 80) in stage.servers
    assert ask_agent(cluster, NODE, "/v1/status")["phase"] == "running"
    stage.remove("contained")
