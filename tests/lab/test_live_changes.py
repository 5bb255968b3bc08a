"""Everything about a live Service may change: it takes effect at once, and another Service never notices."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, JsonObject, Place, service_object, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage
from lab_traffic import many, outcome, steady

NODE = "node-1"


@pytest.fixture(autouse=True)
def nobody_else_notices(stage: Stage) -> Iterator[None]:
    """Keep constant traffic to a Service of the same servers, untouched, of which no connection may fail."""
    v4, v6 = stage.service("untouched", endpoints=3)
    client = stage.clients[NODE]
    with (
        steady(client, "tcp", (v4, 80), rate=100) as four,
        steady(client, "tcp", (v6, 80), rate=50) as six,
        steady(client, "udp", (v4, 80), rate=50) as lines,
    ):
        yield
        for tally in (four.result(), six.result(), lines.result()):
            assert not tally.failed
            assert set(tally.answers) <= set(stage.servers)
            assert tally.count > 10
    stage.remove("untouched")


@pytest.fixture
def client(stage: Stage) -> Place:
    """A Pod that connects."""
    return stage.clients[NODE]


def _soon(client: Place, address: str, port: int, *expected: str) -> None:
    wait_until(lambda: outcome(client, address, port) in expected, f"{address}:{port} is {' or '.join(expected)}")


def _udp(client: Place, address: str) -> str:
    try:
        return client.ask_udp(address, 80)
    except ConnectionRefusedError:
        return "refused"


def test_a_port_moves_to_another_number(stage: Stage, client: Place) -> None:
    addresses = stage.service("moving", endpoints=3)
    stage.patch("moving", ports=[{"name": "http", "port": 81, "targetPort": 8080, "protocol": "TCP"}])
    for address in addresses:
        _soon(client, address, 81, *stage.servers)
        _soon(client, address, 80, "refused")
        with pytest.raises(ConnectionRefusedError):
            client.ask_udp(address, 80)
    stage.remove("moving")


def test_a_port_gets_another_target(cluster: Cluster, namespace: str, client: Place) -> None:
    containers = [
        {"name": f"c{port}", "image": "pod-server", "args": ["--port", str(port), "--hostname", f"on-{port}"]}
        for port in (8080, 9090)
    ]
    cluster.run_pod(namespace, "two", containers=containers)
    address = cluster.expose(namespace, "two", port=80)
    _soon(client, address, 80, "on-8080")
    for target in (9090, 8080):
        patch = json.dumps({"spec": {"ports": [{"port": 80, "targetPort": target}]}})
        cluster.kubectl("patch", "service", "-n", namespace, "two", "--type=merge", "-p", patch)
        _soon(client, address, 80, f"on-{target}")


def test_a_port_changes_its_protocol(stage: Stage, client: Place) -> None:
    address, *_ = stage.service("protocol", endpoints=3, ports=BOTH_PROTOCOLS[:1])
    with pytest.raises(ConnectionRefusedError):
        client.ask_udp(address, 80)
    stage.patch("protocol", ports=BOTH_PROTOCOLS[1:])
    _soon(client, address, 80, "refused")
    wait_until(lambda: _udp(client, address) in stage.servers, "an answer over UDP")
    stage.patch("protocol", ports=BOTH_PROTOCOLS)
    _soon(client, address, 80, *stage.servers)
    wait_until(lambda: _udp(client, address) in stage.servers, "an answer over UDP")
    stage.remove("protocol")


def test_a_second_family_comes_and_goes(stage: Stage, client: Place) -> None:
    (v4,) = stage.service("families", endpoints=3, ipFamilyPolicy="SingleStack")
    stage.patch("families", ipFamilyPolicy="PreferDualStack")
    wait_until(lambda: len(stage.cluster_ips("families")) == 2, "a second ClusterIP")
    v6 = stage.cluster_ips("families")[1]
    _soon(client, v6, 80, *stage.servers)
    stage.patch("families", ipFamilyPolicy="SingleStack", ipFamilies=["IPv4"], clusterIPs=[v4])
    # An address of the Service range that nobody has any more is no Service's: nothing answers there.
    wait_until(lambda: outcome(client, v6) not in stage.servers, "the IPv6 address gone")
    _soon(client, v4, 80, *stage.servers)
    stage.remove("families")


def test_a_service_is_deleted_and_made_again_with_the_same_address(stage: Stage, client: Place) -> None:
    addresses = stage.service("again", endpoints=3)
    for _ in range(3):
        stage.remove("again")
        assert stage.service("again", endpoints=3, clusterIP=addresses[0], clusterIPs=addresses) == addresses
        for address in addresses:
            tally = many(client, "tcp", (address, 80), count=60)
            assert not tally.failed
            assert set(tally.answers) == set(stage.servers)
    stage.remove("again")


def test_two_services_exchange_their_addresses(stage: Stage, client: Place) -> None:
    cluster = stage.cluster
    for number in (1, 2):
        cluster.kubectl("label", "pod", "-n", stage.namespace, f"server-{number}", f"part=p{number}")
    before = [stage.service(f"part-{number}", endpoints=1, selector={"part": f"p{number}"}) for number in (1, 2)]
    for number, addresses in zip((1, 2), before, strict=True):
        _soon(client, addresses[0], 80, f"server-{number}")
    stage.remove("part-1", "part-2")
    cluster.apply(
        *(
            _part(stage, number, before[2 - number])  # the other one's
            for number in (1, 2)
        )
    )
    for number, addresses in zip((2, 1), before, strict=True):
        for address in addresses:
            _soon(client, address, 80, f"server-{number}")
            tally = many(client, "udp", (address, 80), count=20)
            assert set(tally.answers) == {f"server-{number}"}
    stage.remove("part-1", "part-2")


def _part(stage: Stage, number: int, addresses: list[str]) -> JsonObject:
    spec = {"selector": {"part": f"p{number}"}, "ports": BOTH_PROTOCOLS, **DUAL}
    return service_object(
        stage.namespace, f"part-{number}", port=80, clusterIP=addresses[0], clusterIPs=addresses, **spec
    )


def test_the_end_of_one_service_leaves_others_with_the_same_endpoints(stage: Stage, client: Place) -> None:
    addresses = {name: stage.service(name, endpoints=3)[0] for name in ("one", "two", "three")}
    stage.remove("two")
    for name in ("one", "three"):
        tally = many(client, "tcp", (addresses[name], 80), count=60)
        assert not tally.failed
        assert set(tally.answers) == set(stage.servers)
    assert outcome(client, addresses["two"]) not in stage.servers
    stage.remove("one", "three")


def test_a_selector_that_changes_changes_who_answers(stage: Stage, client: Place) -> None:
    stage.cluster.kubectl("label", "pod", "-n", stage.namespace, "server-3", "chosen=yes")
    address, *_ = stage.service("selector", endpoints=3)
    stage.patch("selector", selector={"chosen": "yes", "app": None})
    _soon(client, address, 80, "server-3")
    wait_until(lambda: set(many(client, "tcp", (address, 80), count=20).answers) == {"server-3"}, "server-3 alone")
    stage.patch("selector", selector={"chosen": "no", "app": None})
    _soon(client, address, 80, "refused")
    stage.remove("selector")
