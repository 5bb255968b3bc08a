"""Pods are wired by the real plugin into a real switch, with real interfaces; frames pass."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from switch import ovs

PLUGIN = Path(sys.executable).with_name("antrea-proxy-cni")
AGENT = Path(__file__).with_name("cni_agent.py")
CIDRS = ("10.10.1.0/24", "fd00:10:1::/64")


def run(*command: str, timeout: float = 30) -> str:
    """Run a program; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


@dataclass(slots=True, kw_only=True)
class Node:
    """A namespace with its own Open vSwitch, and the agent's CNI side in it."""

    switch: ovs.Switch
    agent: subprocess.Popen[str] | None = None
    pods: list[str] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        """Where the Node's files are."""
        return self.switch.directory

    def add_gateway(self) -> None:
        """Let the bridge forward by itself, and give the Node its address in each podCIDR."""
        self.switch.vsctl(
            "set", "bridge", "br-int", "fail_mode=standalone",
            "--", "add-port", "br-int", "antrea-gw0",
            "--", "set", "interface", "antrea-gw0", "type=internal", "ofport_request=2",
        )  # fmt: skip
        self.ip("link", "set", "antrea-gw0", "up")
        self.ip("address", "add", "10.10.1.1/24", "dev", "antrea-gw0")
        self.ip("address", "add", "fd00:10:1::1/64", "dev", "antrea-gw0", "nodad")

    def ip(self, *arguments: str) -> str:
        """Change or show the Node's interfaces."""
        return run("ip", "-n", self.switch.netns, *arguments)

    def start_agent(self, *, state: Path | None = None) -> str:
        """Start the agent's CNI side; returns what it restored: Pods, removed, problems."""
        state = state or self.directory / "pods" / "addresses.json"
        arguments = (self.directory, self.switch.database, state, *CIDRS)
        self.agent = subprocess.Popen(
            ["ip", "netns", "exec", self.switch.netns, sys.executable, AGENT, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.agent.stdout is not None
        return self.agent.stdout.readline().strip()

    def stop_agent(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the agent."""
        if self.agent is not None:
            self.agent.send_signal(number)
            assert self.agent.stdout is not None
            self.agent.stdout.close()
            self.agent.wait(20)
            self.agent = None

    def stop(self) -> None:
        """Leave nothing."""
        self.stop_agent()
        for name in self.pods:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def sandbox(self) -> str:
        """Make a Pod's network namespace, as a runtime does."""
        name = f"cni-pod-{secrets.token_hex(4)}"
        run("ip", "netns", "add", name)
        self.pods.append(name)
        return name

    def call(self, command: str, container: str, **changes: Any) -> Any:  # noqa: ANN401 -- a runtime gets JSON
        """Start the plugin for a sandbox whose namespace has the container's name; returns what it prints."""
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": f"/var/run/netns/{container}",
            "CNI_IFNAME": "eth0",
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-{container[-4:]}",
            "CNI_PATH": str(PLUGIN.parent),
        }
        configuration = {
            "cniVersion": "1.1.0",
            "name": "antrea",
            "type": "antrea-proxy-cni",
            "cniSocket": f"{self.directory}/cni.sock",
        }
        done = subprocess.run(
            [PLUGIN],
            env=environment,
            input=json.dumps(configuration | changes),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert not done.stderr, done.stderr
        return json.loads(done.stdout) if done.stdout else {}

    def ping(self, pod: str, address: str) -> str:
        """Send one echo request from a Pod."""
        return run("ip", "netns", "exec", pod, "ping", "-n", "-c", "1", "-W", "3", address)

    def links(self) -> set[str]:
        """Return the names of the Node's veth ends."""
        return {each["ifname"] for each in json.loads(self.ip("-j", "link", "show", "type", "veth") or "[]") if each}

    def ports(self) -> set[str]:
        """Return the names of the bridge's ports."""
        return set(self.switch.vsctl("list-ports", "br-int").split())

    def shields(self) -> str:
        """Return the tables of the Node's firewall."""
        return self.switch.in_netns("nft", "list", "ruleset")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Give a Node of its own, with an agent on it."""
    with ovs.running(tmp_path, "cni") as switch, ExitStack() as stack:
        made = Node(switch=switch)
        stack.callback(made.stop)
        made.add_gateway()
        assert made.start_agent().startswith("0 0")
        yield made


def test_two_pods_reach_the_gateway_and_each_other_over_both_families_and_leave_nothing(node: Node) -> None:
    """ADD, ping, CHECK, DEL: links, ports, shields and the address state are as before."""
    pods = [node.sandbox(), node.sandbox()]
    results = [node.call("ADD", pod) for pod in pods]
    assert [result["ips"][0]["address"] for result in results] == ["10.10.1.2/24", "10.10.1.3/24"]
    assert node.ports() == {"antrea-gw0"} | node.links()
    assert node.links() == {result["interfaces"][0]["name"] for result in results}
    for address in ("10.10.1.1", "fd00:10:1::1", "10.10.1.3", "fd00:10:1::3"):
        assert "ttl=64" in node.ping(pods[0], address)
    for link in node.links():
        assert link in node.shields()
        assert int(node.switch.vsctl("get", "interface", link, "ofport")) >= 16
    for pod, result in zip(pods, results, strict=True):
        assert node.call("CHECK", pod, prevResult=result) == {}
    run("ip", "-n", pods[0], "address", "flush", "dev", "eth0", "scope", "global")
    differing = node.call("CHECK", pods[0], prevResult=results[0])
    assert "eth0 lacks address 10.10.1.2/24; eth0 lacks address fd00:10:1::2/64" in differing["msg"]
    run("ip", "netns", "delete", pods[0])
    for pod in pods:
        for _ in range(2):
            assert node.call("DEL", pod, prevResult=results[0]) == {}
    assert node.links() == set()
    assert node.ports() == {"antrea-gw0"}
    assert "web-" not in node.shields()
    assert json.loads((node.directory / "pods" / "addresses.json").read_text())["leases"] == []


def test_an_agent_that_is_killed_finds_its_pods_again_from_the_switch_alone(node: Node) -> None:
    """SIGKILL, and the address state is lost too: the Pods keep their addresses, and a new one gets its own."""
    kept, gone = node.sandbox(), node.sandbox()
    result = node.call("ADD", kept)
    node.call("ADD", gone)
    node.stop_agent(signal.SIGKILL)
    assert node.call("STATUS", kept)["code"] == 50
    assert node.call("DEL", gone)["code"] == 11
    assert "ttl=64" in node.ping(kept, "10.10.1.1")
    run("ip", "netns", "delete", gone)
    state = node.directory / "pods" / "addresses.json"
    state.write_bytes(state.read_bytes()[:40])
    pods, removed, problems = node.start_agent().split(" ", 2)
    assert (pods, removed) == ("1", "1")
    assert "addresses.json.malformed-" in problems
    assert node.call("ADD", kept) == result
    assert node.call("CHECK", kept, prevResult=result) == {}
    assert node.call("ADD", node.sandbox())["ips"][0]["address"] == "10.10.1.3/24"
    assert node.call("DEL", gone) == {}
    assert len(node.links()) == 2


def test_a_full_disk_refuses_a_pod_leaves_nothing_of_it_and_lets_another_go(node: Node) -> None:
    """A tmpfs with no room left is the disk of the address state."""
    disk = node.directory / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=16", "cni-test", str(disk))
    try:
        node.stop_agent()
        node.start_agent(state=disk / "addresses.json")
        first = node.sandbox()
        assert "ips" in node.call("ADD", first)
        refused_pod = node.sandbox()
        refused = node.call("ADD", refused_pod)
        assert refused["code"] == 5
        assert f"{disk}/addresses.json cannot be saved: No space left on device" in refused["msg"]
        assert len(node.links()) == 1
        assert node.ports() == {"antrea-gw0"} | node.links()
        assert node.call("STATUS", first)["code"] == 50
        assert json.loads((disk / "addresses.json").read_text())["leases"][0]["container"] == first
        assert node.call("DEL", first) == {}
        assert node.links() == set()
        run("mount", "-o", "remount,size=64k", str(disk))
        assert "ips" in node.call("ADD", refused_pod)
    finally:
        node.stop_agent()
        run("umount", str(disk))


def test_pods_that_start_at_once_are_all_wired(node: Node) -> None:
    """Ten at a time."""
    pods = [node.sandbox() for _ in range(10)]
    with ThreadPoolExecutor(10) as threads:
        results = list(threads.map(lambda pod: node.call("ADD", pod), pods))
    assert len({result["ips"][0]["address"] for result in results}) == 10
    assert len(node.links()) == 10
    assert node.call("GC", pods[0], **{"cni.dev/valid-attachments": [{"containerID": pods[3], "ifname": "eth0"}]}) == {}
    assert node.links() == {results[3]["interfaces"][0]["name"]}
    assert "ttl=64" in node.ping(pods[3], "10.10.1.1")


def test_a_namespace_that_is_gone_is_named_and_nothing_is_left(node: Node) -> None:
    """The runtime's path, in the message."""
    refused = node.call("ADD", "cni-pod-never")
    assert refused["code"] == 103
    assert "/var/run/netns/cni-pod-never: No such file or directory" in refused["msg"]
    assert node.links() == set()
    assert node.ports() == {"antrea-gw0"}


def test_an_interface_name_that_the_sandbox_has_already_is_refused(node: Node) -> None:
    """Somebody else's eth0 stays as it is."""
    pod = node.sandbox()
    run("ip", "-n", pod, "link", "add", "eth0", "type", "veth", "peer", "name", "other0")
    refused = node.call("ADD", pod)
    assert refused["code"] == 103
    assert "File exists" in refused["msg"]
    assert node.links() == set()
    assert "eth0@other0" in run("ip", "-n", pod, "link", "show", "eth0")
