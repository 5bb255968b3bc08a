"""What most ClusterIP tests start from: a client and a server on each Node, and Services whose state can be awaited."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from lab_cluster import PATIENCE, PROGRAM, Cluster, JsonObject, Place, pod_object, service_object, wait_until

DUAL = {"ipFamilyPolicy": "PreferDualStack"}
BOTH_PROTOCOLS = [
    {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
    {"name": "lines", "port": 80, "targetPort": 8080, "protocol": "UDP"},
]
"""The same port number of TCP and of UDP."""
_SYNCHRONISED = re.compile(r'event="the switch is synchronised".* messages=(\d+)')


class Stage:
    """A Kubernetes namespace with Pods `client-K` and `server-K` (labelled app=server) on each Node `node-K`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.nodes = cluster.node_names
        cluster.kubectl("create", "namespace", namespace)
        pods = [
            pod_object(namespace, f"{role}-{node.removeprefix('node-')}", node=node, labels={"app": role})
            for node in self.nodes
            for role in ("client", "server")
        ]
        cluster.apply(*pods)
        cluster.kubectl(
            "wait", "-n", namespace, "pods", "--all", "--for=condition=Ready", f"--timeout={60 * PATIENCE:.0f}s"
        )
        self.clients = {node: self.pod(f"client-{node.removeprefix('node-')}") for node in self.nodes}
        self.servers = [f"server-{node.removeprefix('node-')}" for node in self.nodes]

    def pod(self, name: str) -> Place:
        """Give one of the namespace's Pods as a place."""
        return self.cluster.pod(self.namespace, name)

    def addresses_of(self, pod: str) -> list[str]:
        """Give a Pod's addresses, IPv4 first."""
        found = self.cluster.get("pod", "-n", self.namespace, pod)["status"]["podIPs"]
        return [entry["ip"] for entry in found]

    def service(self, name: str, *, endpoints: int | None = None, app: str = "server", **spec: object) -> list[str]:
        """Make a dual-stack Service of the Pods labelled app=APP, TCP and UDP 80 -> 8080, and give its ClusterIPs.

        Returns when every Node balances it over `endpoints` (for each port; None does not wait for a number).
        """
        body = {"selector": {"app": app}, "ports": BOTH_PROTOCOLS, **DUAL, **spec}
        self.cluster.apply(service_object(self.namespace, name, port=80, **body))
        await_service(self.cluster, self.namespace, name, endpoints=endpoints)
        return self.cluster_ips(name)

    def patch(self, name: str, *, status: JsonObject | None = None, **spec: object) -> None:
        """Change a Service: fields of its spec (None takes one away), or its status as a load balancer would."""
        subresource = () if status is None else ("--subresource=status",)
        patch = json.dumps({"spec": spec} if status is None else {"status": status})
        words = ("service", "-n", self.namespace, name, "--type=merge", "-p", patch)
        self.cluster.kubectl("patch", *words, *subresource)

    def remove(self, *names: str) -> None:
        """Delete Services."""
        self.cluster.kubectl("delete", "service", "-n", self.namespace, *names)

    def cluster_ips(self, name: str) -> list[str]:
        """Give a Service's ClusterIPs, IPv4 first."""
        found: list[str] = self.cluster.get("service", "-n", self.namespace, name)["spec"]["clusterIPs"]
        return found


def ask_agent(cluster: Cluster, node: str, path: str) -> JsonObject:
    """GET a path of a Node's agent, on its Unix socket. Raises OSError."""
    return ask_socket(cluster.places.node(node).cni_socket.with_name("api.sock"), path)


def ask_socket(api: Path, path: str) -> JsonObject:
    """GET a path over a Unix socket. Raises OSError."""
    connection = http.client.HTTPConnection("agent", timeout=5 * PATIENCE)
    with contextlib.closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5 * PATIENCE)
        connection.sock.connect(str(api))
        connection.request("GET", path)
        found: JsonObject = json.loads(connection.getresponse().read())
    return found


def synchronisations(cluster: Cluster, node: str) -> list[int]:
    """Tell how many messages the switch was sent at each start of the Node's agent."""
    return [int(number) for number in _SYNCHRONISED.findall(cluster.places.node(node).agent_log.read_text())]


def ask_service(cluster: Cluster, node: str, namespace: str, name: str) -> JsonObject | None:
    """Give a Service as a Node's agent sees it, or None if it does not know it."""
    items = ask_agent(cluster, node, f"/v1/services?namespace={namespace}&name={name}")["items"]
    return items[0] if items else None


def await_service(
    cluster: Cluster, namespace: str, name: str, *, endpoints: int | None = None, seconds: float = 15.0
) -> None:
    """Wait until every Node's agent has the Service in its switch, each port with so many endpoints in use."""

    def in_place(node: str) -> bool:
        with contextlib.suppress(OSError):
            seen = ask_service(cluster, node, namespace, name)
            if seen is not None and seen["ports"]:
                return endpoints is None or all(port["endpointsInUse"] == endpoints for port in seen["ports"])
        return False

    for node in cluster.node_names:
        what = f"{namespace}/{name} with {endpoints} endpoints on {node}"
        wait_until(lambda node=node: in_place(node), what, seconds=seconds)  # type: ignore[misc]


