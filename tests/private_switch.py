"""An Open vSwitch of one test alone: own network namespace, own directory, userspace datapath."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyroute2.netns

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
LOGGING = ("--no-chdir", "-vconsole:off", "-vsyslog:off", "--detach")


def run(*command: str) -> str:
    """Run a program that must succeed; return its output."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
    return done.stdout


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Path]:
    """Make a network namespace with its loopback up; remove it at the end. The value is its path."""
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield Path("/var/run/netns") / name
    finally:
        run("ip", "netns", "del", name)


@contextlib.contextmanager
def inside(path: Path) -> Iterator[None]:
    """Let this thread, and all that it starts, be in a network namespace."""
    with Path("/proc/thread-self/ns/net").open() as before:
        pyroute2.netns.setns(str(path), flags=os.O_RDONLY)
        try:
            yield
        finally:
            pyroute2.netns.setns(before.fileno())


class PrivateSwitch:
    """ovsdb-server and ovs-vswitchd with everything they write in `directory`."""

    def __init__(self, directory: Path, netns: str) -> None:
        self.directory = directory
        self.netns = netns
        self.socket = directory / "db.sock"

    def start_database(self) -> None:
        """Start ovsdb-server, on a new database if there is none."""
        database = self.directory / "conf.db"
        if not database.exists():
            run("ovsdb-tool", "create", str(database), SCHEMA)
        self._start("ovsdb-server", str(database), f"--remote=punix:{self.socket}")
        self.vsctl("--no-wait", "init")
        threads = ("other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *threads)

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd."""
        self._start("ovs-vswitchd", f"unix:{self.socket}")

    def stop(self, program: str) -> None:
        """Stop ovsdb-server or ovs-vswitchd, as their start scripts do, and wait for the end."""
        pidfile = self.directory / f"{program}.pid"
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pid = int(pidfile.read_text())
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 5
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl."""
        return run("ovs-vsctl", f"--db=unix:{self.socket}", "--timeout=10", *arguments).strip()

    def _start(self, program: str, *arguments: str) -> None:
        own = (
            f"--unixctl={self.directory}/{program}.ctl",
            f"--pidfile={self.directory}/{program}.pid",
            f"--log-file={self.directory}/{program}.log",
        )
        run("ip", "netns", "exec", self.netns, program, *arguments, *own, *LOGGING)


@contextlib.contextmanager
def private_switch(directory: Path, netns: str) -> Iterator[PrivateSwitch]:
    """Start a switch in a new namespace; leave nothing of it."""
    with namespace(netns):
        switch = PrivateSwitch(directory, netns)
        try:
            switch.start_database()
            switch.start_vswitchd()
            yield switch
        finally:
            switch.stop("ovs-vswitchd")
            switch.stop("ovsdb-server")
