"""The real agent process on a real Open vSwitch, in a network namespace of its own."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import yaml

from switch.agent_node import COMMAND, PATIENCE, WEB, AgentNode, agent_node, until
from worlds import service


@pytest.fixture
def node(tmp_path: Path) -> Iterator[AgentNode]:
    """A Node whose switch does not run yet."""
    with agent_node(tmp_path) as made:
        yield made


def serves(node: AgentNode, address: str = "10.96.0.10") -> bool:
    """Whether the switch has flows for a ClusterIP."""
    return f"nw_dst={address}" in node.flows()


def prepared(node: AgentNode) -> None:
    """Wait until the Node's own stack is as it should be."""
    until(lambda: "10.10.1.1/24" in node.run("ip", "addr"), "no gateway address", node)


def test_an_agent_that_is_started_before_the_switch_waits_for_it(node: AgentNode) -> None:
    agent = node.start_agent()
    until(lambda: "the Node cannot be prepared" in node.log, "no warning", node)
    assert agent.poll() is None
    node.start_switch()
    node.synchronised()
    assert serves(node)


def test_a_switch_that_is_killed_and_started_again_is_as_before_without_any_help(node: AgentNode) -> None:
    node.start_switch()
    node.start_agent()
    node.synchronised()
    prepared(node)
    before = (node.flows(), node.groups(), node.vsctl("list-ports", "br-int"))
    node.kill("ovs-vswitchd")
    until(lambda: "the switch is out of reach" in node.log, "no warning", node)
    node.start_vswitchd()
    node.synchronised(2)
    assert (node.flows(), node.groups(), node.vsctl("list-ports", "br-int")) == before
    assert "disabled" in node.appctl("dpctl/ct-get-tcp-seq-chk"), "TCP is followed by its flags again"
    prepared(node)


def test_a_switch_that_waits_for_its_flows_is_released_when_it_has_them(node: AgentNode) -> None:
    node.start_switch()
    node.start_agent()
    node.synchronised()
    prepared(node)
    before = node.flows()
    node.vsctl("set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
    node.kill("ovs-vswitchd")
    node.start_vswitchd()
    node.synchronised(2)
    until(lambda: "restore" not in node.vsctl("get", "Open_vSwitch", ".", "other_config"), "it still waits", node)
    assert node.flows() == before


def test_a_port_that_somebody_removes_comes_back_at_once(node: AgentNode) -> None:
    node.start_switch()
    node.start_agent()
    node.synchronised()
    prepared(node)
    node.vsctl("del-port", "br-int", "antrea-gw0")
    removed = time.monotonic()
    until(lambda: "antrea-gw0" in node.vsctl("list-ports", "br-int"), "no gateway", node)
    prepared(node)
    assert time.monotonic() - removed < 5
    assert node.vsctl("get", "interface", "antrea-gw0", "ofport").strip() == "2"


def test_a_bridge_of_somebody_else_is_refused_by_name_and_left_as_it_is(node: AgentNode) -> None:
    node.start_switch()
    node.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    node.ofctl("add-flow", "table=3,priority=7,ip,nw_dst=192.0.2.9,cookie=0x77,actions=drop")
    node.ofctl("add-group", "group_id=5,type=select,bucket=actions=drop")
    columns = ("--columns=fail_mode,protocols,datapath_type,external_ids", "list", "bridge", "br-int")
    before = (node.flows(), node.groups(), node.vsctl(*columns))
    agent = node.start_agent()
    assert agent.wait(PATIENCE) == 1
    assert "192.0.2.9" in node.log
    assert "group 5" in node.log
    assert "--take-over" in node.log
    assert (node.flows(), node.groups(), node.vsctl(*columns)) == before
    assert "antrea" not in node.run("nft", "list", "ruleset")

    node.start_agent("--take-over")
    node.synchronised()
    assert "192.0.2.9" not in node.flows()
    assert "group_id=5," not in node.ofctl("dump-groups")
    assert serves(node)


def test_a_restart_writes_nothing_and_the_end_of_the_agent_leaves_the_data_path_as_it_is(node: AgentNode) -> None:
    node.start_switch()
    agent = node.start_agent()
    node.synchronised()
    prepared(node)
    flows = node.flows()
    began = time.monotonic()
    assert node.stop_agent(agent) == 0
    assert time.monotonic() - began < 3
    assert node.flows() == flows
    assert "antrea-proxy" in node.run("nft", "list", "tables")
    node.start_agent()
    node.synchronised(2)
    assert re.findall(r"synchronised.* messages=(\d+)", node.log)[1] == "0"
    assert node.flows() == flows


def test_cleanup_leaves_a_clean_node_and_refuses_while_the_agent_runs(node: AgentNode) -> None:
    node.start_switch()
    agent = node.start_agent()
    node.synchronised()
    prepared(node)
    cleanup = (str(node.config), "--cleanup")
    words = node.run(COMMAND, "agent", "--config", *cleanup, code=1)
    assert f"process id {agent.pid} runs on this Node" in words
    assert serves(node)
    node.stop_agent(agent)
    routes = node.run("ip", "route")
    words = node.run(COMMAND, "agent", "--config", *cleanup)
    assert "forwarding" in words
    assert node.vsctl("list-br") == ""
    assert "antrea" not in node.run("nft", "list", "ruleset")
    assert "antrea" not in node.run("ip", "addr")
    assert "antrea" not in node.run("ip", "route")
    assert "antrea" in routes


def test_cleanup_has_the_bridges_of_others_check_sequence_numbers_again(node: AgentNode) -> None:
    node.start_switch()
    node.vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
    agent = node.start_agent()
    node.synchronised()
    assert "disabled" in node.appctl("dpctl/ct-get-tcp-seq-chk")
    node.stop_agent(agent)
    node.run(COMMAND, "agent", "--config", str(node.config), "--cleanup")
    assert "enabled" in node.appctl("dpctl/ct-get-tcp-seq-chk")


def test_cleanup_leaves_a_bridge_of_somebody_else_alone(node: AgentNode) -> None:
    node.start_switch()
    node.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev")
    words = node.run(COMMAND, "agent", "--config", str(node.config), "--cleanup", code=1)
    assert "left alone" in words
    assert "ovs-vsctl del-br br-int" in words
    assert node.vsctl("list-br").strip() == "br-int"


def test_what_is_wrong_in_the_manifests_is_named_and_everything_else_is_served(node: AgentNode) -> None:
    node.start_switch()
    node.put_text("broken.yaml", "kind: Service\n  metadata: [")
    node.put("unknown.yaml", {"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "g"}})
    bad_ports = service("bad-ports", "10.96.0.20", ports=(("zero", "TCP", 0), ("big", "TCP", 70000), ("ok", "TCP", 80)))
    twin = service("twin", "10.96.0.10")
    twin["metadata"]["creationTimestamp"] = "2026-05-01T00:00:00Z"
    kind = {"apiVersion": "v1", "kind": "Service"}
    node.put("bad.yaml", kind | bad_ports, kind | twin)
    node.put(
        "slice.yaml",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "bad",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "bad-ports"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["not-an-address"]}, {"addresses": ["10.10.2.9"]}],
            "ports": [{"name": "ok", "port": 8080, "protocol": "TCP"}],
        },
    )
    node.start_agent()
    node.synchronised()
    assert serves(node)
    assert serves(node, "10.96.0.20")
    assert "10.10.2.9:8080" in node.flows()
    assert "broken.yaml" in node.log
    assert "Gadget" in node.log
    services = str(node.api("/v1/services"))
    for word in ("70000", "not-an-address", "10.96.0.10"):
        assert word in services, services
    problems = {item["name"]: str(item) for item in node.api("/v1/services")["items"]}
    assert "default/web" in problems["twin"]
    node.put("web.yaml", WEB | {"spec": WEB["spec"] | {"ports": [{"port": 81, "protocol": "TCP"}]}})
    until(lambda: "tp_dst=81" in node.flows(), "a later change is not served", node)


