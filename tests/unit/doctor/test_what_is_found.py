"""Each thing that breaks Service traffic is found by itself, with a remedy; on a sound Node nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import msgspec
import pytest

from antrea_proxy.doctor.examination import examine
from antrea_proxy.doctor.facts import AgentFacts, Facts, ToldNode, ToldPod, ToldService, ToldStatus
from antrea_proxy.doctor.findings import Severity
from antrea_proxy.host.facts import DropRule, FoundRoute, Listener, NodeFacts
from antrea_proxy.host.kube_proxy.plan import Plan
from antrea_proxy.network.values import Uplink
from antrea_proxy.settings import Settings, parse

NOW = 1_000_000.0
STATUS: dict[str, Any] = {
    "node": "node-1",
    "phase": "running",
    "problem": "",
    "pendingSince": None,
    "switch": {"connected": True, "bridge": "br-int", "datapathType": "system", "ovsVersion": "3.1.0"},
    "sources": [{"kind": "Service", "connectedSince": 1.0, "lastError": ""}],
    "networkProblems": [],
}
WEB = {
    "namespace": "default",
    "name": "web",
    "problems": [],
    "ports": [{"kind": "NodePort", "protocol": "TCP", "port": 30080}],
}
NODE = NodeFacts(
    sysctls={
        "net/ipv4/ip_forward": "1",
        "net/ipv6/conf/all/forwarding": "1",
        "net/netfilter/nf_conntrack_max": "262144",
        "net/ipv4/conf/all/rp_filter": "0",
        "net/ipv4/conf/eth0/rp_filter": "0",
        "net/ipv4/conf/antrea-gw0/rp_filter": "2",
    },
    mtus={"eth0": 1500, "antrea-gw0": 1450, "antrea-refuse0": 1450, "web-1": 1450, "lo": 65536},
    uplinks=(Uplink(name="eth0", mtu=1500, addresses=(ip_interface("172.18.0.1/24"),)),),
    routes=(
        FoundRoute(
            destination=ip_network("10.10.2.0/24"), via=ip_address("10.10.2.1"), interface="antrea-gw0", ours=True
        ),
        FoundRoute(
            destination=ip_network("169.254.0.253/32"),
            via=ip_address("169.254.0.253"),
            interface="antrea-gw0",
            ours=True,
        ),
        FoundRoute(
            destination=ip_network("203.0.113.5/32"), via=ip_address("169.254.0.253"), interface="antrea-gw0", ours=True
        ),
        FoundRoute(
            destination=ip_network("192.0.2.0/24"), via=ip_address("172.18.0.254"), interface="eth0", ours=False
        ),
    ),
    listeners=frozenset({Listener(protocol="TCP", port=22), Listener(protocol="UDP", port=30080)}),
)


def agent(*services: dict[str, Any], **status: Any) -> AgentFacts:  # noqa: ANN401 - JSON
    """What an agent tells that is well but for these."""
    return AgentFacts(
        status=msgspec.convert(STATUS | status, ToldStatus),
        services=msgspec.convert(services or (WEB,), tuple[ToldService, ...]),
        nodes=(
            ToldNode(
                name="node-1",
                via="self",
                pod_cidrs=("10.10.1.0/24", "fd00:10:1::/64"),
                addresses=("172.18.0.1",),
                tunnel_address="172.18.0.1",
            ),
            ToldNode(
                name="node-2",
                via="tunnel",
                pod_cidrs=("10.10.2.0/24",),
                addresses=("172.18.0.2",),
                tunnel_address="172.18.0.2",
            ),
        ),
        pods=(ToldPod(namespace="default", name="web-1", interface="web-1"),),
        now=NOW,
    )


SOUND = Facts(node=NODE, agent=agent())


def node(**changes: Any) -> Facts:  # noqa: ANN401 - any field of NodeFacts
    """Facts that are sound but for these of the Node."""
    return replace(SOUND, node=replace(NODE, **changes))


def with_sysctl(**changes: str) -> Facts:
    """Facts that are sound but for these settings, named with __ for a slash."""
    return node(sysctls={**NODE.sysctls, **{key.replace("__", "/"): value for key, value in changes.items()}})


def without(facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != key}


def route(destination: str, via: str, interface: str, *, ours: bool) -> FoundRoute:
    return FoundRoute(destination=ip_network(destination), via=ip_address(via), interface=interface, ours=ours)


def test_a_sound_node_has_no_findings() -> None:
    assert examine(SOUND) == ()


CASES: dict[str, tuple[Facts, str, Severity, str]] = {
    "no agent": (
        replace(SOUND, agent="no agent answers at /var/run/antrea/api.sock"),
        "agent",
        Severity.ERROR,
        "no agent answers",
    ),
    "switch out of reach": (
        replace(
            SOUND,
            agent=agent(
                phase="retrying", problem="br-int.mgmt: refused", switch=STATUS["switch"] | {"connected": False}
            ),
        ),
        "switch",
        Severity.ERROR,
        "br-int.mgmt: refused",
    ),
    "switch refuses": (
        replace(SOUND, agent=agent(phase="retrying", problem="service default/web: too many")),
        "switch",
        Severity.ERROR,
        "too many",
    ),
    "stuck change": (replace(SOUND, agent=agent(pendingSince=NOW - 90)), "pending", Severity.ERROR, "90 s"),
    "override leads nowhere": (
        replace(
            SOUND,
            settings=Settings(kube_api_server_override="https://192.0.2.1:6443"),
            api_server="https://192.0.2.1:6443: Connection refused",
        ),
        "api-server",
        Severity.ERROR,
        "kubeAPIServerOverride: https://192.0.2.1:6443: https://192.0.2.1:6443: Connection refused",
    ),
    "agent without API server": (
        replace(
            SOUND,
            agent=agent(
                sources=[{"kind": "Service", "connectedSince": None, "lastError": "its certificate is not trusted"}]
            ),
        ),
        "api-server",
        Severity.ERROR,
        "its certificate is not trusted",
    ),
    "no kernel datapath": (
        replace(SOUND, node=replace(NODE, openvswitch=False), settings=parse("ovsDatapathType: system")),
        "modules",
        Severity.ERROR,
        "no Open vSwitch datapath",
    ),
    "no conntrack": (
        node(sysctls=without(NODE.sysctls, "net/netfilter/nf_conntrack_max")),
        "modules",
        Severity.ERROR,
        "nf_conntrack",
    ),
    "no gateway": (node(mtus=without(NODE.mtus, "antrea-gw0")), "gateway", Severity.ERROR, "antrea-gw0"),
    "forwarding off": (
        with_sysctl(net__ipv4__ip_forward="0"),
        "forwarding",
        Severity.ERROR,
        "net.ipv4.ip_forward = 0",
    ),
    "IPv6 forwarding off": (
        with_sysctl(net__ipv6__conf__all__forwarding="0"),
        "forwarding",
        Severity.ERROR,
        "net.ipv6.conf.all.forwarding = 0",
    ),
    "rules of kube-proxy": (
        node(leftovers=Plan(nft_tables=(("ip", "kube-proxy"),))),
        "kube-proxy",
        Severity.ERROR,
        "1 of nftables",
    ),
    "kube-proxy beside proxyAll": (
        replace(
            SOUND,
            node=replace(
                NODE,
                kube_proxies=("process 7 (kube-proxy)",),
                leftovers=Plan(nft_tables=(("ip", "kube-proxy"),)),
            ),
            settings=parse("antreaProxy: {proxyAll: true}"),
        ),
        "kube-proxy",
        Severity.NOTE,
        "process 7",
    ),
    "rules that could not be read": (
        node(leftovers=Plan(unseen=("ipset: no program",))),
        "kube-proxy",
        Severity.NOTE,
        "ipset: no program",
    ),
    "strict on an uplink": (
        with_sysctl(net__ipv4__conf__eth0__rp_filter="1"),
        "rp_filter",
        Severity.WARNING,
        "strict on eth0",
    ),
    "strict on the gateway by all": (
        with_sysctl(
            **{"net__ipv4__conf__antrea-gw0__rp_filter": "0", "net__ipv4__conf__eth0__rp_filter": "2"},
            net__ipv4__conf__all__rp_filter="1",
        ),
        "rp_filter",
        Severity.ERROR,
        "strict on antrea-gw0",
    ),
    "gateway too large": (
        node(mtus={**NODE.mtus, "antrea-gw0": 1500}),
        "mtu",
        Severity.ERROR,
        "the uplink leaves 1450",
    ),
    "pod too large": (node(mtus={**NODE.mtus, "web-1": 1500}), "mtu", Severity.WARNING, "Pod default/web-1 is 1500"),
    "invalid dropped": (
        node(drop_rules=(DropRule(place="nft inet firewall forward", text="ct state invalid drop"),)),
        "invalid",
        Severity.WARNING,
        "nft inet firewall forward: ct state invalid drop",
    ),
    "route to a peer that is gone": (
        node(routes=(*NODE.routes, route("10.10.3.0/24", "10.10.3.1", "antrea-gw0", ours=False))),
        "routes",
        Severity.WARNING,
        "10.10.3.0/24 via 10.10.3.1 dev antrea-gw0",
    ),
    "our route by an uplink to a peer that is gone": (
        node(routes=(*NODE.routes, route("10.10.3.0/24", "172.18.0.3", "eth0", ours=True))),
        "routes",
        Severity.WARNING,
        "10.10.3.0/24 via 172.18.0.3 dev eth0",
    ),
    "listener": (
        node(listeners=frozenset({Listener(protocol="TCP", port=30080)})),
        "listeners",
        Severity.WARNING,
        "30080/TCP, a node port of Service default/web",
    ),
    "unusable peer": (
        replace(SOUND, agent=agent(networkProblems=["Node node-3: spec.podCIDRs: 'x': no CIDR"])),
        "network",
        Severity.WARNING,
        "Node node-3",
    ),
    "taken health port": (
        replace(SOUND, agent=agent(healthProblem="serviceHealthCheckServerBindAddress: 0.0.0.0:10256: taken")),
        "health",
        Severity.WARNING,
        "10256",
    ),
    "Service with a problem": (
        replace(SOUND, agent=agent(WEB | {"problems": ["Service default/web: spec.ports[0].port: 70000: no"]})),
        "service",
        Severity.WARNING,
        "70000",
    ),
}


@pytest.mark.parametrize(("facts", "check", "severity", "words"), CASES.values(), ids=CASES.keys())
def test_what_is_wrong_is_found_alone_and_has_a_remedy(
    facts: Facts, check: str, severity: Severity, words: str
) -> None:
    (finding,) = examine(facts)
    assert (finding.check, finding.severity) == (check, severity)
    assert words in finding.what
    assert finding.mend


def test_sctp_services_that_the_userspace_datapath_cannot_serve_are_told_with_the_way_out() -> None:
    problem = (
        "Service default/sctp: spec.ports[0].protocol: SCTP: Open vSwitch 3.1.0 does not track SCTP in its userspace "
        "datapath (3.2 does); use ovsDatapathType: system, or a newer Open vSwitch; this port is not served"
    )
    switch = STATUS["switch"] | {"datapathType": "netdev"}
    found = examine(replace(SOUND, agent=agent(WEB | {"problems": [problem]}, switch=switch)))
    assert [(finding.check, finding.severity) for finding in found] == [
        ("protocol", Severity.WARNING),
        ("open-vswitch", Severity.NOTE),
    ]
    assert "kernel's datapath" in found[0].mend


@pytest.mark.parametrize(
    ("version", "datapath", "noted"),
    [
        ("3.1.0", "netdev", True),
        ("3.2.9", "netdev", True),
        ("3.1.0", "system", False),
        ("3.3.0", "netdev", False),
        ("", "netdev", False),
    ],
)
def test_an_open_vswitch_with_a_known_fault_is_noted(
    version: str,
    datapath: str,
    noted: bool,  # noqa: FBT001 - a case
) -> None:
    switch = STATUS["switch"] | {"ovsVersion": version, "datapathType": datapath}
    found = examine(replace(SOUND, agent=agent(switch=switch)))
    assert [finding.check for finding in found] == (["open-vswitch"] if noted else [])


def test_a_default_mtu_that_is_too_large_is_named_as_what_to_change() -> None:
    facts = replace(
        SOUND,
        node=replace(NODE, mtus={**NODE.mtus, "antrea-gw0": 9000}),
        settings=Settings(default_mtu=9000),
    )
    (finding,) = examine(facts)
    assert "set defaultMTU to 1450" in finding.mend


def test_without_encapsulation_the_whole_mtu_of_the_uplink_is_for_pods() -> None:
    facts = replace(
        SOUND,
        node=replace(NODE, mtus={**NODE.mtus, "antrea-gw0": 1500, "web-1": 1500}),
        settings=parse("trafficEncapMode: noEncap"),
    )
    assert examine(facts) == ()


def test_direct_server_return_needs_room_for_a_tunnels_headers_without_encapsulation_too() -> None:
    facts = replace(
        SOUND,
        node=replace(NODE, mtus={**NODE.mtus, "antrea-gw0": 1500, "web-1": 1500}),
        settings=parse(
            "trafficEncapMode: noEncap\nfeatureGates: {LoadBalancerModeDSR: true}\nantreaProxy: {proxyAll: true}"
        ),
    )
    found = [(finding.check, finding.severity) for finding in examine(facts)]
    assert found == [("mtu", Severity.ERROR), ("mtu", Severity.WARNING)]
