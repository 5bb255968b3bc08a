"""UDP clients that go on from one port, as syslog senders do, while what they talk to comes and goes.

To a tracker such a client has one connection for ever. It must leave what is gone at once, and be left alone otherwise.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network

import pytest

from lab_cluster import PATIENCE, Cluster, JsonObject, Place, service_object, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, appctl, await_service
from lab_stage import slice_object as slice_of
from lab_traffic import converse

NODE = "node-1"
AT_ONCE = 2.0
"""Seconds from the agent's commit: the datapath follows within one, and a datagram that was lost is sent again."""
DRAINS: JsonObject = {
    "containers": [{"name": "server", "image": "pod-server", "args": ["--drain", "4"]}],
    "terminationGracePeriodSeconds": 30,
}
NOBODY = {"silence", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH"}
"""What comes in the place of an answer; not every datagram is refused, since the kernel limits the rate of ICMP."""

_PORTS = itertools.count(20_000)
_ENTRY = re.compile(r"^udp,orig=\(src=[^,]+,dst=([^,]+),sport=(\d+),dport=\d+\),reply=\(src=([^,]+),.*$", re.MULTILINE)


class Talker:
    """A UDP client on one port of its own; asks who is there, again and again."""

    def __init__(self, place: Place, address: str, port: int = 80) -> None:
        self.port = next(_PORTS)
        self._sock = place.open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.settimeout(0.2 * PATIENCE)
        self._sock.bind(("", self.port))
        self._sock.connect((address, port))
        self.answer = ""

    def ask(self) -> str:
        """Send one datagram; give the answer, or what came in its place."""
        try:
            self._sock.send(b"hostname\n")
            self.answer = self._sock.recv(2048).decode().strip()
        except TimeoutError:
            self.answer = "silence"
        except OSError as error:
            self.answer = errno.errorcode[error.errno or 0]
        return self.answer

    def drain(self) -> None:
        """Take late answers away, so that the next one is to the next question."""
        self._sock.settimeout(0.02)
        with contextlib.suppress(OSError):
            while self._sock.recv(2048):
                pass
        self._sock.settimeout(0.2 * PATIENCE)

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def talkers() -> Iterator[list[Talker]]:
    """All clients of a test; they are closed after it."""
    made: list[Talker] = []
    yield made
    for talker in made:
        talker.close()


def talk(talkers: list[Talker], place: Place, addresses: Sequence[str], *, each: int = 8) -> list[Talker]:
    """Let clients start at each address, so many that every server has some of them."""
    new = [Talker(place, address) for address in addresses for _ in range(each)]
    talkers += new
    for talker in new:
        assert wait_for_answer(talker) not in NOBODY, "each client has a server to begin with"
    return new


def wait_for_answer(talker: Talker) -> str:
    """Ask until somebody answers, as long as a first packet may take."""
    deadline = time.monotonic() + 3 * PATIENCE
    while talker.ask() in NOBODY and time.monotonic() < deadline:
        pass
    return talker.answer


def all_get(talkers: Sequence[Talker], wanted: set[str], what: str, *, seconds: float = AT_ONCE) -> None:
    """Go on asking with all clients; in good time, each gets one of the answers wanted."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        for talker in talkers:
            talker.drain()
            talker.ask()
        wrong = {talker.port: talker.answer for talker in talkers if talker.answer not in wanted}
        if not wrong:
            return
        assert time.monotonic() < deadline, f"{what}: after {seconds} s still {wrong}"


def entries(cluster: Cluster, node: str, talkers: Sequence[Talker]) -> dict[int, set[str]]:
    """The tracker's entries of some clients, by their ports; timestamps and counters are not listed."""
    ports = {talker.port for talker in talkers}
    found: dict[int, set[str]] = {port: set() for port in ports}
    for match in _ENTRY.finditer(dump(cluster, node)):
        if int(match[2]) in ports:
            found[int(match[2])].add(match[0])
    return found


def dump(cluster: Cluster, node: str) -> str:
    """All that a Node's tracker holds in the pipeline's zone."""
    (datapath,) = appctl(cluster, node, "dpctl/dump-dps").split()
    return appctl(cluster, node, "dpctl/dump-conntrack", datapath, "zone=65520")


def dns(cluster: Cluster, namespace: str, pods: dict[str, str], *, others: int = 0) -> list[str]:
    """Make Pods on given Nodes and a dual-stack Service of them, and of others that are there; gives its addresses."""
    for name, node in pods.items():
        cluster.run_pod(namespace, name, node=node, labels={"app": "dns"})
    cluster.expose(namespace, "dns", port=80, ports=BOTH_PROTOCOLS, **DUAL)
    await_service(cluster, namespace, "dns", endpoints=len(pods) + others)
    return addresses_of(cluster, namespace)


def addresses_of(cluster: Cluster, namespace: str, name: str = "dns") -> list[str]:
    found: list[str] = cluster.get("service", "-n", namespace, name)["spec"]["clusterIPs"]
    return found


def leave(cluster: Cluster, namespace: str, pod: str, *, endpoints: int) -> None:
    """Take a Pod out of the Service; it lives on, and would answer whoever still comes to it."""
    cluster.kubectl("label", "pod", "-n", namespace, pod, "app=elsewhere", "--overwrite")
    await_service(cluster, namespace, "dns", endpoints=endpoints)


def come_back(cluster: Cluster, namespace: str, pod: str, *, endpoints: int) -> None:
    cluster.kubectl("label", "pod", "-n", namespace, pod, "app=dns", "--overwrite")
    await_service(cluster, namespace, "dns", endpoints=endpoints)


@pytest.mark.parametrize(
    "node",
    [
        pytest.param(NODE, id="an endpoint on its Node"),
        pytest.param("node-2", id="an endpoint on another Node", marks=pytest.mark.kernel),
    ],
)
def test_a_client_leaves_an_endpoint_that_is_gone_and_all_others_stay_where_they_are(
    cluster: Cluster, stage: Stage, namespace: str, talkers: list[Talker], node: str
) -> None:
    addresses = dns(cluster, namespace, {"goes": node, "stays-1": NODE, "stays-2": "node-3"})
    everybody = talk(talkers, stage.clients[NODE], addresses, each=12)
    moving = [one for one in everybody if one.answer == "goes"]
    staying = [one for one in everybody if one.answer != "goes"]
    assert len({":" in address for address in addresses}) == 2
    assert moving, "so that this shows something"
    assert staying, "so that this shows something"
    before = entries(cluster, NODE, staying)
    leave(cluster, namespace, "goes", endpoints=2)
    all_get(moving, {"stays-1", "stays-2"}, "clients of the endpoint that is gone")
    time.sleep(1.2)
    assert entries(cluster, NODE, staying) == before, "they did not send, so that what was forgotten would be missing"


def test_a_client_of_a_deleted_pod_moves_when_the_pod_serves_no_longer_and_not_before(
    cluster: Cluster, stage: Stage, namespace: str, talkers: list[Talker]
) -> None:
    cluster.run_pod(namespace, "goes", labels={"app": "dns"}, node="node-2", **DRAINS)
    addresses = dns(cluster, namespace, {"stays": "node-3"}, others=1)
    clients = [one for one in talk(talkers, stage.clients[NODE], addresses) if one.answer == "goes"]
    cluster.kubectl("delete", "pod", "-n", namespace, "goes", "--wait=false")
    await_service(cluster, namespace, "dns", endpoints=1)
    for _ in range(5):
        assert {one.ask() for one in clients} == {"goes"}, "it is terminating, and still serves"
    wait_until(lambda: not cluster.get("pods", "-n", namespace, "-l", "app=dns")["items"][1:], "the Pod is gone")
    all_get(clients, {"stays"}, "clients of the deleted Pod")


def test_scaled_to_zero_a_client_is_refused_and_answered_when_there_is_an_endpoint_again(
    cluster: Cluster, stage: Stage, namespace: str, talkers: list[Talker]
) -> None:
    addresses = dns(cluster, namespace, {"one": NODE, "two": "node-2"})
    clients = talk(talkers, stage.clients[NODE], addresses, each=3)
    for pods in (("one", "two"), ("two", "one")):
        leave(cluster, namespace, pods[0], endpoints=1)
        leave(cluster, namespace, pods[1], endpoints=0)
        all_get(clients, NOBODY, "no endpoint")
        wait_until(lambda: "ECONNREFUSED" in {client.ask() for client in clients}, "a client is told")
        come_back(cluster, namespace, pods[0], endpoints=1)
        all_get(clients, {pods[0]}, "an endpoint again")
        come_back(cluster, namespace, pods[1], endpoints=2)


def test_a_client_of_a_port_that_is_gone_is_refused_and_answered_when_it_is_back(
    cluster: Cluster, stage: Stage, namespace: str, talkers: list[Talker]
) -> None:
    addresses = dns(cluster, namespace, {"one": NODE, "two": "node-2"})
    clients = talk(talkers, stage.clients[NODE], addresses, each=3)
    for _ in range(2):
        _ports(cluster, namespace, [BOTH_PROTOCOLS[0]])
        all_get(clients, NOBODY, "the UDP port is gone")
        _ports(cluster, namespace, BOTH_PROTOCOLS)
        all_get(clients, {"one", "two"}, "the UDP port is back")


def _ports(cluster: Cluster, namespace: str, ports: Sequence[JsonObject]) -> None:
    patch = json.dumps({"spec": {"ports": list(ports)}})
    cluster.kubectl("patch", "service", "-n", namespace, "dns", "--type=merge", "-p", patch)
    await_service(cluster, namespace, "dns", endpoints=2)


def test_a_client_follows_an_address_to_another_service_though_nobody_had_it_in_between(
    cluster: Cluster, stage: Stage, namespace: str, talkers: list[Talker]
) -> None:
    """In between, its datagrams leave by the gateway, and the tracker notes them as such."""
    addresses = dns(cluster, namespace, {"old": NODE})
    cluster.run_pod(namespace, "new", node="node-2", labels={"app": "other"})
    clients = talk(talkers, stage.clients[NODE], addresses, each=3)
    cluster.kubectl("delete", "service", "-n", namespace, "dns")
    all_get(clients, NOBODY, "the address is nobody's")
    all_get(clients, NOBODY, "the address is nobody's, once more")
    body = {"ports": BOTH_PROTOCOLS, "selector": {"app": "other"}, **DUAL}
    body |= {"clusterIP": addresses[0], "clusterIPs": addresses}
    cluster.apply(service_object(namespace, "heir", port=80, **body))
    await_service(cluster, namespace, "heir", endpoints=1)
    all_get(clients, {"new"}, "the address is another Service's")


def test_a_pod_that_reaches_its_own_service_leaves_what_is_gone_for_itself_and_itself_for_others(
    cluster: Cluster, namespace: str, talkers: list[Talker]
) -> None:
    addresses = dns(cluster, namespace, {"self": NODE, "other": "node-2"})
    clients = talk(talkers, cluster.pod(namespace, "self"), addresses)
    assert {one.answer for one in clients} == {"self", "other"}, "so that this shows something"
    leave(cluster, namespace, "other", endpoints=1)
    all_get(clients, {"self"}, "all others are gone")
    come_back(cluster, namespace, "other", endpoints=2)
    leave(cluster, namespace, "self", endpoints=1)
    all_get(clients, {"other"}, "itself is out")


def test_what_changed_while_the_agent_was_away_is_cleaned_when_it_is_back(
    cluster: Cluster, stage: Stage, namespace: str, talkers: list[Talker]
) -> None:
    addresses = dns(cluster, namespace, {"goes": "node-2", "stays": "node-3"})
    everybody = talk(talkers, stage.clients[NODE], addresses, each=12)
    moving = [one for one in everybody if one.answer == "goes"]
    staying = [one for one in everybody if one.answer == "stays"]
    before = entries(cluster, NODE, staying)
    (pid,) = (entry["agent"]["pid"] for entry in cluster.status()["nodes"] if entry["name"] == NODE)
    os.kill(pid, signal.SIGSTOP)
    cluster.kubectl("label", "pod", "-n", namespace, "goes", "app=elsewhere", "--overwrite")
    assert {one.ask() for one in moving} == {"goes"}
    cluster.lab("restart", "agent", NODE, "--kill")
    await_service(cluster, namespace, "dns", endpoints=1)
    all_get(moving, {"stays"}, "the agent is back")
    time.sleep(1.2)
    assert entries(cluster, NODE, staying) == before


def test_two_thousand_connections_elsewhere_are_not_touched_by_the_change_of_fifty_endpoints(
    cluster: Cluster, stage: Stage, namespace: str
) -> None:
    """A Service of 50 endpoints outside of the cluster, all of which go at once; each had a client."""
    addresses = dns(cluster, namespace, {"one": NODE, "two": "node-2"})
    client = stage.clients[NODE]
    others = client.run(_send_from, addresses, range(30_000, 31_000))
    outside = [f"192.0.2.{number}" for number in range(1, 51)]
    ports = [{"name": "lines", "port": 80, "protocol": "UDP"}]
    cluster.apply(
        service_object(namespace, "outside", port=80, ports=ports, selector=None),
        slice_of(namespace, "outside", "outside-1", addresses=outside, ports=ports),
    )
    await_service(cluster, namespace, "outside", endpoints=50)
    (address,) = addresses_of(cluster, namespace, "outside")
    client.run(_send_from, [address], range(40_000, 40_400))
    wait_until(lambda: _count(cluster, addresses) == others == 2000, "2,000 entries")
    assert _count(cluster, [address]) == 400
    cluster.kubectl("delete", "endpointslice", "-n", namespace, "outside-1")
    wait_until(lambda: _count(cluster, [address]) == 0, "none of the stale entries", seconds=AT_ONCE)
    time.sleep(1.2)
    assert _count(cluster, addresses) == 2000


def _send_from(addresses: Sequence[str], ports: range) -> int:
    """Send one datagram from each port to each address; runs inside the Pod."""
    sent = 0
    for address in addresses:
        for port in ports:
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.bind(("", port))
                sock.sendto(b"hostname\n", (address, 80))
            sent += 1
            if sent % 50 == 0:
                time.sleep(0.01)
    return sent


def _count(cluster: Cluster, addresses: Sequence[str]) -> int:
    found = dump(cluster, NODE)
    return sum(found.count(f",dst={address},sport=") for address in addresses)


def test_the_next_pod_that_has_a_deleted_pods_address_is_not_led_where_that_one_was_connected(
    cluster: Cluster, namespace: str
) -> None:
    """The first one's TCP connection had no end: the Pod was gone before, and then the server was, too."""
    services = dns(cluster, namespace, {"old": "node-2"})
    cluster.run_pod(namespace, "first", node=NODE)
    addresses = pod_addresses(cluster, namespace, "first")
    with contextlib.ExitStack() as stack:
        for address in services:
            sock = stack.enter_context(_connected(cluster.pod(namespace, "first"), address))
            assert converse(sock, "/hostname") == "old"
        cluster.kubectl("delete", "pod", "-n", namespace, "first", "--grace-period=1")
    for address in addresses:
        assert f"={address}," not in dump(cluster, NODE)
    cluster.run_pod(namespace, "new", node="node-3", labels={"app": "dns"})
    cluster.kubectl("delete", "pod", "-n", namespace, "old", "--grace-period=1")
    await_service(cluster, namespace, "dns", endpoints=1)
    _give_again(cluster, addresses)
    cluster.run_pod(namespace, "second", node=NODE)
    assert pod_addresses(cluster, namespace, "second") == addresses
    for address in services:
        with _connected(cluster.pod(namespace, "second"), address) as sock:
            assert converse(sock, "/hostname") == "new"


def _connected(place: Place, address: str, *, source: int = 19_999) -> socket.socket:
    """Connect from this very port."""
    sock = place.open_socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    sock.settimeout(3 * PATIENCE)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("", source))
    sock.connect((address, 80))
    return sock


def _give_again(cluster: Cluster, addresses: Sequence[str]) -> None:
    """Let the Node's next Pod have these addresses, which would else be given when all others were."""
    state = cluster.places.node(NODE).cni_socket.parent / "pods" / "addresses.json"
    known = json.loads(state.read_text())
    for cidr in known["previous"]:
        for address in map(ip_address, addresses):
            if address in ip_network(cidr):
                known["previous"][cidr] = str(address - 1)
    state.write_text(json.dumps(known))
    cluster.lab("restart", "agent", NODE, "--kill")


def pod_addresses(cluster: Cluster, namespace: str, pod: str) -> list[str]:
    return [entry["ip"] for entry in cluster.get("pod", "-n", namespace, pod)["status"]["podIPs"]]
