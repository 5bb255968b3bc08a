"""`antrea-proxy support-bundle`: what somebody else needs to see of a Node, in one file, and no secrets."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from antrea_proxy.cli.agents import LabOption, NodeOption, SocketOption, agent_api, answered, node_of_lab

EXAMPLES = """
Examples:

  antrea-proxy support-bundle

  antrea-proxy support-bundle --output node-2.tar.gz --node node-2
"""
VIEWS: Final = ("status", "config", "services", "endpoints", "flows", "groups", "nodes", "pods")
"""Paths of the agent's API below /v1; none of them shows a credential."""
SWITCH: Final = {
    "switch/bridges.txt": ("ovs-vsctl", "show"),
    "switch/datapaths.txt": ("ovs-appctl", "dpctl/show", "-s"),
    "switch/connections.txt": ("ovs-appctl", "dpctl/ct-stats-show", "verbose"),
}
SECONDS: Final = 20.0
LOG_BYTES: Final = 4 << 20
"""Of a log, its end."""
JOURNAL: Final = ("journalctl", "-u", "antrea-proxy", "-n", "20000", "--no-pager", "-o", "cat")


def support_bundle(
    *,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file [antrea-proxy-TIME.tar.gz].")] = None,
    socket: SocketOption = None,
    node: NodeOption = None,
    lab: LabOption = None,
) -> None:
    """Gather what an agent holds, its switch and its log in one file, to be looked at elsewhere.

    It names Services, Pods and addresses; it holds no credential. What cannot be had is named in missing.txt.
    """
    path = output or Path(f"antrea-proxy-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    with answered():
        api = agent_api(socket, node, lab)
        files = {f"{name}.json": _json(api.get(f"/v1/{name}")) for name in VIEWS}
        run_dir = str(json.loads(files["config.json"])["settings"]["ovsRunDir"])
        log = node_of_lab(node, lab).node(node).agent_log if node is not None else None
    missing: list[str] = []
    for name, read in _outside(run_dir, log):
        try:
            files[name] = read()
        except (OSError, subprocess.SubprocessError) as error:
            missing.append(f"{name}: {error}")
    files["missing.txt"] = "".join(f"{line}\n" for line in missing).encode()
    try:
        _write(path, files)
    except OSError as error:
        typer.echo(f"error: {path}: {error.strerror}; give another file by --output", err=True)
        raise typer.Exit(1) from None
    for line in missing:
        typer.echo(f"missing: {line}", err=True)
    typer.echo(f"{path}: {len(files)} files, {path.stat().st_size / 1e6:.1f} MB")


def _outside(run_dir: str, log: Path | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Give what is asked of others than the agent, by the file that it goes into."""
    for name, words in SWITCH.items():
        yield name, lambda words=words: _printed(words, run_dir)  # type: ignore[misc]
    yield "agent.log", (lambda: _printed(JOURNAL, run_dir)) if log is None else (lambda: log.read_bytes()[-LOG_BYTES:])


def _printed(words: tuple[str, ...], run_dir: str) -> bytes:
    environment = os.environ | {"OVS_RUNDIR": run_dir}
    done = subprocess.run(words, capture_output=True, timeout=SECONDS, check=True, env=environment)
    return done.stdout[-LOG_BYTES:]


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _write(path: Path, files: dict[str, bytes]) -> None:
    """Write the archive, readable by its owner alone: addresses of a cluster are not everybody's."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target, tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"antrea-proxy/{name}")
            entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(content))
