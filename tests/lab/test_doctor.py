"""`antrea-proxy doctor` on Nodes of a lab: nothing on a sound one, and exactly what was broken on another."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kube_proxy_rules import nftables_mode
from lab_cluster import PATIENCE, PROGRAM, Cluster, Place, wait_until

Findings = list[tuple[str, str]]
FIREWALL = """
table inet firewall {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ct state vmap { established : accept, related : accept, invalid : drop }
  }
}
"""


def doctor(cluster: Cluster, node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [PROGRAM, "doctor", "--lab", cluster.name, "--node", node, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
    )


def findings(cluster: Cluster, node: str, *arguments: str) -> Findings:
    """What is found but for notes, as pairs of check and words; the exit code says whether there is any."""
    done = doctor(cluster, node, "-o", "json", *arguments)
    told: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    found = [(item["check"], item["what"]) for item in told if item["severity"] != "note"]
    assert done.returncode == (1 if found else 0), done.stderr
    return found


@pytest.fixture
def node(cluster: Cluster) -> Iterator[Place]:
    """A Node to break; it is mended at the end, and sound again."""
    place = cluster.node("node-2")
    yield place
    place.command("nft", "delete", "table", "inet", "firewall", check=False)
    for family in ("ip", "ip6"):
        place.command("nft", "delete", "table", family, "kube-proxy", check=False)
    place.command("ip", "route", "del", "10.10.99.0/24", check=False)
    place.command("sysctl", "-w", "net.ipv4.ip_forward=1", "net.ipv4.conf.eth0.rp_filter=0")
    place.command("ip", "link", "set", uplink(place), "mtu", "1500")
    assert findings(cluster, "node-2") == []


def uplink(place: Place) -> str:
    """The interface that tunnels leave by: a bridge of its own on the userspace datapath."""
    links = {link["ifname"] for link in json.loads(place.command("ip", "-j", "link").stdout)}
    return "br-phy" if "br-phy" in links else "eth0"


@pytest.mark.kernel
def test_nothing_is_wrong_on_the_nodes_of_a_sound_lab(cluster: Cluster, namespace: str) -> None:
    cluster.deploy(namespace, "web", replicas=3)
    cluster.expose(namespace, "web", port=80)
    for name in cluster.node_names:
        assert findings(cluster, name) == []


def test_what_is_broken_on_a_node_is_found_and_nothing_else(cluster: Cluster, node: Place) -> None:
    node.command("sysctl", "-w", "net.ipv4.conf.eth0.rp_filter=1")
    node.command("ip", "route", "add", "10.10.99.0/24", "via", "10.10.99.1", "dev", "antrea-gw0", "onlink")
    subprocess.run(
        ["nsenter", f"--net={node.netns}", "nft", "-f", "-"],
        input=FIREWALL + nftables_mode("ip") + nftables_mode("ip6"),
        text=True,
        check=True,
    )
    found: dict[str, str] = {}
    mtus = itertools.count(1400, -10)

    def look() -> bool:
        """The agent mends these two within 30 s, perhaps before they are looked for: then they are broken again."""
        node.command("sysctl", "-w", "net.ipv4.ip_forward=0")
        node.command("ip", "link", "set", uplink(node), "mtu", str(next(mtus)))
        found.clear()
        found.update(findings(cluster, "node-2"))
        return {"forwarding", "mtu"} <= found.keys()

    wait_until(look, "forwarding and MTU are found")
    assert set(found) == {"rp_filter", "routes", "invalid", "kube-proxy", "forwarding", "mtu"}
    assert "10.10.99.0/24 via 10.10.99.1 dev antrea-gw0" in found["routes"]
    assert "nft inet firewall forward" in found["invalid"]
    assert "2 of nftables" in found["kube-proxy"]
    assert findings(cluster, "node-1") == []


def test_an_override_that_leads_nowhere_is_found_before_an_agent_is_started_with_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    (address,) = {node["status"]["addresses"][0]["address"] for node in cluster.get("nodes")["items"][:1]}
    config = tmp_path / "antrea-agent.conf"
    given = yaml.safe_load(cluster.places.node("node-1").agent_config.read_text())
    for url, words in ((f"https://{address}:1", "Connect"), ("https://172.18.0.254:1", "172.18.0.254:1")):
        config.write_text(yaml.safe_dump({**given, "kubeAPIServerOverride": url}))
        ((check, what),) = findings(cluster, "node-1", "--config", str(config))
        assert check == "api-server"
        assert f"kubeAPIServerOverride: {url}" in what
        assert words in what


def test_an_agent_that_does_not_answer_is_found(cluster: Cluster, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "nsenter",
            f"--net={cluster.node('node-1').netns}",
            PROGRAM,
            "doctor",
            "--socket",
            str(tmp_path / "none.sock"),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("error: agent: no agent answers at")


def test_a_node_that_the_lab_does_not_have_is_refused(cluster: Cluster) -> None:
    done = doctor(cluster, "node-9")
    assert done.returncode == 1
    assert "has no Node 'node-9'" in done.stderr
