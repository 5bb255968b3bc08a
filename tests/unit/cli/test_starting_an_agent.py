"""How `antrea-proxy agent` answers to the words it is given, before it touches anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("antrea-proxy"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "antrea-agent.conf"
    path.write_text(f"cniSocket: {tmp_path}/run/cni.sock\novsRunDir: {tmp_path}\n")
    return path


def agent(*words: str) -> tuple[int, str]:
    """Run it; return its exit code and what it says."""
    done = subprocess.run((COMMAND, "agent", *words), capture_output=True, text=True, check=False, timeout=30)
    return done.returncode, done.stdout + done.stderr


def test_its_help_has_examples() -> None:
    code, words = agent("--help")
    assert code == 0
    assert "antrea-proxy agent --cleanup --config" in words


def test_an_api_server_and_a_directory_of_manifests_exclude_each_other(config: Path, tmp_path: Path) -> None:
    code, words = agent("--config", str(config), "--kubeconfig", str(config), "--manifests", str(tmp_path))
    assert (code, words) == (2, "antrea-proxy: --kubeconfig and --manifests exclude each other: give one of them\n")


def test_a_log_level_that_nobody_knows_is_a_usage_error(config: Path) -> None:
    code, words = agent("--config", str(config), "--log-level", "loud")
    assert (code, words) == (2, "antrea-proxy: --log-level: 'loud': choose debug, info, warning or error\n")


def test_a_configuration_that_is_not_there_is_a_usage_error() -> None:
    code, words = agent("--config", "/nonexistent.conf")
    assert code == 2
    assert "/nonexistent.conf" in words


def test_a_directory_of_manifests_that_is_not_there_is_a_usage_error(config: Path) -> None:
    code, words = agent("--config", str(config), "--manifests", "/nonexistent-manifests")
    assert code == 2
    assert "nonexistent-manifests" in words


def test_a_wrong_configuration_is_named_with_its_key(config: Path) -> None:
    config.write_text("trafficEncapMode: sideways\nproxyAll: true\ntunnelType: stt\n")
    code, words = agent("--config", str(config))
    assert code == 1
    assert [line.split(": ")[:3] for line in words.splitlines()] == [
        ["antrea-proxy", str(config), "trafficEncapMode"],
        ["antrea-proxy", str(config), "proxyAll (line 2)"],
        ["antrea-proxy", str(config), "tunnelType"],
    ]


def test_what_the_configuration_sets_in_vain_is_told_once(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text() + "wireGuard: {port: 1}\nfeatureGates: {Egress: true}\n")
    _, words = agent("--config", str(config), "--kubeconfig", str(tmp_path / "none"))
    assert words.count('decide nothing here" keys="wireGuard.port, featureGates.Egress"') == 1


def test_a_configuration_that_is_no_text_is_named(config: Path) -> None:
    config.write_bytes(b"\xff\xfe\x00")
    code, words = agent("--config", str(config))
    assert code == 1
    assert str(config) in words
    assert "Traceback" not in words


def test_a_kubeconfig_that_cannot_be_used_is_named(config: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("clusters: 7\n")
    code, words = agent("--config", str(config), "--kubeconfig", str(kubeconfig))
    assert code == 1
    assert str(kubeconfig) in words
    assert "Traceback" not in words


def test_a_kubeconfig_without_the_context_that_it_names_is_told_with_those_that_it_has(
    config: Path, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text("{current-context: gone, contexts: [{name: here, context: {cluster: c}}]}\n")
    code, words = agent("--config", str(config), "--kubeconfig", str(kubeconfig))
    assert code == 1
    assert f"kubeconfig {kubeconfig}: there is no context 'gone' in it (there are: here)" in words
    assert "Traceback" not in words


def test_a_run_directory_that_cannot_be_made_is_named(config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file\n")
    code, words = agent("--config", str(config), "--manifests", str(tmp_path))
    assert code == 1
    assert f"{tmp_path}/run" in words
    assert "cniSocket" in words
    assert "Traceback" not in words
