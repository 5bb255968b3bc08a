"""`antrea-proxy windows-steps`: what it writes for manifests, and what it says of what it cannot write."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from antrea_proxy.cli import windows_steps
from windows_model import Windows

COMMAND = str(Path(sys.executable).with_name("antrea-proxy"))
CLUSTER = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Node, metadata: {name: win-1}, spec: {podCIDR: 10.10.1.0/24, podCIDRs: [10.10.1.0/24]},
   status: {addresses: [{type: InternalIP, address: 172.18.0.1}]}}
- {apiVersion: v1, kind: Node, metadata: {name: node-2}, spec: {podCIDR: 10.10.2.0/24, podCIDRs: [10.10.2.0/24]},
   status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}}
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec: {type: NodePort, clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10],
         ports: [{name: a, port: 80, nodePort: 30080}, {name: b, port: 81, nodePort: 30081, protocol: SCTP}]}
"""


@pytest.fixture
def manifests(tmp_path: Path) -> Path:
    directory = tmp_path / "cluster"
    directory.mkdir()
    (directory / "all.yaml").write_text(CLUSTER)
    return directory


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [COMMAND, "windows-steps", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def mappings(windows: Windows) -> set[tuple[str, str]]:
    return {(row["Protocol"], row["ExternalPort"]) for row in windows.rows["NetNatStaticMapping"]}


def test_the_steps_of_a_cluster_and_those_of_its_change(manifests: Path, tmp_path: Path) -> None:
    done = run("--node-name", "win-1", "--manifests", manifests)
    assert done.returncode == 0, done.stderr
    assert "left out: node port 30081/SCTP" in done.stderr
    windows = Windows.with_switch("antrea-gw0")
    windows.run(done.stdout.splitlines())
    assert mappings(windows) == {("TCP", "30080")}
    later = tmp_path / "later"
    later.mkdir()
    (later / "all.yaml").write_text(CLUSTER.replace("30080", "30090"))
    done = run("--node-name", "win-1", "--manifests", later, "--since", manifests)
    assert len(done.stdout.splitlines()) == 2
    windows.run(done.stdout.splitlines())
    assert mappings(windows) == {("TCP", "30090")}


def test_without_proxy_all_nothing_is_asked_for_services(manifests: Path, tmp_path: Path) -> None:
    config = tmp_path / "antrea-agent.conf"
    config.write_text("{}\n")
    done = run("--node-name", "win-1", "--manifests", manifests, "--config", config)
    assert "StaticMapping" not in done.stdout
    assert "10.10.2.0/24" in done.stdout


def test_a_node_that_is_not_there_and_a_bad_configuration_are_named(manifests: Path, tmp_path: Path) -> None:
    done = run("--node-name", "win-9", "--manifests", manifests)
    assert (done.returncode, done.stdout) == (1, "")
    assert "'win-9'" in done.stderr
    config = tmp_path / "antrea-agent.conf"
    config.write_text("trafficEncapMode: sideways\n")
    done = run("--node-name", "win-1", "--manifests", manifests, "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert "sideways" in done.stderr


@pytest.mark.parametrize("held", [False, True], ids=["wanted", "held"])
def test_manifests_with_parts_that_cannot_be_read_give_no_steps_and_each_problem_is_told_once(
    manifests: Path,
    tmp_path: Path,
    held: bool,  # noqa: FBT001 - a parameter
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "all.yaml").write_text(CLUSTER)
    (broken / "more.yaml").write_text("apiVersion: v1\n{ broken\n")
    (broken / "node.yaml").write_text("{apiVersion: v1, kind: Node, metadata: {name: node-3}, spec: {podCIDR: 3}}\n")
    (broken / "svc.yaml").write_text("{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: 80}}\n")
    (broken / "text.yaml").write_bytes(b"\xff\xfe\x00")
    given = ("--manifests", manifests, "--since", broken) if held else ("--manifests", broken)
    done = run("--node-name", "win-1", *given)
    assert (done.returncode, done.stdout) == (1, "")
    lines = sorted(done.stderr.splitlines())
    assert all(line.startswith(f"antrea-proxy: {broken}: ") for line in lines)
    told = ("Node node-3 (node.yaml, line 1): spec.podCIDR: ", "Service default/db (svc.yaml, line 1): spec.ports: ")
    assert len(lines) == 4
    for line, words in zip(lines, (*told, "more.yaml, line 3", "text.yaml: it cannot be read"), strict=True):
        assert words in line


def test_a_directory_of_manifests_that_goes_away_is_named_and_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(typer.Exit) as ended:
        asyncio.run(windows_steps._cluster(gone))
    assert ended.value.exit_code == 1
    assert f"{gone}: No such file or directory" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_read_is_named_with_the_reason(manifests: Path, tmp_path: Path) -> None:
    no_text = tmp_path / "antrea-agent.conf"
    no_text.write_bytes(b"\xff\xfe\x00")
    unreadable = Path("/proc/self/mem")  # its first byte is no memory, for nobody
    for config, reason in ((no_text, "byte 0 is no UTF-8 text"), (unreadable, "Input/output error")):
        done = run("--node-name", "win-1", "--manifests", manifests, "--config", config)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"antrea-proxy: {config}: {reason}")
        assert len(done.stderr.splitlines()) == 1


def test_its_help_says_what_its_exit_code_means() -> None:
    words = " ".join(run("--help").stdout.split())
    assert "Exit code: 0, or 1, without any step, if the configuration or a part of the manifests cannot" in words


def test_what_is_wrong_with_a_service_is_told_and_the_rest_of_it_written(manifests: Path) -> None:
    (manifests / "all.yaml").write_text(CLUSTER.replace("port: 80,", "port: 70000,"))
    done = run("--node-name", "win-1", "--manifests", manifests)
    assert done.returncode == 0
    assert done.stderr.count("Service shop/web: spec.ports[0].port: 70000: must be 1 to 65535") == 1
    assert "10.10.2.0/24" in done.stdout
    assert "30080" not in done.stdout
