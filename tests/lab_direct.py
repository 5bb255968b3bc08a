"""A lab with direct server return, and Services in this mode: what tests of it start from."""

from __future__ import annotations

import contextlib
import itertools
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab_cluster import PATIENCE, Cluster, Place, pod_object, running_cluster, service_object, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, ask_agent, ask_service, await_followed, await_service
from lab_traffic import converse

NAMESPACE = "direct"
MODE = "service.antrea.io/load-balancer-mode"
CROWD = {"crowd-1": "node-1", "crowd-2": "node-1", "crowd-3": "node-1", "crowd-4": "node-2"}
"""Pods by name, with the Node of each: none on node-3."""
SPARE = {"spare-1": "node-3", "spare-2": "node-2", "spare-3": "node-3"}
_SO_RCVBUFFORCE = 33
"""asm-generic/socket.h; the socket module has no name for it."""
_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_ETHERNET = 14
_HEADERS = {4: (20, slice(12, 16)), 6: (40, slice(8, 24))}
"""Length of the IP header, and the source address in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A connection: who answered, as whom it saw the client, and the Node whose frames brought the answers."""

    server: str
    seen_as: str
    back_from: frozenset[str]


class Direct:
    """A lab with the feature gate LoadBalancerModeDSR, and a client and a server on each Node.

    Beside them are the Pods of CROWD, labelled app=crowd, and those of SPARE, which tests give the label and take it.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.stage = Stage(cluster, NAMESPACE)
        self.client = cluster.client()
        cluster.apply(
            *(pod_object(NAMESPACE, name, node=node, labels={"app": "crowd"}) for name, node in CROWD.items()),
            *(pod_object(NAMESPACE, name, node=node, labels={"app": "spare"}) for name, node in SPARE.items()),
        )
        ready = f"--timeout={60 * PATIENCE:.0f}s"
        cluster.kubectl("wait", "-n", NAMESPACE, "pods", "--all", "--for=condition=Ready", ready)
        self._names = itertools.count(1)

    @contextlib.contextmanager
    def service(
        self, *, mode: str | None = "dsr", endpoints: int | None = None, app: str = "server", **spec: object
    ) -> Iterator[tuple[str, Sequence[str]]]:
        """Make a Service of type LoadBalancer, TCP and UDP 80; gives its name and its addresses, IPv4 first."""
        name = f"direct-{next(self._names)}"
        given = {"selector": {"app": app}, "type": "LoadBalancer", "ports": BOTH_PROTOCOLS, **DUAL, **spec}
        made = service_object(NAMESPACE, name, port=80, **given)
        if mode is not None:
            made["metadata"]["annotations"] = {MODE: mode}
        self.cluster.apply(made)
        try:
            wait_until(lambda: len(self.addresses(name)) == 2, f"{name} has a load-balancer IP of each family")
            await_service(self.cluster, NAMESPACE, name, endpoints=endpoints)
            if mode is not None:
                self.await_mode(name, mode)
            self.settle()
            yield name, self.addresses(name)
        finally:
            self.stage.remove(name)

    def addresses(self, name: str) -> Sequence[str]:
        """Give the addresses that the load balancer gave a Service, IPv4 first."""
        service = self.cluster.get("service", "-n", NAMESPACE, name)
        return [item["ip"] for item in service["status"]["loadBalancer"].get("ingress", ())]

    def annotate(self, name: str, mode: str) -> None:
        """Change a Service's mode, and wait until all Nodes have it."""
        self.cluster.kubectl("annotate", "service", "-n", NAMESPACE, name, f"{MODE}={mode}", "--overwrite")
        self.await_mode(name, mode)

    def await_mode(self, name: str, mode: str) -> None:
        """Wait until a Service's external addresses are in a mode on all Nodes."""
        for node in self.stage.nodes:
            wait_until(lambda node=node: self.modes(node, name) == {mode}, f"{name} in mode {mode} on {node}")  # type: ignore[misc]
        self.settle()
        await_followed(self.cluster, *self.stage.nodes)

    def modes(self, node: str, name: str) -> set[str]:
        """Give the modes of a Service's load-balancer IPs, as a Node's agent says."""
        seen = ask_service(self.cluster, node, NAMESPACE, name)
        ports = seen["ports"] if seen else ()
        return {port["mode"] for port in ports if port["kind"] == "loadBalancerIP"}

    def problems(self, node: str, name: str) -> str:
        """Give what a Node's agent says to be wrong with a Service."""
        seen = ask_service(self.cluster, node, NAMESPACE, name)
        return "\n".join(seen["problems"]) if seen else ""

    def route(self, via: str) -> None:
        """Lead the client's packets to Service addresses through Nodes (several by ECMP: node-1,node-2)."""
        self.cluster.lab("route", self.client.name, "--via", via)

    def label(self, app: str, *pods: str) -> None:
        """Give Pods another label app, and with it to another Service, or to none."""
        self.cluster.kubectl("label", "pods", "-n", NAMESPACE, *pods, f"app={app}", "--overwrite")

    def settle(self) -> None:
        """Wait until every Node's own network stack has what Services ask for."""
        for node in self.stage.nodes:
            wait_until(lambda node=node: self._settled(node), f"{node} has all entries of Services")  # type: ignore[misc]

    def _settled(self, node: str) -> bool:
        host = ask_agent(self.cluster, node, "/v1/status")["host"]
        return not host["pending"] and not host["problem"]

    def connect(self, address: str, *, count: int) -> Sequence[Served]:
        """Connect from the client so often, and tell who answered over which way back."""
        connections: dict[int, tuple[str, str]] = {}
        with self.client.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as frames:
            frames.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)
            frames.bind(("eth0", _ETHER_TYPES[6 if ":" in address else 4]))
            for _ in range(count):
                with self.client.connect(address, 80) as sock:
                    found = converse(sock, "/hostname"), converse(sock, "/clientip").rpartition(":")[0].strip("[]")
                    connections[sock.getsockname()[1]] = found
            frames.setblocking(False)  # noqa: FBT003 - the socket's own signature
            ways = self._ways_back(frames, address)
        return [
            Served(server=server, seen_as=seen, back_from=frozenset(ways.get(port, ())))
            for port, (server, seen) in connections.items()
        ]

    def _ways_back(self, frames: socket.socket, address: str) -> dict[int, set[str]]:
        """The Nodes whose frames came, by the client's port: the network between Nodes and clients is one segment."""
        version = 6 if ":" in address else 4
        length, source = _HEADERS[version]
        packed = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, address)
        nodes = {self.mac(node): node for node in self.stage.nodes}
        ways: dict[int, set[str]] = {}
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = frames.recv(65536)
                packet = frame[_ETHERNET:]
                if packet[source] == packed and len(packet) > length + 4:
                    port = int.from_bytes(packet[length + 2 : length + 4], "big")
                    ways.setdefault(port, set()).add(nodes[frame[6:12].hex(":")])
        return ways

    def mac(self, node: str) -> str:
        """Give the MAC address of a Node on the network between Nodes and clients."""
        return self.cluster.node(node).command("ip", "-br", "link", "show", "eth0").stdout.split()[2]


def node_of(server: str) -> str:
    """Give the Node of a server of the stage."""
    return f"node-{server.rpartition('-')[2]}"


def echoed(sock: socket.socket, data: bytes) -> bytes:
    """POST data and give what comes back."""
    sock.sendall(b"POST /echo HTTP/1.0\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
    received = bytearray()
    while part := sock.recv(1 << 20):
        received += part
    return bytes(received).partition(b"\r\n\r\n")[2]


def places(direct: Direct) -> Sequence[Place]:
    """Give clients that are not outside: a Pod and the Node itself, of each Node."""
    nodes = direct.stage.nodes
    return [direct.stage.clients[node] for node in nodes] + [direct.cluster.node(node) for node in nodes]


@contextlib.contextmanager
def direct_lab(*up_arguments: str) -> Iterator[Direct]:
    """Make a lab of three Nodes with the gate on, and take it down."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("featureGates: {LoadBalancerModeDSR: true}\nantreaProxy: {proxyAll: true}\n")
        config.flush()
        with running_cluster("--nodes", "3", "--config", config.name, *up_arguments) as cluster:
            yield Direct(cluster)
