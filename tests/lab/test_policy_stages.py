"""A rule on a Pod's address, put into the stages reserved for a policy engine, holds behind a ClusterIP as well."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab_cluster import PATIENCE, Cluster, Place
from lab_stage import Stage, await_followed, ofctl

pytestmark = pytest.mark.cluster_ip

EGRESS_POLICY, INGRESS_POLICY = 50, 70
COOKIE = "0x7e57"


@contextlib.contextmanager
def _dropped(cluster: Cluster, node: str, table: int, match: str) -> Iterator[None]:
    """Drop what matches, as a policy engine's flow would, for as long as the block lasts."""
    ofctl(cluster, node, "add-flow", f"cookie={COOKIE},table={table},priority=100,{match},actions=drop")
    try:
        await_followed(cluster, node)
        yield
    finally:
        ofctl(cluster, node, "del-flows", f"cookie={COOKIE}/-1")
        await_followed(cluster, node)


def _reached(client: Place, address: str, port: int, protocol: str, *, patience: float = 0.4) -> bool:
    try:
        ask = client.get if protocol == "tcp" else client.ask_udp
        return bool(ask(address, port, timeout=patience))
    except TimeoutError:
        return False


def _which_reach(client: Place, ways: Sequence[tuple[str, int, str]]) -> list[bool]:
    with ThreadPoolExecutor(len(ways)) as pool:
        return list(pool.map(lambda way: _reached(client, *way), ways))


@pytest.fixture(scope="module")
def service(stage: Stage) -> list[str]:
    """ClusterIPs of a Service of the one Pod server-2."""
    stage.cluster.kubectl("label", "-n", stage.namespace, "pod/server-2", "number=two")
    return stage.service("policed", selector={"number": "two"}, endpoints=1)


@pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("table", "enforcing"),
    [
        pytest.param(EGRESS_POLICY, "node-1", id="egress, where the client is"),
        pytest.param(INGRESS_POLICY, "node-2", id="ingress, where the server is"),
    ],
)
@pytest.mark.parametrize("ends", ["source", "destination", "both"])
def test_a_drop_by_pod_address_holds_for_service_traffic_as_for_direct_traffic(  # noqa: PLR0917 - pytest names them
    stage: Stage, service: list[str], table: int, enforcing: str, family: int, ends: str
) -> None:
    client = stage.clients["node-1"]
    source, destination = stage.addresses_of("client-1")[family], stage.addresses_of("server-2")[family]
    kind, src, dst = ("ip", "nw_src", "nw_dst") if family == 0 else ("ipv6", "ipv6_src", "ipv6_dst")
    conditions = {"source": f"{src}={source}", "destination": f"{dst}={destination}"}
    match = ",".join([kind, *(text for end, text in conditions.items() if ends in {end, "both"})])
    ways = [
        (address, port, protocol)
        for address, port in ((service[family], 80), (destination, 8080))
        for protocol in ("tcp", "udp")
    ]
    assert _which_reach(client, ways) == [True] * 4
    with _dropped(stage.cluster, enforcing, table, match):
        assert _which_reach(client, ways) == [False] * 4
        other = stage.clients["node-3"]
        spared = [True] * 4 if ends != "destination" or enforcing == "node-1" else [False] * 4
        assert _which_reach(other, ways) == spared
    assert _which_reach(client, ways) == [True] * 4


@pytest.mark.parametrize("table", [EGRESS_POLICY, INGRESS_POLICY])
def test_a_drop_by_cluster_ip_never_meets_a_packet_since_the_stages_see_pods(
    stage: Stage, service: list[str], table: int
) -> None:
    with _dropped(stage.cluster, "node-1", table, f"ip,nw_dst={service[0]}"):
        assert _reached(stage.clients["node-1"], service[0], 80, "tcp")


@pytest.mark.parametrize("table", [EGRESS_POLICY, INGRESS_POLICY])
def test_a_drop_that_comes_later_holds_for_open_connections(stage: Stage, service: list[str], table: int) -> None:
    node = "node-1" if table == EGRESS_POLICY else "node-2"
    destination = stage.addresses_of("server-2")[0]
    with stage.clients["node-1"].connect(service[0], 80) as sock:
        request = b"GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n"
        sock.sendall(request)
        assert b"server-2" in sock.recv(1000)
        with _dropped(stage.cluster, node, table, f"ip,nw_dst={destination}"):
            sock.settimeout(0.4 * PATIENCE)
            sock.sendall(request)
            with pytest.raises(TimeoutError):
                sock.recv(1000)
        sock.settimeout(5 * PATIENCE)
        assert b"server-2" in sock.recv(1000), "TCP sends it again, and it goes through"
