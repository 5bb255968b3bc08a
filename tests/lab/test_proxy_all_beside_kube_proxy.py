"""With kube-proxy's rules in place, in its iptables and its nftables mode: who serves what (behaviour)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab_cluster import Place, pod_object, wait_until
from lab_entry import NAMESPACE, Entry, node_address

THEIRS = "theirs"
"""The Pod to which kube-proxy's rules lead, as if it were behind the times; ours is `pod`."""


@pytest.fixture(scope="module")
def other_endpoint(proxy_all: Entry) -> list[str]:
    """Addresses of the Pod that only kube-proxy's rules know."""
    cluster = proxy_all.cluster
    cluster.apply(pod_object(NAMESPACE, THEIRS, node="node-1", labels={"app": THEIRS}))
    cluster.kubectl("wait", "-n", NAMESPACE, f"pod/{THEIRS}", "--for=condition=Ready", "--timeout=60s")
    return [entry["ip"] for entry in cluster.get("pod", "-n", NAMESPACE, THEIRS)["status"]["podIPs"]]


def iptables_mode(node: Place, addresses: list[str], node_ports: list[int], to: list[str]) -> Callable[[], None]:
    """Lay out rules as the iptables mode does, all to one endpoint; give what takes them away."""
    for six, target in enumerate(to):
        mine = [address for address in addresses if (":" in address) == bool(six)]
        end = f"[{target}]:8080" if six else f"{target}:8080"
        services = [
            f'-A KUBE-SERVICES -d {address} -p {protocol} -m comment --comment "entry/pod-cluster" '
            f"-m {protocol} --dport 80 -j KUBE-SVC-AAAABBBBCCCCDDDD"
            for address in mine
            for protocol in ("tcp", "udp")
        ]
        ports = [
            f"-A KUBE-NODEPORTS -p {protocol} -m {protocol} --dport {port} -j KUBE-SVC-AAAABBBBCCCCDDDD"
            for port, protocol in zip(node_ports, ("tcp", "udp"), strict=True)
        ]
        rules = [
            "*nat",
            *(f":{chain} - [0:0]" for chain in ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-SVC-AAAABBBBCCCCDDDD")),
            ":KUBE-POSTROUTING - [0:0]",
            "-A PREROUTING -j KUBE-SERVICES",
            "-A OUTPUT -j KUBE-SERVICES",
            "-A POSTROUTING -j KUBE-POSTROUTING",
            *services,
            "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
            *ports,
            *(
                f"-A KUBE-SVC-AAAABBBBCCCCDDDD -p {protocol} -m {protocol} -j DNAT --to-destination {end}"
                for protocol in ("tcp", "udp")
            ),
            "-A KUBE-POSTROUTING -m conntrack --ctstate DNAT -j MASQUERADE",
            "COMMIT",
            "*filter",
            ":KUBE-FORWARD - [0:0]",
            "-A FORWARD -j KUBE-FORWARD",
            "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
            "COMMIT",
        ]
        program = "ip6tables-restore" if six else "iptables-restore"
        script = "\n".join(rules)
        node.command("sh", "-c", f"{program} --noflush <<'END'\n{script}\nEND")

    def remove() -> None:
        for program in ("iptables", "ip6tables"):
            for table in ("nat", "filter"):
                node.command("sh", "-c", f"{program} -t {table} -F && {program} -t {table} -X")

    return remove


def nftables_mode(node: Place, addresses: list[str], node_ports: list[int], to: list[str]) -> Callable[[], None]:
    """Lay out rules as the nftables mode does, all to one endpoint; give what takes them away."""
    for six, target in enumerate(to):
        ip, kind = ("ip6", "ipv6_addr") if six else ("ip", "ipv4_addr")
        mine = [address for address in addresses if (":" in address) == bool(six)]
        end = f"[{target}]:8080" if six else f"{target}:8080"
        protocols = ("tcp", "udp")
        services = ", ".join(f"{a} . {p} . 80 : goto endpoint" for a, p in itertools.product(mine, protocols))
        ports = ", ".join(f"{p} . {port} : goto endpoint" for p, port in zip(protocols, node_ports, strict=True))
        table = f"""table {ip} kube-proxy {{
  chain endpoint {{ meta l4proto {{ tcp, udp }} dnat to {end}; }}
  set cluster-ips {{ type {kind}; elements = {{ {", ".join(mine)} }}; }}
  map service-ips {{ type {kind} . inet_proto . inet_service : verdict; elements = {{ {services} }}; }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; elements = {{ {ports} }}; }}
  chain services {{
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    fib daddr type local meta l4proto . th dport vmap @service-nodeports
  }}
  chain cluster-ips-check {{ {ip} daddr @cluster-ips reject; }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority srcnat; ct status dnat masquerade; }}
  chain filter-forward {{ type filter hook forward priority -110; ct state new jump cluster-ips-check; }}
  chain filter-output-post-dnat {{ type filter hook output priority -90; ct state new jump cluster-ips-check; }}
}}
"""
        node.command("sh", "-c", f"nft -f - <<'END'\n{table}END")

    def remove() -> None:
        for ip in ("ip", "ip6"):
            node.command("nft", "delete", "table", ip, "kube-proxy")

    return remove


@contextmanager
def beside(entry: Entry, lay_out: Callable[..., Callable[[], None]], to: list[str]) -> Iterator[None]:
    """Hold kube-proxy's rules on node-1 until the end, and see that the agent knows of them."""
    node = entry.cluster.node("node-1")
    addresses = [address for kind in entry.addresses("pod-cluster").values() for address in kind]
    ports = [entry.node_port("pod-cluster", protocol) for protocol in ("tcp", "udp")]
    remove = lay_out(node, addresses, ports, to)
    try:
        entry.cluster.lab("restart", "agent", "node-1")
        wait_until(lambda: "notrack" in node.command("nft", "list", "ruleset").stdout, "the agent knows of kube-proxy")
        entry.settle()
        yield
    finally:
        remove()
        entry.cluster.lab("restart", "agent", "node-1")
        entry.settle()


@pytest.mark.parametrize("lay_out", [iptables_mode, nftables_mode], ids=["iptables mode", "nftables mode"])
def test_every_kind_of_address_is_ours_though_kube_proxys_rules_are_there(
    proxy_all: Entry, other_endpoint: list[str], lay_out: Callable[..., Callable[[], None]]
) -> None:
    cluster = proxy_all.cluster
    cluster.lab("route", "client-1", "--via", "node-1")
    with beside(proxy_all, lay_out, other_endpoint):
        for place in (cluster.client(), cluster.node("node-1"), cluster.pod(NAMESPACE, "client-1")):
            kinds = ["load-balancer IP", "external IP"] + ([] if place == cluster.client() else ["ClusterIP"])
            asked = [(address, 80, 80) for kind in kinds for address in proxy_all.addresses("pod-cluster")[kind]]
            ports = [proxy_all.node_port("pod-cluster", protocol) for protocol in ("tcp", "udp")]
            asked += [(node_address("node-1", family), ports[0], ports[1]) for family in (4, 6)]
            for address, tcp, udp in asked:
                assert place.get(address, tcp) == "pod", f"{place.name} {address}"
                assert place.ask_udp(address, udp) == "pod", f"{place.name} {address}"


@pytest.mark.parametrize("lay_out", [iptables_mode, nftables_mode], ids=["iptables mode", "nftables mode"])
def test_the_rules_of_the_test_would_lead_elsewhere_by_themselves(
    proxy_all: Entry, other_endpoint: list[str], lay_out: Callable[..., Callable[[], None]]
) -> None:
    """Or the other test would show nothing: the Node's tracker is let see Services, and kube-proxy has them."""
    node = proxy_all.cluster.node("node-1")
    address = proxy_all.addresses("pod-cluster")["ClusterIP"][0]
    with beside(proxy_all, lay_out, other_endpoint):
        node.command("nft", "flush", "chain", "inet", "antrea-proxy", "untracked_output")
        assert node.get(address, 80) == THEIRS
