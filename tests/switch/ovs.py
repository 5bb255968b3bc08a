"""An Open vSwitch of its own for a test: its two processes in a new network namespace, userspace datapath."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "br-int"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
PATIENCE = 10.0
"""Seconds for a process to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A running switch with the bridge br-int, which speaks OpenFlow 1.5 and holds no flow."""

    directory: Path
    netns: str

    @property
    def database(self) -> Path:
        """The database's socket."""
        return self.directory / "db.sock"

    @property
    def management(self) -> Path:
        """The socket on which br-int speaks OpenFlow."""
        return self.directory / f"{BRIDGE}.mgmt"

    @property
    def control(self) -> Path:
        """The socket of ovs-appctl."""
        return self.directory / "ovs-vswitchd.ctl"

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl."""
        return self._run("ovs-vsctl", f"--db=unix:{self.database}", *arguments)

    def ofctl(self, command: str, *arguments: str) -> str:
        """Run ovs-ofctl on br-int, over OpenFlow 1.5."""
        return self._run("ovs-ofctl", "-OOpenFlow15", command, str(self.management), *arguments)

    def appctl(self, *arguments: str) -> str:
        """Run ovs-appctl."""
        return self._run("ovs-appctl", "-t", str(self.control), *arguments)

    def in_netns(self, *command: str) -> str:
        """Run a command in the switch's network namespace."""
        return self._run("ip", "netns", "exec", self.netns, *command)

    def _run(self, *command: str) -> str:
        environment = {**os.environ, "OVS_RUNDIR": str(self.directory)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr}{done.stdout}")
        return done.stdout


@contextlib.contextmanager
def running(directory: Path, prefix: str = "openflow") -> Iterator[Switch]:
    """Start a switch whose files are in `directory`; at the end nothing of it is left but these files."""
    switch = Switch(directory=directory, netns=f"{prefix}-{os.getpid()}-{secrets.token_hex(3)}")
    subprocess.run(["ip", "netns", "add", switch.netns], check=True)
    try:
        switch.in_netns("ip", "link", "set", "lo", "up")
        _start(switch)
        yield switch
    finally:
        for name in ("vswitchd", "ovsdb"):
            _stop(directory / f"{name}.pid")
        subprocess.run(["ip", "netns", "delete", switch.netns], check=True)


def _start(switch: Switch) -> None:
    directory = switch.directory
    database = directory / "conf.db"
    switch.in_netns("ovsdb-tool", "create", str(database), SCHEMA)
    common = ("--no-chdir", "--detach", "-vconsole:off", "-vsyslog:off")
    switch.in_netns(
        "ovsdb-server", str(database), f"--remote=punix:{switch.database}", f"--pidfile={directory}/ovsdb.pid",
        f"--unixctl={directory}/ovsdb.ctl", f"--log-file={directory}/ovsdb.log", *common,
    )  # fmt: skip
    switch.vsctl(
        "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
        "other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1",
    )  # fmt: skip
    switch.in_netns(
        "ovs-vswitchd", f"unix:{switch.database}", f"--pidfile={directory}/vswitchd.pid",
        f"--unixctl={switch.control}", f"--log-file={directory}/vswitchd.log", *common,
    )  # fmt: skip
    switch.vsctl(
        "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "fail_mode=secure",
        "protocols=OpenFlow15",
    )  # fmt: skip


def _stop(pid_file: Path) -> None:
    """Kill the process, which has nothing to save, and wait until it runs no more (a zombie runs no more)."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while _runs(pid):
        assert time.monotonic() < deadline, f"process {pid} of {pid_file} does not end"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
