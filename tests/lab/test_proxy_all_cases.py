"""Services from outside and from the Node, in the cases that are easily got wrong."""

from __future__ import annotations

import json
import socket
import struct
from ipaddress import ip_address

import pytest

from lab_cluster import Place, service_object, wait_until
from lab_entry import CLIENT, NAMESPACE, Entry, node_address
from lab_stage import BOTH_PROTOCOLS, DUAL, ask_agent, ask_service, await_service, reconfigured


def host_of(peer: str) -> str:
    """Give the address of an answer's address and port."""
    return peer.rpartition(":")[0].strip("[]")


def answers(place: Place, address: str, port: int) -> bool:
    """Whether somebody answers there."""
    try:
        return bool(place.get(address, port, timeout=1))
    except OSError:
        return False


@pytest.mark.kernel
def test_node_ports_are_at_localhost_of_ipv4_and_of_no_other_family(proxy_all: Entry) -> None:
    port = proxy_all.node_port("pod-cluster", "tcp")
    for node in ("node-1", "node-2"):
        place = proxy_all.cluster.node(node)
        assert place.get("127.0.0.1", port) == "pod"
        assert place.ask_udp("127.0.0.1", proxy_all.node_port("pod-cluster", "udp")) == "pod"
        with pytest.raises(ConnectionRefusedError):
            place.get("::1", port)


def test_no_pod_reaches_what_listens_at_the_nodes_localhost(proxy_all: Entry) -> None:
    """The gateway lets clients at localhost out (route_localnet), and nothing to it in."""
    node, pod = proxy_all.cluster.node("node-1"), proxy_all.cluster.pod(NAMESPACE, "client-1")
    own = ip_address(proxy_all.pod_addresses("client-1")[0])
    frame = udp_frame(own.packed, bytes([127, 0, 0, 1]), port=17171, to=bytes.fromhex("0a580a0a0101"))
    with (
        node.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as listening,
        pod.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as sending,
    ):
        listening.bind(("127.0.0.1", 17171))
        listening.settimeout(1)
        sending.bind(("eth0", 0))
        sending.send(frame)
        with pytest.raises(TimeoutError):
            listening.recv(100)


def udp_frame(source: bytes, destination: bytes, *, port: int, to: bytes) -> bytes:
    """Give a frame of a Pod with a UDP datagram, whose own checksum is left out (RFC 768)."""
    header: bytes = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 30, 0, 0, 64, 17, 0, source, destination)
    total = sum(struct.unpack("!10H", header))
    checksum = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
    header = header[:10] + checksum.to_bytes(2, "big") + header[12:]
    ethernet: bytes = to + b"\x0a\x58" + source + b"\x08\x00"
    return ethernet + header + struct.pack("!HHHH", 4000, port, 10, 0) + b"hi"


@pytest.mark.parametrize("where", ["the Pod's own Node", "another Node"])
def test_a_pod_reaches_itself_at_every_kind_of_address(proxy_all: Entry, where: str) -> None:
    pod = proxy_all.cluster.pod(NAMESPACE, "pod")
    node = "node-1" if where == "the Pod's own Node" else "node-2"
    for number, family in enumerate((4, 6)):
        for address in ("ClusterIP", "load-balancer IP", "external IP"):
            assert pod.get(proxy_all.addresses("pod-cluster")[address][number], 80) == "pod"
        for protocol in ("tcp", "udp"):
            place = node_address(node, family), proxy_all.node_port("pod-cluster", protocol)
            assert (pod.get(*place) if protocol == "tcp" else pod.ask_udp(*place)) == "pod"


@pytest.mark.kernel
def test_an_external_ip_that_is_a_nodes_own_works_for_everybody_and_takes_no_other_port(proxy_all: Entry) -> None:
    cluster = proxy_all.cluster
    addresses = [node_address("node-1", 4), node_address("node-1", 6)]
    proxy_all.service("own", app="pod", type="ClusterIP", externalIPs=addresses)
    places = (
        cluster.client(),
        cluster.node("node-1"),
        cluster.node("node-2"),
        cluster.pod(NAMESPACE, "client-1"),
        cluster.pod(NAMESPACE, "client-2"),
    )
    for place in places:
        for address in addresses:
            assert place.get(address, 80) == "pod", f"{place.name} {address}"
            assert place.ask_udp(address, 80) == "pod", f"{place.name} {address}"
            assert place.get(address, 18080) == "host", f"{place.name} {address}"
    assert host_of(cluster.client().get(addresses[0], 80, "/clientip")) == CLIENT[4]
    cluster.kubectl("delete", "service", "-n", NAMESPACE, "own")
    wait_until(lambda: not answers(cluster.client(), addresses[0], 80), "the address is the Node's alone again")


