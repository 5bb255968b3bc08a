"""Direct server return where Pods are reached by route: what Nodes send on to each other is in a tunnel there, too."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest

from lab_direct import Direct, direct_lab, echoed, node_of
from lab_entry import CLIENT
from lab_traffic import many


@pytest.fixture(scope="module")
def routed() -> Iterator[Direct]:
    """A lab without encapsulation of Pods' own traffic."""
    with direct_lab("--encap-mode", "noEncap") as made:
        yield made


@pytest.mark.parametrize("number", [4, 6], ids=["IPv4", "IPv6"])
def test_the_endpoint_sees_the_client_and_answers_it_directly(routed: Direct, number: int) -> None:
    with routed.service(endpoints=3) as (_, addresses):
        address = addresses[(4, 6).index(number)]
        for ingress in routed.stage.nodes:
            routed.route(ingress)
            found = routed.connect(address, count=60)
            assert {item.server for item in found} == set(routed.stage.servers)
            assert {item.seen_as for item in found} == {CLIENT[number]}
            assert all(item.back_from == {node_of(item.server)} for item in found), found
            tally = many(routed.client, "udp", (address, 80), count=60)
            assert not tally.failed
            assert set(tally.answers) == set(routed.stage.servers)


@pytest.mark.parametrize("number", [4, 6], ids=["IPv4", "IPv6"])
def test_what_is_sent_on_fits_the_network_with_the_tunnels_headers(routed: Direct, number: int) -> None:
    """Pods' interfaces are smaller by them (1,500 less 50 for Geneve over IPv4), so that no packet need be cut."""
    node, data = routed.cluster.node("node-1"), random.Random(21).randbytes(20 << 20)
    assert " mtu 1450 " in node.command("ip", "link", "show", "antrea-gw0").stdout
    routed.route("node-3")
    with (
        routed.service(app="crowd", endpoints=4) as (_, addresses),
        routed.client.connect(addresses[(4, 6).index(number)], 80, timeout=20) as sock,
    ):
        assert hashlib.sha256(echoed(sock, data)).digest() == hashlib.sha256(data).digest()


def test_pods_reach_pods_and_services_by_route_as_ever(routed: Direct) -> None:
    with routed.service(endpoints=3) as (name, _):
        for address in routed.stage.cluster_ips(name):
            for client in routed.stage.clients.values():
                tally = many(client, "tcp", (address, 80), count=60)
                assert not tally.failed
                assert set(tally.answers) == set(routed.stage.servers)
