"""A Node for the real agent: a network namespace with an uplink, Open vSwitch in it, a directory of manifests."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from worlds import endpoint_slice, service

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
COMMAND = str(Path(sys.executable).with_name("antrea-proxy"))
PATIENCE = 15.0
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "n1"},
    "spec": {"podCIDRs": ["10.10.1.0/24"], "podCIDR": "10.10.1.0/24"},
    "status": {"addresses": [{"type": "InternalIP", "address": "172.30.0.1"}]},
}
WEB = {"apiVersion": "v1", "kind": "Service"} | service("web", "10.96.0.10")
WEB_SLICE = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"} | endpoint_slice(
    "web", ("10.10.2.7", "web-1", "n2"), ("10.10.2.8", "web-2", "n2")
)


@dataclass
class AgentNode:
    """Its files are in `directory`; its processes are those of this object."""

    directory: Path
    netns: str
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list)
    daemons: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The agent's configuration."""
        return self.directory / "antrea-agent.conf"

    @property
    def manifests(self) -> Path:
        """What the cluster is."""
        return self.directory / "manifests"

    @property
    def log(self) -> str:
        """What all agents said."""
        return "".join(path.read_text() for path in sorted(self.directory.glob("agent-*.log")))

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command in the namespace; return all its words."""
        done = subprocess.run(
            ("ip", "netns", "exec", self.netns, *command),
            env={**os.environ, "OVS_RUNDIR": str(self.directory), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        words = done.stdout + done.stderr
        assert done.returncode == code, f"{' '.join(command)}: exit {done.returncode}: {words}"
        return words

    def vsctl(self, *arguments: str) -> str:
        """Run ovs-vsctl."""
        return self.run("ovs-vsctl", f"--db=unix:{self.directory}/db.sock", *arguments)

    def ofctl(self, command: str, *arguments: str) -> str:
        """Run ovs-ofctl on br-int."""
        return self.run("ovs-ofctl", "-OOpenFlow15", command, f"{self.directory}/br-int.mgmt", *arguments)

    def appctl(self, *arguments: str) -> str:
        """Run ovs-appctl on ovs-vswitchd."""
        return self.run("ovs-appctl", *arguments)

    def start_switch(self) -> None:
        """Start the database and the switch."""
        self.start_database()
        self.start_vswitchd()

    def start_database(self) -> None:
        """Start ovsdb-server, with a new database at first."""
        database = self.directory / "conf.db"
        if not database.exists():
            self.run("ovsdb-tool", "create", str(database), SCHEMA)
        self._start("ovsdb-server", str(database), f"--remote=punix:{self.directory}/db.sock")
        self.vsctl("--no-wait", "init")

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd."""
        self._start("ovs-vswitchd", f"unix:{self.directory}/db.sock")

    def kill(self, name: str) -> None:
        """Kill a daemon."""
        pid = self.daemons.pop(name, None)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not _runs(pid), f"{name} does not end")

    def put(self, name: str, *objects: Any) -> None:  # noqa: ANN401 - JSON
        """Write a manifest, at once as a whole."""
        self.put_text(name, yaml.safe_dump_all(objects))

    def put_text(self, name: str, text: str) -> None:
        """Write a file beside the manifests and move it there."""
        new = self.directory / f"{name}.new"
        new.write_text(text)
        new.rename(self.manifests / name)

    def start_agent(self, *more: str, source: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start the agent."""
        source = source or ("--manifests", str(self.manifests))
        with (self.directory / f"agent-{len(self.agents)}.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.netns, COMMAND, "agent", "--config", str(self.config)),
                    *("--node-name", "n1", *source, *more),
                ],
                stderr=log,
                stdout=log,
            )
        self.agents.append(process)
        return process

    def synchronised(self, times: int = 1) -> None:
        """Wait until the agent says that the switch holds all."""
        until(lambda: self.log.count("the switch is synchronised") >= times, "not synchronised", self)

    def stop_agent(self, process: subprocess.Popen[bytes]) -> int:
        """Ask it to end; return its exit code."""
        process.terminate()
        return process.wait(PATIENCE)

    def api(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Ask the agent."""
        connection = http.client.HTTPConnection("agent")
        with contextlib.closing(connection), socket.socket(socket.AF_UNIX) as unix:
            unix.settimeout(PATIENCE)
            unix.connect(str(self.directory / "api.sock"))
            connection.sock = unix
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == http.HTTPStatus.OK, response.read()
            return json.loads(response.read())

    def flows(self) -> str:
        """All flows, without their counters."""
        return "\n".join(sorted(self.ofctl("dump-flows", "--no-stats").splitlines()))

    def groups(self) -> str:
        """All groups."""
        return "\n".join(sorted(self.ofctl("dump-groups").splitlines()[1:]))

    def close(self) -> None:
        """End what runs."""
        for process in self.agents:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait(PATIENCE)
        for name in list(self.daemons):
            self.kill(name)

    def _start(self, name: str, *arguments: str) -> None:
        pid_file = self.directory / f"{name}.pid"
        self.run(
            name, *arguments, "--no-chdir", "--detach", "-vconsole:off", "-vsyslog:off", f"--pidfile={pid_file}",
            f"--log-file={self.directory}/{name}.log",
        )  # fmt: skip
        self.daemons[name] = int(pid_file.read_text())


@contextlib.contextmanager
def agent_node(directory: Path) -> Iterator[AgentNode]:
    """Make a Node without a switch; at the end nothing of it is left but files."""
    node = AgentNode(directory=directory, netns=f"agent-{os.getpid()}-{secrets.token_hex(3)}")
    node.manifests.mkdir()
    node.config.write_text(
        f"ovsRunDir: {directory}\ncniSocket: {directory}/cni.sock\novsDatapathType: netdev\napiPort: 0\n"
    )
    node.put("node.yaml", NODE)
    node.put("web.yaml", WEB, WEB_SLICE)
    subprocess.run(["ip", "netns", "add", node.netns], check=True)
    try:
        node.run("ip", "link", "set", "lo", "up")
        node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        node.run("ip", "link", "set", "wire", "up")
        node.run("ip", "addr", "add", "172.30.0.1/24", "dev", "eth0")
        node.run("ip", "link", "set", "eth0", "up")
        yield node
    finally:
        node.close()
        subprocess.run(["ip", "netns", "delete", node.netns], check=True)


def until(condition: Callable[[], bool], words: str, node: AgentNode | None = None) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{words}\n{node.log if node else ''}"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
