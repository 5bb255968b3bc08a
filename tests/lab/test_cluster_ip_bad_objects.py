"""An agent that reads manifests, which no API server has checked: what is wrong is named and harms nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab_cluster import PATIENCE, PROGRAM, Place, wait_until
from lab_stage import ask_socket, serving_outside
from private_switch import namespace, private_switch, run

pytestmark = pytest.mark.cluster_ip

NODE_ADDRESS = "192.0.2.1"
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "alone"},
    "spec": {"podCIDR": "10.10.1.0/24", "podCIDRs": ["10.10.1.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": NODE_ADDRESS}]},
}


def _service(name: str, address: str, *, created: str, port: int = 80) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "t", "creationTimestamp": created, "uid": name},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "ipFamilies": ["IPv4"],
            "ports": [{"name": "http", "port": port, "targetPort": 8080, "protocol": "TCP"}],
        },
    }


def _slice(service: str, *addresses: str, port: int = 18080) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-1", "namespace": "t", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alone:
    """A Node without a cluster: its agent reads a directory."""

    api: Path
    manifests: Path
    client: Place

    def write(self, name: str, *objects: dict[str, Any]) -> None:
        (self.manifests / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))

    def services(self) -> dict[str, dict[str, Any]]:
        with contextlib.suppress(OSError):
            return {item["name"]: item for item in ask_socket(self.api, "/v1/services")["items"]}
        return {}


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Alone]:
    """One Node with a Pod, wired by the CNI plugin, and a server on the Node's own network."""
    netns = f"e2e-bad-{os.getpid()}"
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    monkeypatch.setenv("OVS_RUNDIR", str(tmp_path))
    (manifests / "node.yaml").write_text(yaml.safe_dump(NODE))
    config = tmp_path / "antrea-agent.conf"
    datapath = {"ovsRunDir": str(tmp_path), "ovsDatapathType": "netdev", "cniSocket": str(tmp_path / "cni.sock")}
    config.write_text(yaml.safe_dump({**datapath, "trafficEncapMode": "noEncap"}))
    with private_switch(tmp_path, netns), namespace(f"{netns}-pod") as pod:
        run("ip", "-n", netns, "link", "add", "node0", "type", "bridge")
        run("ip", "-n", netns, "addr", "add", f"{NODE_ADDRESS}/24", "dev", "node0")
        run("ip", "-n", netns, "link", "set", "node0", "up")
        inside = ["ip", "netns", "exec", netns]
        words = [*inside, PROGRAM, "agent", "--config", str(config), "--node-name", "alone"]
        log = (tmp_path / "agent.log").open("w")
        with log, subprocess.Popen([*words, "--manifests", str(manifests)], stderr=log, stdout=log) as agent:
            try:
                made = _Alone(
                    api=tmp_path / "api.sock",
                    manifests=manifests,
                    client=Place(name="pod", netns=pod),
                )
                wait_until(lambda: _wired(netns, pod, tmp_path / "cni.sock"), "Pod wired")
                with serving_outside(Place(name="node", netns=Path("/run/netns", netns)), name="node", port=18080):
                    yield made
            finally:
                agent.terminate()
                agent.wait(20 * PATIENCE)
                subprocess.run([*inside, PROGRAM, "agent", "--cleanup", "--config", str(config)], check=False)


def _wired(netns: str, pod: Path, cni_socket: Path) -> bool:
    plugin = str(Path(PROGRAM).with_name("antrea-proxy-cni"))
    environment = {
        "PATH": os.environ["PATH"],
        "CNI_COMMAND": "ADD",
        "CNI_PATH": str(Path(plugin).parent),
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": str(pod),
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=t;K8S_POD_NAME=client",
    }
    network = {"cniVersion": "1.1.0", "name": "antrea", "type": "antrea-proxy-cni", "cniSocket": str(cni_socket)}
    done = subprocess.run(
        ["ip", "netns", "exec", netns, plugin],
        input=json.dumps(network),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=30 * PATIENCE,
    )
    return done.returncode == 0


def test_of_two_services_with_one_cluster_ip_the_older_is_served_and_the_younger_says_so(alone: _Alone) -> None:
    alone.write("older", _service("older", "10.96.0.10", created="2026-01-01T00:00:00Z"), _slice("older", NODE_ADDRESS))
    younger = _service("younger", "10.96.0.10", created="2026-02-01T00:00:00Z")
    alone.write("younger", younger, _slice("younger", NODE_ADDRESS, port=1))
    wait_until(lambda: {"older", "younger"} <= set(alone.services()), "both Services known")
    seen = alone.services()
    assert seen["older"]["state"] == "balanced"
    assert not seen["older"]["problems"]
    assert any("belongs to the older Service t/older" in problem for problem in seen["younger"]["problems"])
    assert alone.client.get("10.96.0.10", 80) == "node"
    (alone.manifests / "older.yaml").unlink()
    wait_until(lambda: alone.services().get("younger", {}).get("state") == "balanced", "the younger one's turn")
    assert not alone.services()["younger"]["problems"]


def test_objects_that_make_no_sense_are_named_and_their_neighbours_are_served(alone: _Alone) -> None:
    created = "2026-01-01T00:00:00Z"
    alone.write(
        "bad",
        _service("no-such-port", "10.96.0.20", created=created, port=70_000),
        _service("no-address", "10.96.0.300", created=created),
        _service("half", "10.96.0.30", created=created),
        _slice("half", "no address at all", NODE_ADDRESS),
        {"apiVersion": "example.org/v1", "kind": "Unheard", "metadata": {"name": "of"}},
    )
    (alone.manifests / "broken.yaml").write_text("kind: [Service\n")
    alone.write("good", _service("good", "10.96.0.40", created=created), _slice("good", NODE_ADDRESS))
    wait_until(lambda: alone.services().get("good", {}).get("flows"), "the good Service in the switch")
    assert alone.client.get("10.96.0.40", 80) == "node"
    assert alone.client.get("10.96.0.30", 80) == "node"
    seen = alone.services()
    assert any("70000" in problem for problem in seen["no-such-port"]["problems"])
    assert any("10.96.0.300" in problem for problem in seen["no-address"]["problems"])
    assert not seen["good"]["problems"]
