"""Real packets through the Node's own stack: refused at once, or masqueraded on their way out of the cluster."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from antrea_proxy.host.desired import desired_host
from antrea_proxy.host.host import Host
from antrea_proxy.host.netlink import Netlink
from antrea_proxy.host.nft import Nft
from antrea_proxy.host.services import HostServices
from antrea_proxy.network.values import Gateway, Network, Peer, Via
from private_switch import inside, namespace, run

GATEWAY_MAC = "0a:58:0a:0a:01:01"
REMOTE = Peer(
    name="node-2",
    via=Via.ROUTE,
    pod_cidrs=(ip_network("10.10.2.0/24"), ip_network("fd00:10:2::/64")),
    node_addresses=(ip_address("172.18.0.2"),),
    tunnel_address=None,
    next_hops=(ip_address("172.18.0.2"), ip_address("fd00:18::2")),
)
NETWORK = Network(
    node_name="node-1",
    pod_cidrs=(ip_network("10.10.1.0/24"), ip_network("fd00:10:1::/64")),
    gateway=Gateway(
        name="antrea-gw0",
        mac=GATEWAY_MAC,
        addresses=(ip_interface("10.10.1.1/24"), ip_interface("fd00:10:1::1/64")),
    ),
    mtu=1450,
    node_addresses=(ip_address("172.18.0.1"),),
    transport_addresses=(ip_address("172.18.0.1"),),
    tunnel=None,
    peers=(REMOTE,),
    masquerade=True,
    cluster_pod_cidrs=(*map(ip_network, ("10.10.1.0/24", "10.10.2.0/24", "fd00:10:1::/64", "fd00:10:2::/64")),),
    pods=(),
    problems=(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Three namespaces: a Pod whose Service traffic is led to the refusal port, its Node, and a host beyond.

    The host beyond is 172.18.0.2, and also the remote Pod 10.10.2.5.
    """

    node: Path
    pod: Path
    beyond: Path


@pytest.fixture(scope="module")
def places() -> Iterator[Places]:
    """All of it, with strict reverse path filtering on the Node, as some distributions have it."""
    with ExitStack() as stack:
        node, pod, beyond = (
            stack.enter_context(namespace(f"host-{kind}-{os.getpid()}")) for kind in ("node", "pod", "beyond")
        )
        ends = (("antrea-gw0", "eth0", pod), ("antrea-refuse0", "eth1", pod), ("uplink", "eth0", beyond))
        for ours, theirs, where in ends:
            peer = ("peer", "name", theirs, "netns", where.name)
            run("ip", "-n", node.name, "link", "add", ours, "type", "veth", *peer)
            with inside(where):
                run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", f"net.ipv4.conf.{theirs}.rp_filter=0")
                run("ip", "link", "set", theirs, "up")
        with inside(node):
            run("ip", "link", "set", "uplink", "up")
            run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
            run("ip", "addr", "add", "172.18.0.1/24", "dev", "uplink")
            run("ip", "addr", "add", "fd00:18::1/64", "dev", "uplink", "nodad")
        with inside(pod):
            for service, via, address in (
                ("10.96.0.0/16", "10.96.0.1", "10.10.1.11/24"),
                ("fd00:96::/64", "fd00:96::1", "fd00:10:1::b/64"),
            ):
                run("ip", "addr", "add", address, "dev", "eth0", *(("nodad",) if ":" in address else ()))
                run("ip", "neigh", "add", via, "lladdr", GATEWAY_MAC, "dev", "eth1", "nud", "permanent")
                source = ("src", address.partition("/")[0])
                run("ip", "route", "add", service, "via", via, "dev", "eth1", "onlink", *source)
            run("ip", "route", "add", "default", "via", "10.10.1.1")
            run("ip", "-6", "route", "add", "default", "via", "fd00:10:1::1")
        with inside(beyond):
            for address in ("172.18.0.2/24", "10.10.2.5/24"):
                run("ip", "addr", "add", address, "dev", "eth0")
            for address in ("fd00:18::2/64", "fd00:10:2::5/64"):
                run("ip", "addr", "add", address, "dev", "eth0", "nodad")
            run("ip", "route", "add", "10.10.1.0/24", "via", "172.18.0.1")
            run("ip", "-6", "route", "add", "fd00:10:1::/64", "via", "fd00:18::1")
        places = Places(node=node, pod=pod, beyond=beyond)
        prepare(places)
        # The other end of a veth pair learns of this one's carrier within a second.
        wait_until_reachable(pod, "10.10.1.1", "fd00:10:1::1")
        wait_until_reachable(beyond, "172.18.0.1", "fd00:18::1")
        yield places


def wait_until_reachable(place: Path, *addresses: str) -> None:
    """Return once all of them answer a ping."""
    with inside(place):
        for address in addresses:
            run("ping", "-q", "-c1", "-w10", "-i0.2", address)


def prepare(places: Places, network: Network = NETWORK) -> None:
    """Make the Node hold what the network asks for."""
    with inside(places.node):
        asyncio.run(Host(Netlink(), Nft()).apply(desired_host(network, HostServices(), userspace_datapath=False)))


def a_socket(place: Path, family: int, kind: int) -> socket.socket:
    """Return a socket within a namespace."""
    with inside(place):
        made = socket.socket(family, kind)
    made.settimeout(3)
    return made


@pytest.mark.parametrize("address", ["10.96.0.7", "fd00:96::7"])
def test_a_tcp_connection_that_is_led_to_the_refusal_port_is_refused_at_once(places: Places, address: str) -> None:
    """By a reset, not by a time-out."""
    prepare(places)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(3):
        started = time.monotonic()
        with a_socket(places.pod, family, socket.SOCK_STREAM) as client, pytest.raises(ConnectionRefusedError):
            client.connect((address, 80))
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("address", ["10.96.0.7", "fd00:96::7"])
def test_a_datagram_that_is_led_to_the_refusal_port_is_answered_with_port_unreachable(
    places: Places, address: str
) -> None:
    """A client that waits for an answer learns of it."""
    prepare(places)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with a_socket(places.pod, family, socket.SOCK_DGRAM) as client:
        client.connect((address, 53))
        client.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(1)


def source_seen(places: Places, server_address: str) -> str:
    """Return the address that a server beyond sees the Pod come from."""
    family = socket.AF_INET6 if ":" in server_address else socket.AF_INET
    with a_socket(places.beyond, family, socket.SOCK_STREAM) as server:
        server.bind((server_address, 0))
        server.listen()
        with a_socket(places.pod, family, socket.SOCK_STREAM) as client:
            client.connect((server_address, server.getsockname()[1]))
            connection, (source, *_) = server.accept()
            connection.close()
    return str(source)


@pytest.mark.parametrize(
    ("destination", "source"),
    [
        ("172.18.0.2", "172.18.0.1"),
        ("fd00:18::2", "fd00:18::1"),
        ("10.10.2.5", "10.10.1.11"),
        ("fd00:10:2::5", "fd00:10:1::b"),
    ],
)
def test_a_pod_leaves_the_cluster_with_the_nodes_address_and_reaches_pods_with_its_own(
    places: Places, destination: str, source: str
) -> None:
    """Both families."""
    prepare(places)
    assert source_seen(places, destination) == source


def test_without_masquerade_the_pods_own_address_is_seen_outside(places: Places) -> None:
    """The setting noSNAT."""
    prepare(places, replace(NETWORK, masquerade=False))
    assert source_seen(places, "172.18.0.2") == "10.10.1.11"