def test_a_second_agent_on_the_same_node_is_refused_and_the_first_unharmed(node: AgentNode) -> None:
    node.start_switch()
    first = node.start_agent()
    node.synchronised()
    flows = node.flows()
    assert node.start_agent().wait(PATIENCE) == 1
    assert node.flows() == flows
    assert f"process id {first.pid} runs on this Node" in node.log
    node.put("more.yaml", {"apiVersion": "v1", "kind": "Service"} | service("more", "10.96.0.30"))
    until(lambda: serves(node, "10.96.0.30"), "the first agent does not go on", node)
    assert node.api("/v1/status")["phase"] == "running"


def test_an_api_server_with_a_wrong_certificate_is_named_and_tried_again(node: AgentNode) -> None:
    node.start_switch()
    ours, theirs = trustme.CA(), trustme.CA()
    certificate, key = node.directory / "server.pem", node.directory / "server.key"
    issued = theirs.issue_cert("127.0.0.1")
    certificate.write_bytes(issued.cert_chain_pems[0].bytes())
    key.write_bytes(issued.private_key_pem.bytes())
    kubeconfig = node.directory / "kubeconfig"
    cluster = {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": base64.b64encode(ours.cert_pem.bytes()).decode(),
    }
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": "test", "user": {"token": "secret"}}],
            }
        )
    )
    server = subprocess.Popen(
        [
            *("ip", "netns", "exec", node.netns, "openssl", "s_server", "-accept", "127.0.0.1:6443", "-quiet"),
            *("-cert", str(certificate), "-key", str(key)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        agent = node.start_agent(source=("--kubeconfig", str(kubeconfig)))
        until(lambda: node.log.count("a source is in trouble") > 3, "it is not tried again", node)
        assert "certificate" in node.log
        assert "https://127.0.0.1:6443" in node.log
        assert "secret" not in node.log
        assert agent.poll() is None
        assert node.stop_agent(agent) == 0
    finally:
        server.kill()
        server.wait(PATIENCE)


def test_interrupting_the_agent_ends_it_as_terminating_does(node: AgentNode) -> None:
    node.start_switch()
    agent = node.start_agent()
    node.synchronised()
    agent.send_signal(signal.SIGINT)
    assert agent.wait(PATIENCE) == 0
    assert "Traceback" not in node.log
