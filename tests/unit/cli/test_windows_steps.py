"""`antrea-proxy windows-steps`: what it writes for manifests, and what it says of what it cannot write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
