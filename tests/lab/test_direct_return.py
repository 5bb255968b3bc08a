"""Direct server return over real packets: who answers, as whom it sees the client, and which way the answers take."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator, Sequence

import pytest

from lab_cluster import Place, wait_until
from lab_direct import CROWD, MODE, NAMESPACE, Direct, echoed, node_of, places
from lab_entry import CLIENT
from lab_stage import ask_service
from lab_traffic import FROM_NEW_PORTS, even, many, outcome

FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["IPv4", "IPv6"])
EVERY_NODE = "node-1,node-2,node-3"


def address_of(family: int, addresses: Sequence[str]) -> str:
    """Give the address of a family."""
    return addresses[(4, 6).index(family)]


@pytest.mark.parametrize("family", [pytest.param(4, id="IPv4", marks=pytest.mark.kernel), pytest.param(6, id="IPv6")])
def test_the_endpoint_sees_the_client_and_its_node_answers_without_a_way_through_the_ingress_node(
    direct: Direct, family: int
) -> None:
    with direct.service(endpoints=3) as (_, addresses):
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            found = direct.connect(address_of(family, addresses), count=60)
            assert {item.server for item in found} == set(direct.stage.servers)
            assert {item.seen_as for item in found} == {CLIENT[family]}
            assert all(item.back_from == {node_of(item.server)} for item in found), found


@FAMILIES
def test_datagrams_reach_all_endpoints_by_way_of_any_node_with_the_clients_own_address(
    direct: Direct, family: int
) -> None:
    with direct.service(endpoints=3) as (_, addresses):
        address = address_of(family, addresses)
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            tally = many(direct.client, "udp", (address, 80), count=120)
            assert not tally.failed
            assert set(tally.answers) == set(direct.stage.servers)
            assert direct.client.ask_udp(address, 80, "clientip").rpartition(":")[0].strip("[]") == CLIENT[family]


@FAMILIES
def test_endpoints_have_even_shares_however_many_their_nodes_have(direct: Direct, family: int) -> None:
    """Node-1 has three of the four, node-3, which the client comes by, none."""
    direct.route("node-3")
    with direct.service(app="crowd", endpoints=4) as (_, addresses):
        tally = many(direct.client, FROM_NEW_PORTS, (address_of(family, addresses), 80), count=1600)
    assert not tally.failed
    assert even(tally.answers, list(CROWD)), tally.answers


@FAMILIES
def test_twenty_megabytes_go_there_and_come_back_intact(direct: Direct, family: int) -> None:
    data = random.Random(20).randbytes(20 << 20)
    direct.route("node-3")
    with (
        direct.service(app="crowd", endpoints=4) as (_, addresses),
        direct.client.connect(address_of(family, addresses), 80, timeout=20) as sock,
    ):
        assert hashlib.sha256(echoed(sock, data)).digest() == hashlib.sha256(data).digest()


@pytest.mark.kernel
@pytest.mark.kernel_only
@FAMILIES
def test_fragmented_datagrams_reach_all_endpoints_by_way_of_any_node_and_so_do_the_answers(
    direct: Direct, family: int
) -> None:
    """Each comes from a new port, so that no fragment belongs to a connection that is known.

    In IPv6 the client alone makes fragments, and learns from the loss of its first how large they may be (RFC 8201).
    """
    with direct.service(endpoints=3) as (_, addresses):
        address = address_of(family, addresses)
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            with contextlib.suppress(OSError):
                direct.client.ask_udp(address, 80, "hostname" + " " * 3000, timeout=0.5)
            seen = {direct.client.ask_udp(address, 80, "hostname" + " " * 3000) for _ in range(30)}
            assert seen == set(direct.stage.servers)
            sent = "x" * 20_000
            assert direct.client.ask_udp(address, 80, f"echo {sent}") == sent
            peer = direct.client.ask_udp(address, 80, "clientip" + " " * 3000)
            assert peer.rpartition(":")[0].strip("[]") == CLIENT[family]


@FAMILIES
def test_with_session_affinity_a_client_keeps_its_endpoint_by_way_of_any_node(direct: Direct, family: int) -> None:
    with direct.service(endpoints=3, sessionAffinity="ClientIP") as (name, addresses):
        address = address_of(family, addresses)
        first = direct.client.get(address, 80)
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            tally = many(direct.client, "tcp", (address, 80), count=30)
            assert tally.answers == {first: 30}, f"by way of {ingress}: {tally}"
        seen = ask_service(direct.cluster, "node-1", NAMESPACE, name)
        assert seen is not None
        assert {port["affinitySeconds"] for port in seen["ports"]} == {10_800}


def test_with_the_external_policy_local_only_endpoints_of_the_ingress_node_answer(direct: Direct) -> None:
    """Nothing is sent on there, whatever the mode."""
    with direct.service(mode=None, app="crowd", externalTrafficPolicy="Local") as (name, addresses):
        direct.cluster.kubectl("annotate", "service", "-n", NAMESPACE, name, f"{MODE}=dsr")
        for family, address in zip((4, 6), addresses, strict=True):
            direct.route("node-2")
            found = direct.connect(address, count=5)
            assert {(item.server, item.seen_as) for item in found} == {("crowd-4", CLIENT[family])}
            assert all(item.back_from == {"node-2"} for item in found)
            direct.route("node-3")
            assert outcome(direct.client, address) == "dropped"


def test_pods_and_nodes_reach_all_endpoints_as_they_do_in_nat_mode(direct: Direct) -> None:
    with direct.service(endpoints=3) as (name, addresses):
        seen = {mode: {} for mode in ("dsr", "nat")}  # type: dict[str, dict[tuple[str, str], str]]
        for mode, found in seen.items():
            direct.annotate(name, mode)
            for place in places(direct):
                for address in addresses:
                    tally = many(place, "tcp", (address, 80), count=40)
                    assert not tally.failed, f"{place.name} {address} {mode}"
                    assert set(tally.answers) == set(direct.stage.servers), f"{place.name} {address} {mode}"
                    assert place.ask_udp(address, 80) in direct.stage.servers
                    found[place.name, address] = address_seen(direct, place, address)
        assert seen["dsr"] == seen["nat"]


def address_seen(direct: Direct, place: Place, address: str) -> str:
    """Give the addresses that all endpoints see of a place."""
    found = set()
    for _ in range(30):
        with place.connect(address, 80) as sock:
            sock.sendall(b"GET /clientip HTTP/1.0\r\n\r\n")
            found.add(sock.makefile().read().rpartition("\n")[2].rpartition(":")[0].strip("[]"))
    return ",".join(sorted(found))


@FAMILIES
def test_the_mode_of_a_live_service_changes_back_and_forth(direct: Direct, family: int) -> None:
    direct.route(EVERY_NODE)
    with direct.service(endpoints=3) as (name, addresses):
        address = address_of(family, addresses)
        for mode in ("nat", "dsr", "nat", "dsr"):
            direct.annotate(name, mode)
            tally = many(direct.client, "tcp", (address, 80), count=60)
            assert not tally.failed, mode
            assert set(tally.answers) == set(direct.stage.servers), mode
            found = direct.connect(address, count=20)
            assert all(len(item.back_from) == 1 for item in found)
            straight = [item.seen_as == CLIENT[family] and item.back_from == {node_of(item.server)} for item in found]
            assert all(straight) if mode == "dsr" else not all(straight)


def test_source_ranges_let_in_whom_they_name_and_drop_all_others(direct: Direct) -> None:
    ranges = ["172.18.0.100/30", "fd00:18::101/128"]
    with direct.service(endpoints=3, loadBalancerSourceRanges=ranges) as (name, addresses):
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            for address in addresses:
                assert {item.server for item in direct.connect(address, count=60)} == set(direct.stage.servers)
            assert outcome(direct.cluster.node(ingress), addresses[0]) == "dropped"
        direct.stage.patch(name, loadBalancerSourceRanges=["192.0.2.0/24"])
        for address in addresses:
            wait_until(lambda address=address: outcome(direct.client, address) == "dropped", f"{address} is shut")  # type: ignore[misc]
            for ingress in ("node-1", "node-3"):
                direct.route(ingress)
                assert outcome(direct.client, address) == "dropped"
                with pytest.raises(TimeoutError):
                    direct.client.ask_udp(address, 80, timeout=0.3)


@contextlib.contextmanager
def strict(direct: Direct) -> Iterator[None]:
    """Have the Nodes drop what their tracker calls invalid, and what does not come by the way that leads back."""
    table = """table inet strict {
        chain forward { type filter hook forward priority filter; ct state invalid drop; }
        chain input { type filter hook input priority filter; ct state invalid drop; }
        chain output { type filter hook output priority filter; ct state invalid drop; }
    }"""
    keys = [f"net.ipv4.conf.{name}.rp_filter" for name in ("all", "eth0", "antrea-gw0")]
    nodes = [direct.cluster.node(node) for node in direct.stage.nodes]
    before = {node.name: [node.command("sysctl", "-n", key).stdout.strip() for key in keys] for node in nodes}
    try:
        for node in nodes:
            node.command("nft", table)
            node.command("sysctl", "-w", *(f"{key}=1" for key in keys))
        yield
    finally:
        for node in nodes:
            node.command("nft", "delete", "table", "inet", "strict", check=False)
            settings = zip(keys, before[node.name], strict=True)
            node.command("sysctl", "-w", *(f"{key}={value}" for key, value in settings))


@FAMILIES
def test_nodes_that_drop_invalid_packets_and_check_sources_strictly_serve_all_the_same(
    direct: Direct, family: int
) -> None:
    """A Node sees one direction of the connections alone, which its tracker would call invalid."""
    with direct.service(endpoints=3) as (_, addresses), strict(direct):
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            found = direct.connect(address_of(family, addresses), count=60)
            assert {item.server for item in found} == set(direct.stage.servers)
            assert {item.seen_as for item in found} == {CLIENT[family]}
            assert direct.client.ask_udp(address_of(family, addresses), 80) in direct.stage.servers


def test_a_service_with_an_endpoint_on_the_host_network_is_in_nat_mode_and_says_so(direct: Direct) -> None:
    container = {"name": "c", "image": "pod-server", "args": ["--port", "18081", "--hostname", "host"]}
    direct.cluster.run_pod(NAMESPACE, "host", node="node-1", hostNetwork=True, containers=[container])
    ports = [{"port": 80, "targetPort": 18081}]
    with direct.service(mode=None, app="host", ports=ports) as (name, addresses):
        direct.cluster.kubectl("annotate", "service", "-n", NAMESPACE, name, f"{MODE}=dsr")
        for node in direct.stage.nodes:
            wait_until(lambda node=node: "host network of Node node-1" in direct.problems(node, name), "it says so")  # type: ignore[misc]
            assert direct.modes(node, name) == {"nat"}
        for ingress in direct.stage.nodes:
            direct.route(ingress)
            assert [direct.client.get(address, 80) for address in addresses] == ["host", "host"]
        describe = ("describe", "service", "-n", NAMESPACE, name)
        wait_until(lambda: "DirectReturnImpossible" in direct.cluster.kubectl(*describe), "an Event says so")
    direct.cluster.kubectl("delete", "pod", "-n", NAMESPACE, "host", "--wait=false")


def test_a_mode_that_does_not_exist_is_named_and_the_default_applies(direct: Direct) -> None:
    with direct.service(mode=None, endpoints=3) as (name, addresses):
        direct.cluster.kubectl("annotate", "service", "-n", NAMESPACE, name, f"{MODE}=direct")
        wait_until(lambda: "'direct'" in direct.problems("node-1", name), "it says so")
        assert direct.modes("node-1", name) == {"nat"}
        assert direct.client.get(addresses[0], 80) in direct.stage.servers


def test_a_service_without_an_external_address_says_that_the_mode_is_not_for_it(direct: Direct) -> None:
    (address, *_) = direct.stage.service("inside", endpoints=3)
    direct.cluster.kubectl("annotate", "service", "-n", NAMESPACE, "inside", f"{MODE}=dsr")
    said = "is for load-balancer and external IPs, and the Service has none"
    for node in direct.stage.nodes:
        wait_until(lambda node=node: said in direct.problems(node, "inside"), "it says so")  # type: ignore[misc]
    describe = ("describe", "service", "-n", NAMESPACE, "inside")
    wait_until(lambda: "InvalidLoadBalancerMode" in direct.cluster.kubectl(*describe), "an Event says so")
    assert direct.stage.clients["node-1"].get(address, 80) in direct.stage.servers
    direct.stage.remove("inside")