def await_state(cluster: Cluster, node: str, namespace: str, name: str, state: str) -> JsonObject:
    """Wait until a Node's agent has a Service in this state, and its switch treats new packets accordingly."""
    found: list[JsonObject] = []

    def reached() -> bool:
        with contextlib.suppress(OSError):
            seen = ask_service(cluster, node, namespace, name)
            if seen is not None and seen["state"] == state and bool(seen["flows"]) == (state == "balanced"):
                found.append(seen)
        return bool(found)

    wait_until(reached, f"{namespace}/{name} {state} on {node}")
    await_followed(cluster, node)
    return found[-1]


def await_followed(cluster: Cluster, *nodes: str) -> None:
    """Wait until the switches of some Nodes do with new packets what their agents have decided by now.

    The datapath's own flows are held against changed tables a moment after the change, in rounds. Two of them are
    waited for: the one that ends first may have begun before.
    """
    for node in nodes:
        wait_until(
            lambda node=node: ask_agent(cluster, node, "/v1/status")["pendingSince"] is None,  # type: ignore[misc]
            f"all changes are in the switch of {node}",
        )
        for _ in range(2):
            appctl(cluster, node, "revalidator/wait")


@contextlib.contextmanager
def reconfigured(cluster: Cluster, *nodes: str, **keys: object) -> Iterator[None]:
    """Run the agents of some Nodes with other keys of antrea-agent.conf, as a user changes them, and then as before."""
    before = cluster.get("configmap", "-n", "kube-system", "antrea-config")["data"]["antrea-agent.conf"]
    _reconfigure(cluster, nodes, yaml.safe_dump({**(yaml.safe_load(before) or {}), **keys}))
    try:
        yield
    finally:
        _reconfigure(cluster, nodes, before)


def _reconfigure(cluster: Cluster, nodes: Sequence[str], conf: str) -> None:
    patch = json.dumps({"data": {"antrea-agent.conf": conf}})
    cluster.kubectl("patch", "configmap", "-n", "kube-system", "antrea-config", "--type=merge", "-p", patch)
    for node in nodes:
        cluster.lab("restart", "agent", node)


def slice_object(
    namespace: str, service: str, name: str, *, addresses: Sequence[str | JsonObject], ports: Sequence[JsonObject]
) -> JsonObject:
    """Give an EndpointSlice for a Service without a selector; an endpoint is ready where it is just an address."""
    endpoints: list[JsonObject] = [
        {"addresses": [item], "conditions": {"ready": True}} if isinstance(item, str) else item for item in addresses
    ]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv6" if ":" in endpoints[0]["addresses"][0] else "IPv4",
        "endpoints": endpoints,
        "ports": list(ports),
    }


@contextlib.contextmanager
def held_by_the_node(node: Place, addresses: Sequence[str], port: int) -> Iterator[None]:
    """Give addresses to the Node itself, on a dummy-like interface, and answer there."""
    node.command("ip", "link", "add", "held", "type", "bridge")
    try:
        node.command("ip", "link", "set", "held", "up")
        for address in addresses:
            six = ":" in address
            node.command(
                "ip", "addr", "add", f"{address}/{128 if six else 32}", "dev", "held", *(["nodad"] if six else [])
            )
        with serving_outside(node, name="the-node", port=port):
            yield
    finally:
        node.command("ip", "link", "del", "held")


@contextlib.contextmanager
def serving_outside(place: Place, *, name: str, port: int) -> Iterator[None]:
    """Run the pod-server on a host that is no Pod."""
    command = ["nsenter", f"--net={place.netns}", PROGRAM, "pod-server", "--port", str(port), "--hostname", name]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(place, port), f"{name} serves")
            yield
        finally:
            process.kill()


def _answers(place: Place, port: int) -> bool:
    try:
        return bool(place.get("127.0.0.1", port))
    except OSError:
        return False


def ofctl(cluster: Cluster, node: str, command: str, *arguments: str) -> str:
    """Run ovs-ofctl COMMAND on a Node's bridge."""
    bridge: Path = cluster.places.node(node).ovs / "br-int.mgmt"
    words = ["ovs-ofctl", "-O", "OpenFlow15", command, f"unix:{bridge}", *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30 * PATIENCE).stdout


def appctl(cluster: Cluster, node: str, *arguments: str) -> str:
    """Run ovs-appctl on a Node's ovs-vswitchd."""
    directory = cluster.places.node(node).ovs
    pid = (directory / "ovs-vswitchd.pid").read_text().strip()
    words = ["ovs-appctl", "-t", str(directory / f"ovs-vswitchd.{pid}.ctl"), *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30 * PATIENCE).stdout
