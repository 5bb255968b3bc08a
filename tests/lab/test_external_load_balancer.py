"""A load balancer in front of the cluster that ends TLS and has addresses of its own: a HAProxy on a host outside."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from lab_cluster import Cluster, Place, service_object, wait_until
from lab_entry import CLIENT, NAMESPACE, Entry, node_address
from lab_stage import DUAL, await_service, reconfigured

ADDRESSES = ("172.30.0.200", "fd00:30::200")
"""Those of the load balancer, which its host has itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The load balancer, and how clients know it."""

    trust: ssl.SSLContext

    def ask(self, place: Place, address: str) -> str:
        """GET /clientip over TLS. Raises OSError, of which ssl.SSLError is one."""
        with place.connect(address, 443) as sock, self.trust.wrap_socket(sock, server_hostname="web.test") as secure:
            secure.sendall(b"GET /clientip HTTP/1.0\r\nHost: web.test\r\n\r\n")
            received = b""
            while part := secure.recv(65536):
                received += part
        return received.partition(b"\r\n\r\n")[2].decode().rpartition(":")[0].strip("[]")


@pytest.fixture
def front(proxy_all: Entry, tmp_path: Path) -> Iterator[Front]:
    """A Service whose load balancer is HAProxy on client-1, which ends TLS and goes on to NodePorts of node-1."""
    cluster = proxy_all.cluster
    cluster.apply(
        service_object(
            NAMESPACE,
            "web",
            port=443,
            selector={"app": "pod"},
            type="LoadBalancer",
            loadBalancerClass="example.com/haproxy",
            ports=[{"port": 443, "targetPort": 8080}],
            **DUAL,
        )
    )
    await_service(cluster, NAMESPACE, "web")
    port = int(cluster.get("service", "-n", NAMESPACE, "web")["spec"]["ports"][0]["nodePort"])
    authority = trustme.CA()
    certificate = tmp_path / "web.pem"
    authority.issue_cert("web.test").private_key_and_cert_chain_pem.write_to_path(certificate)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with running_haproxy(cluster, tmp_path, certificate, port):
        yield Front(trust=trust)
    proxy_all.remove("web")


@contextmanager
def running_haproxy(cluster: Cluster, directory: Path, certificate: Path, port: int) -> Iterator[None]:
    """Run HAProxy on client-1 at ADDRESSES, to which the Nodes have routes as to any address outside."""
    config = directory / "haproxy.cfg"
    frontends = "".join(
        f"""frontend v{family}
  bind {address}:443 ssl crt {certificate}
  default_backend nodes-v{family}
backend nodes-v{family}
  server node-1 {node_address("node-1", family)}:{port}
"""
        for family, address in zip((4, 6), ADDRESSES, strict=True)
    )
    config.write_text(
        f"defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n{frontends}"
    )
    host, nodes = cluster.client(), [cluster.node(name) for name in ("node-1", "node-2")]
    for address, via in zip(ADDRESSES, CLIENT.values(), strict=True):
        length = "128" if ":" in address else "32"
        host.command("ip", "address", "add", f"{address}/{length}", "dev", "lo", "nodad")
        for node in nodes:
            node.command("ip", "route", "add", f"{address}/{length}", "via", via)
    command = ["nsenter", f"--net={host.netns}", "haproxy", "-db", "-f", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _listens(host), "HAProxy listens")
            yield
        finally:
            process.terminate()
            for address in ADDRESSES:
                length = "128" if ":" in address else "32"
                host.command("ip", "address", "del", f"{address}/{length}", "dev", "lo")
                for node in nodes:
                    node.command("ip", "route", "del", f"{address}/{length}")


def _listens(host: Place) -> bool:
    try:
        for address in ADDRESSES:
            host.connect(address, 443, timeout=0.5).close()
    except OSError:
        return False
    return True


def tell_addresses(cluster: Cluster, *, ip_mode: str) -> None:
    """Write the load balancer's addresses into the Service, as its controller does."""
    ingress = [{"ip": address, "ipMode": ip_mode} for address in ADDRESSES]
    patch = json.dumps({"status": {"loadBalancer": {"ingress": ingress}}})
    cluster.kubectl("patch", "service", "-n", NAMESPACE, "web", "--subresource=status", "--type=merge", "-p", patch)
    await_service(cluster, NAMESPACE, "web")


def assert_all_reach_the_load_balancer(entry: Entry, front: Front) -> None:
    """Pods, Nodes and hosts outside see its certificate, and the endpoint sees the load balancer (SNAT)."""
    cluster = entry.cluster
    for place in (
        cluster.pod(NAMESPACE, "client-1"),
        cluster.pod(NAMESPACE, "client-2"),
        cluster.node("node-1"),
        cluster.node("node-2"),
        cluster.client(),
    ):
        for address, seen in zip(ADDRESSES, CLIENT.values(), strict=True):
            assert front.ask(place, address) == seen, f"{place.name} {address}"


def test_where_the_load_balancer_is_the_ip_modes_proxy_traffic_leaves_to_it(proxy_all: Entry, front: Front) -> None:
    """KEP 1860: what the load balancer does to connections is missed where they are short-circuited."""
    tell_addresses(proxy_all.cluster, ip_mode="Proxy")
    proxy_all.settle()
    assert_all_reach_the_load_balancer(proxy_all, front)


def test_without_load_balancer_ips_proxied_traffic_leaves_to_the_load_balancer(proxy_all: Entry, front: Front) -> None:
    tell_addresses(proxy_all.cluster, ip_mode="VIP")
    settings = {"antreaProxy": {"proxyAll": True, "proxyLoadBalancerIPs": False}}
    with reconfigured(proxy_all.cluster, "node-1", "node-2", **settings):
        proxy_all.settle()
        assert_all_reach_the_load_balancer(proxy_all, front)
        tell_addresses(proxy_all.cluster, ip_mode="Proxy")


def test_otherwise_the_switch_goes_to_an_endpoint_by_itself_and_no_tls_is_ended(proxy_all: Entry, front: Front) -> None:
    """So the other two tests show something."""
    tell_addresses(proxy_all.cluster, ip_mode="VIP")
    pod = proxy_all.cluster.pod(NAMESPACE, "client-1")
    wait_until(lambda: _in_the_clear(pod, ADDRESSES[0]) == "pod", "the Pod's switch has the load balancer's address")
    assert front.ask(proxy_all.cluster.client(), ADDRESSES[0]) == CLIENT[4]


def _in_the_clear(place: Place, address: str) -> str:
    try:
        return place.get(address, 443)
    except OSError:
        return ""