def test_only_clients_within_the_source_ranges_reach_a_load_balancer_ip_by_the_address_they_have(
    proxy_all: Entry,
) -> None:
    cluster = proxy_all.cluster
    proxy_all.service("ranged", app="pod", loadBalancerSourceRanges=["172.18.0.100/30", "fd00:18::101/128"])
    for address in proxy_all.addresses("ranged")["load-balancer IP"]:
        for via in ("node-1", "node-2"):
            cluster.lab("route", "client-1", "--via", via)
            assert cluster.client().get(address, 80) == "pod"
        for place in (cluster.node("node-1"), cluster.node("node-2"), cluster.pod(NAMESPACE, "client-1")):
            assert not answers(place, address, 80), place.name
    proxy_all.remove("ranged")


@pytest.mark.kernel
def test_a_service_without_endpoints_refuses_at_once_whoever_asks(proxy_all: Entry) -> None:
    cluster = proxy_all.cluster
    proxy_all.service("nobody", app="pod", selector={"app": "nobody"})
    outside = cluster.client()
    cluster.lab("route", "client-1", "--via", "node-1")
    for place in (outside, cluster.node("node-1"), cluster.pod(NAMESPACE, "client-1")):
        kinds = ["load-balancer IP"] + ([] if place is outside else ["ClusterIP"])
        asked = [(address, 80, 80) for kind in kinds for address in proxy_all.addresses("nobody")[kind]]
        ports = proxy_all.node_port("nobody", "tcp"), proxy_all.node_port("nobody", "udp")
        asked += [(node_address("node-1", family), *ports) for family in (4, 6)]
        for address, tcp, udp in asked:
            with pytest.raises(ConnectionRefusedError):
                place.get(address, tcp)
            with pytest.raises(ConnectionRefusedError):
                place.ask_udp(address, udp)
    proxy_all.remove("nobody")


def test_an_address_of_the_service_range_that_nobody_has_is_dropped_and_never_goes_round(proxy_all: Entry) -> None:
    node = proxy_all.cluster.node("node-1")

    def received() -> int:
        shown = node.command("ip", "-s", "-j", "link", "show", "antrea-gw0").stdout
        return int(json.loads(shown)[0]["stats64"]["rx"]["packets"])

    first, last = (proxy_all.addresses(name)["ClusterIP"][0] for name in ("pod-cluster", "host-local"))
    taken = {first, last}
    between = next(f"10.96.0.{number}" for number in range(1, 255) if f"10.96.0.{number}" not in taken)
    before = received()
    for place in (node, proxy_all.cluster.pod(NAMESPACE, "client-1")):
        assert not answers(place, between, 80)
    assert received() - before < 20


def test_an_address_that_the_node_gets_has_node_ports_and_one_that_it_loses_has_them_no_more(proxy_all: Entry) -> None:
    cluster, port = proxy_all.cluster, proxy_all.node_port("pod-cluster", "tcp")
    node, client = cluster.node("node-1"), cluster.client()
    node.command("ip", "address", "add", "172.18.0.77/24", "dev", "eth0")
    wait_until(lambda: answers(client, "172.18.0.77", port), "the new address has the NodePort", seconds=5)
    node.command("ip", "address", "del", "172.18.0.77/24", "dev", "eth0")
    elements = ("nft", "list", "set", "inet", "antrea-proxy", "node_port_addresses_v4")
    wait_until(lambda: "172.18.0.77" not in node.command(*elements).stdout, "its rules forget it", seconds=5)
    assert answers(client, node_address("node-1", 4), port)


def test_node_port_addresses_that_match_nothing_are_named_and_all_but_node_ports_works(proxy_all: Entry) -> None:
    cluster, port = proxy_all.cluster, proxy_all.node_port("pod-cluster", "tcp")
    settings = {"antreaProxy": {"proxyAll": True, "nodePortAddresses": ["203.0.113.0/24"]}}
    cluster.lab("route", "client-1", "--via", "node-1")
    with reconfigured(cluster, "node-1", **settings):
        proxy_all.settle()
        problems = ask_agent(cluster, "node-1", "/v1/status")["networkProblems"]
        assert any("nodePortAddresses" in text and "203.0.113.0/24" in text for text in problems), problems
        with pytest.raises(ConnectionRefusedError):
            cluster.client().get(node_address("node-1", 4), port)
        assert cluster.client().get(proxy_all.addresses("pod-cluster")["load-balancer IP"][0], 80) == "pod"
    proxy_all.settle()
    assert cluster.client().get(node_address("node-1", 4), port) == "pod"


