"""Hybrid mode, on two subnets: Nodes of one subnet reach each other's Pods by route, those beyond the router by tunnel.

node-1 and node-3 are neighbours, as is the client outside; node-2 is in the other subnet.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, Place, running_cluster, wait_until
from lab_stage import Stage
from lab_traffic import many, outcome

ROUTED, TUNNELLED = "by route", "by tunnel"
WAYS = {("node-1", "node-3"): ROUTED, ("node-1", "node-2"): TUNNELLED, ("node-3", "node-2"): TUNNELLED}
CLIENT = ("172.18.0.101", "fd00:18::101")
GENEVE = 6081
_UDP = 17
_EVERY_TYPE = 0x0003
"""ETH_P_ALL (packet(7))."""
_TYPES = {0x0800: 4, 0x86DD: 6}


@pytest.fixture(scope="module")
def hybrid() -> Iterator[Stage]:
    """A lab of three Nodes on two subnets, with proxyAll, direct server return, and a server on each Node."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write("antreaProxy: {proxyAll: true}\nfeatureGates: {LoadBalancerModeDSR: true}\n")
        config.flush()
        arguments = ("--encap-mode", "hybrid", "--nodes", "3", "--subnets", "2", "--config", config.name)
        with running_cluster(*arguments) as cluster:
            yield Stage(cluster, "stage")


class Underlay:
    """What passes a Node's port of the network that joins the Nodes."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        uplink = "eth0" if cluster.status()["datapath"] == "system" else "eth1"
        self._place = Place(name="underlay", netns=cluster.places.netns("underlay"))
        self._port = f"{node}-{uplink}"

    @contextlib.contextmanager
    def frames(self) -> Iterator[Counter[str]]:
        """Count, for the block, frames of Pods that travel as they are, and those that tunnels carry."""
        seen: Counter[str] = Counter()
        with self._place.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as frames:
            frames.bind((self._port, _EVERY_TYPE))
            yield seen
            frames.setblocking(False)  # noqa: FBT003 - the socket's own signature
            with contextlib.suppress(BlockingIOError):
                while True:
                    seen[_way(frames.recv(200))] += 1


def _way(frame: bytes) -> str:
    """Tell how a frame travels: with a Pod's address in its own header, or in a tunnel."""
    packet = frame[14:]
    match _TYPES.get(int.from_bytes(frame[12:14], "big")):
        case 4:
            protocol, source, ports = packet[9], packet[12:14], packet[20:24]
            of_pod = source == bytes((10, 10))
        case 6:
            protocol, source, ports = packet[6], packet[8:12], packet[40:44]
            of_pod = source == bytes.fromhex("fd000010")
        case _:
            return "else"
    if of_pod:
        return ROUTED
    return TUNNELLED if protocol == _UDP and int.from_bytes(ports[2:], "big") == GENEVE else "else"


@pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("one", "other"), WAYS)
def test_pods_reach_each_other_by_route_within_a_subnet_and_by_tunnel_beyond(
    hybrid: Stage, one: str, other: str, family: int
) -> None:
    server = f"server-{other[-1]}"
    address = hybrid.addresses_of(server)[family]
    with Underlay(hybrid.cluster, one).frames() as frames:
        assert hybrid.clients[one].get(address, 8080) == server
        assert len(hybrid.clients[one].get(address, 8080, "/bytes?n=300000")) == 300_000
    assert frames[WAYS[one, other]] > 10
    assert {frames[ROUTED], frames[TUNNELLED]} & {0}


@pytest.mark.kernel
def test_services_are_reached_at_every_node_from_everywhere(hybrid: Stage) -> None:
    cluster = hybrid.cluster
    addresses = hybrid.service("web", endpoints=3, type="NodePort")
    ports = cluster.get("service", "-n", hybrid.namespace, "web")["spec"]["ports"]
    node_port = next(int(port["nodePort"]) for port in ports if port["protocol"] == "TCP")
    for place in (*hybrid.clients.values(), *map(cluster.node, hybrid.nodes)):
        tally = many(place, "tcp", *((address, 80) for address in addresses), count=60)
        assert not tally.failed
        assert set(tally.answers) == set(hybrid.servers)
    for node in hybrid.nodes:
        for entry in cluster.get("node", node)["status"]["addresses"]:
            if entry["type"] == "InternalIP":
                tally = many(cluster.client(), "tcp", (entry["address"], node_port), count=40)
                assert not tally.failed
                assert set(tally.answers) == set(hybrid.servers)
    hybrid.remove("web")


@pytest.mark.parametrize("server", ["server-2", "server-3"], ids=["beyond the router", "of the same subnet"])
def test_direct_server_return_goes_through_the_tunnel_to_nodes_of_either_subnet(hybrid: Stage, server: str) -> None:
    cluster, label = hybrid.cluster, {"direct": server}
    cluster.kubectl("label", "pod", "-n", hybrid.namespace, server, f"direct={server}")
    external = ("172.31.0.7", "fd00:31::7")
    hybrid.service("direct", endpoints=1, selector=label, type="LoadBalancer", externalIPs=list(external))
    cluster.kubectl("annotate", "service", "-n", hybrid.namespace, "direct", "service.antrea.io/load-balancer-mode=dsr")
    cluster.lab("route", "client-1", "--via", "node-1")
    for address, client in zip(external, CLIENT, strict=True):
        _await_source(cluster, address, client)
        assert outcome(cluster.client(), address) == server
    hybrid.remove("direct")


def _await_source(cluster: Cluster, address: str, client: str) -> None:
    wait_until(
        lambda: cluster.client().get(address, 80, "/clientip").rpartition(":")[0].strip("[]") == client,
        f"the endpoint at {address} sees the client itself",
    )


def test_a_client_is_not_led_by_way_of_a_node_beyond_its_router(hybrid: Stage) -> None:
    done = hybrid.cluster.lab("route", "client-1", "--via", "node-2", check=False)
    assert done.returncode == 1
    assert "node-2 is beyond the router for clients: the Nodes of their subnet are node-1, node-3" in done.stderr
