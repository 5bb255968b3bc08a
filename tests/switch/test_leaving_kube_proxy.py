"""`antrea-proxy cleanup kube-proxy` against real rules, beside those of others, which it leaves as they were."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kube_proxy_rules import IPSETS, IPTABLES_MODE, OTHER_IPSETS, OTHERS, OTHERS_NFT, nftables_mode
from private_switch import inside, namespace

PROGRAM = str(Path(sys.executable).with_name("antrea-proxy"))
COMMANDS = {"ip": "iptables", "ip6": "ip6tables"}
BACKENDS = ("nft", "legacy")


@pytest.fixture
def node() -> Iterator[None]:
    """A Node's namespace, which the test and all that it starts are in, with rules of others in every place."""
    with namespace(f"leaving-{os.getpid()}") as path, inside(path):
        for backend in BACKENDS:
            for command in COMMANDS.values():
                run(f"{command}-{backend}-restore", text=OTHERS)
        run("nft", "-f", "-", text=OTHERS_NFT)
        run("ipset", "restore", text=OTHER_IPSETS)
        yield


def run(*command: str, text: str | None = None, code: int = 0) -> str:
    """Run a program; return all its words."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    words = done.stdout + done.stderr
    assert done.returncode == code, f"{' '.join(command)} ended with {done.returncode}: {words}"
    return words


def cleanup(*arguments: str, code: int = 0) -> str:
    """Run the command as a user does."""
    return run(PROGRAM, "cleanup", "kube-proxy", *arguments, code=code)


def dump() -> dict[str, str]:
    """All that the Node holds, without what changes by itself."""
    saved = {
        f"{command}-{backend}": re.sub(r"^#.*\n|\[\d+:\d+\]", "", run(f"{command}-{backend}-save"), flags=re.MULTILINE)
        for backend in BACKENDS
        for command in COMMANDS.values()
    }
    ruleset = re.sub(r"counter packets \d+ bytes \d+", "counter", run("nft", "list", "ruleset"))
    return {**saved, "nft": ruleset, "ipset": run("ipset", "save"), "links": run("ip", "-br", "link")}


def lay_down(*, backends: tuple[str, ...] = BACKENDS) -> None:
    """Do what kube-proxy does, in every mode that this kernel has; it leaves the policies of built-in chains alone."""
    for backend in backends:
        for family, command in COMMANDS.items():
            run(
                f"{command}-{backend}-restore",
                "--noflush",
                text=re.sub(r"^:.* ACCEPT .*\n", "", IPTABLES_MODE[family], flags=re.MULTILINE),
            )
    for family in COMMANDS:
        run("nft", "-f", "-", text=nftables_mode(family))
    run("ipset", "restore", text=IPSETS)
    run("iptables-nft", "-t", "nat", "-A", "KUBE-SERVICES", "-m", "set", "--match-set", "KUBE-CLUSTER-IP", "dst,dst")


@pytest.mark.usefixtures("node")
def test_all_of_kube_proxy_goes_and_everything_else_is_as_it_was() -> None:
    before = dump()
    lay_down()
    assert dump() != before
    words = cleanup()
    assert dump() == before
    for told in (
        "removing iptables-nft ip nat: chain KUBE-SERVICES",
        "removing iptables-legacy ip6 filter: the jump from FORWARD to KUBE-FORWARD",
        "removing iptables-legacy ip mangle: chain KUBE-PROXY-CANARY",
        "removing nftables: table ip6 kube-proxy",
        "removing ipset: set KUBE-CLUSTER-IP",
    ):
        assert told in words
    assert cleanup() == "there is nothing of kube-proxy's on this Node\n"
    assert dump() == before


@pytest.mark.usefixtures("node")
def test_a_dry_run_changes_nothing_and_names_what_would_go() -> None:
    lay_down(backends=("nft",))
    before = dump()
    assert "would remove iptables-nft ip nat: chain KUBE-SEP-2WBGGMGUQMIQ7FHD\n" in cleanup("--dry-run")
    told = json.loads(cleanup("--dry-run", "-o", "json"))
    assert told["removed"] is False
    assert told["nftables"] == [{"family": "ip", "table": "kube-proxy"}, {"family": "ip6", "table": "kube-proxy"}]
    assert told["notLookedAt"] == []
    assert dump() == before


@pytest.mark.usefixtures("node")
def test_it_refuses_while_kube_proxy_runs_unless_it_is_forced(tmp_path: Path) -> None:
    lay_down(backends=("nft",))
    before = dump()
    with kube_proxy(tmp_path) as pid:
        words = cleanup(code=1)
        assert f"process {pid} (" in words
        assert "--force" in words
        assert dump() == before
        assert json.loads(cleanup("--dry-run", "-o", "json"))["running"][0]["pid"] == pid
        cleanup("--force")
    assert "kube-proxy" not in run("nft", "list", "tables").replace("inet kube-proxy", "")


@pytest.mark.usefixtures("node")
def test_a_missing_program_is_told_where_the_kernel_holds_what_it_would_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nft").symlink_to(str(shutil.which("nft")))
    monkeypatch.setattr("antrea_proxy.host.kube_proxy.programs._SYSTEM_FOLDERS", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    from typer.testing import CliRunner  # noqa: PLC0415 - beside its only use

    from antrea_proxy.cli.cleanup import app  # noqa: PLC0415 - beside its only use

    done = CliRunner().invoke(app, ["kube-proxy"])
    assert done.exit_code == 1
    assert "not looked at: iptables' legacy back end, ip: the kernel holds filter, mangle, nat" in done.output
    assert "not looked at: ipset:" in done.output
    assert "apt install iptables" in done.output
    assert "ipvs" not in done.output


@contextlib.contextmanager
def kube_proxy(folder: Path) -> Iterator[int]:
    """Let a process of that name run here; the value is its id."""
    program = folder / "kube-proxy"
    shutil.copy(str(shutil.which("sleep")), program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            yield process.pid
        finally:
            process.kill()