def test_node_ports_are_at_the_addresses_that_node_port_addresses_name(proxy_all: Entry) -> None:
    cluster, port = proxy_all.cluster, proxy_all.node_port("pod-cluster", "tcp")
    settings = {"antreaProxy": {"proxyAll": True, "nodePortAddresses": ["172.18.0.0/24"]}}
    with reconfigured(cluster, "node-1", **settings):
        proxy_all.settle()
        assert cluster.client().get(node_address("node-1", 4), port) == "pod"
        for place, address in (
            (cluster.client(), node_address("node-1", 6)),
            (cluster.node("node-1"), "127.0.0.1"),
            (cluster.pod(NAMESPACE, "client-1"), node_address("node-1", 6)),
        ):
            with pytest.raises(ConnectionRefusedError):
                place.get(address, port)
    proxy_all.settle()


def test_a_route_of_somebody_else_to_a_services_address_is_the_services_problem_until_it_goes(
    proxy_all: Entry,
) -> None:
    cluster = proxy_all.cluster
    node = cluster.node("node-1")
    node.command("ip", "route", "add", "172.31.0.99/32", "via", "172.18.0.254")
    spec = {"selector": {"app": "pod"}, "externalIPs": ["172.31.0.99"], "ports": BOTH_PROTOCOLS, **DUAL}
    cluster.apply(service_object(NAMESPACE, "taken", port=80, **spec))
    await_service(cluster, NAMESPACE, "taken")

    def problems() -> list[str]:
        seen = ask_service(cluster, "node-1", NAMESPACE, "taken")
        return [str(item) for item in seen["problems"]] if seen else []

    wait_until(lambda: any("ip route del 172.31.0.99" in text for text in problems()), "the Service says so")
    assert cluster.client().get(node_address("node-1", 4), proxy_all.node_port("pod-cluster", "tcp")) == "pod"
    node.command("ip", "route", "del", "172.31.0.99/32")
    wait_until(lambda: not problems(), "the Service is well again", seconds=40)
    cluster.lab("route", "client-1", "--via", "node-1")
    assert cluster.client().get("172.31.0.99", 80) == "pod"
    proxy_all.remove("taken")


@pytest.mark.parametrize("how", ["agent", "agent, killed"])
def test_connections_from_outside_and_from_the_node_outlive_the_agent(proxy_all: Entry, how: str) -> None:
    cluster = proxy_all.cluster
    cluster.lab("route", "client-1", "--via", "node-2")
    asked: list[tuple[Place, str, int]] = [
        (cluster.client(), proxy_all.addresses("pod-cluster")["load-balancer IP"][0], 80),
        (cluster.client(), node_address("node-2", 6), proxy_all.node_port("pod-cluster", "tcp")),
        (cluster.client(), proxy_all.addresses("host-cluster")["external IP"][0], 80),
        (cluster.node("node-2"), proxy_all.addresses("pod-cluster")["ClusterIP"][0], 80),
        (cluster.node("node-2"), "127.0.0.1", proxy_all.node_port("pod-cluster", "tcp")),
    ]
    open_ones = [place.connect(address, port) for place, address, port in asked]
    before = [ask_again(sock) for sock in open_ones]
    cluster.lab("restart", "agent", "node-2", *(["--kill"] if "killed" in how else []))
    assert [ask_again(sock) for sock in open_ones] == before
    proxy_all.settle()
    assert [ask_again(sock) for sock in open_ones] == before
    for sock in open_ones:
        sock.close()


def ask_again(sock: socket.socket) -> bytes:
    """GET /hostname over a connection that is open."""
    sock.sendall(b"GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n")
    received = b""
    while not received.endswith((b"pod", b"host")):
        part = sock.recv(65536)
        assert part, received
        received += part
    return received.rpartition(b"\r\n\r\n")[2]


def test_rules_and_routes_that_somebody_takes_away_come_back(proxy_all: Entry) -> None:
    cluster = proxy_all.cluster
    node = cluster.node("node-1")
    cluster.lab("route", "client-1", "--via", "node-1")
    node.command("nft", "delete", "table", "inet", "antrea-proxy")
    node.command("ip", "route", "flush", "proto", "78", "via", "169.254.0.253")
    address = proxy_all.addresses("pod-cluster")["load-balancer IP"][0]
    assert not answers(cluster.client(), address, 80)
    port = proxy_all.node_port("pod-cluster", "tcp")
    wait_until(lambda: answers(cluster.client(), address, 80), "the route is back", seconds=40)
    assert answers(cluster.client(), node_address("node-1", 4), port)
