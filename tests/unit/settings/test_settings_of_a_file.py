"""Reading antrea-agent.conf: what a user writes, and the settings that come of it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.settings import (
    DatapathType,
    ListenAddress,
    LoadBalancerMode,
    Settings,
    TrafficEncapMode,
    TunnelType,
    parse,
)
from antrea_proxy.settings.feature_gates import GATES
from antrea_proxy.settings.known_keys import KNOWN, LISTS_OF_SECTIONS, NOT_USED, Kind

_KEYS_TEXT, _GATES_TEXT = (
    (Path(__file__).parents[2] / "data" / "antrea-agent-conf.yaml").read_text().split("\nfeatureGates:\n")
)
_REAL_GATES = yaml.safe_load(_GATES_TEXT)
# `[]string` and `map[string]bool` are Go's words, not YAML's.
_REAL_KEYS = dict(line.strip().split(": ") for line in _KEYS_TEXT.partition("\nkeys:\n")[2].splitlines())

_EXAMPLES: dict[Kind, Any] = {
    Kind.TEXT: "anything",
    Kind.FLAG: True,
    Kind.NUMBER: 7,
    Kind.TEXTS: ["10.0.0.0/8"],
    Kind.NUMBERS: [1, 2, 3],
    Kind.OBJECT: {"kubeconfig": "/etc/kubeconfig", "qps": 5},
    Kind.GATES: {name: gate.default for name, gate in GATES.items()},
}
_EXAMPLES_OF_KEYS: dict[str, Any] = {
    "trafficEncapMode": "noEncap",
    "tunnelType": "vxlan",
    "ovsDatapathType": "system",
    "ovsBridge": "br0",
    "hostGateway": "gw0",
    "ovsRunDir": "/run/ovs",
    "cniSocket": "/run/cni.sock",
    "serviceCIDR": "10.0.0.0/16",
    "serviceCIDRv6": "fd00::/112",
    "defaultMTU": 1400,
    "kubeAPIServerOverride": "10.0.0.1:6443",
    "antreaProxy.skipServices": ["kube-system/kube-dns", "10.0.0.1"],
    "antreaProxy.defaultLoadBalancerMode": "NAT",
    "antreaProxy.serviceHealthCheckServerBindAddress": "127.0.0.1:10256",
}


def _whole_file() -> str:
    """Write every key that Antrea knows, with a value of its type."""
    root: dict[str, Any] = {}
    for path, kind in KNOWN.items():
        *sections, key = path.split(".")
        level, here = root, ""
        for section in sections:
            here = f"{here}.{section}".lstrip(".")
            inner = level.setdefault(section, [{}] if here in LISTS_OF_SECTIONS else {})
            level = inner[0] if isinstance(inner, list) else inner
        level[key] = _EXAMPLES_OF_KEYS.get(path, _EXAMPLES[kind])
    return yaml.safe_dump(root)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment\n", "---\n", "featureGates:\n# Egress: true\nantreaProxy:\n", "{}"]
)
def test_a_file_that_sets_nothing_means_the_defaults(text: str) -> None:
    """Whatever an editor or a Helm chart leaves of a file without settings."""
    assert parse(text) == Settings()


def test_the_defaults_are_those_of_antrea() -> None:
    """A cluster that moves over finds everything where it was."""
    settings = parse("")
    assert settings.ovs_bridge == "br-int"
    assert settings.ovs_datapath_type is DatapathType.AUTO
    assert settings.ovs_run_dir == "/var/run/openvswitch"
    assert settings.host_gateway == "antrea-gw0"
    assert settings.traffic_encap_mode is TrafficEncapMode.ENCAP
    assert settings.tunnel_type is TunnelType.GENEVE
    assert settings.service_cidr == IPv4Network("10.96.0.0/12")
    assert settings.service_cidr_v6 is None
    assert settings.cni_socket == "/var/run/antrea/cni.sock"
    assert settings.api_port == 10350
    assert settings.enable_prometheus_metrics
    proxy = settings.antrea_proxy
    assert (proxy.enable, proxy.proxy_all, proxy.proxy_load_balancer_ips) == (True, False, True)
    assert proxy.default_load_balancer_mode is LoadBalancerMode.NAT
    assert str(proxy.service_health_check_server_bind_address) == "0.0.0.0:10256"
    assert settings.not_used == ()


def test_an_empty_string_or_a_zero_means_the_default_as_in_antrea() -> None:
    """Go cannot tell a missing value from its zero, so Antrea's charts write zeroes."""
    assert parse('ovsBridge: ""\ntunnelPort: 0\napiPort: 0\nserviceCIDRv6: ""\ntunnelType: ""\n') == Settings()


def test_every_key_of_the_file_reaches_its_setting() -> None:
    """No two keys are mixed up, and none is read and forgotten."""
    settings = parse(
        """
        featureGates: {LoadBalancerModeDSR: true, CleanupStaleUDPSvcConntrack: false}
        kubeAPIServerOverride: https://192.0.2.1:6443/
        ovsBridge: br0
        ovsDatapathType: netdev
        ovsRunDir: /run/ovs/
        hostGateway: gw0
        trafficEncapMode: NOENCAP
        tunnelType: vxlan
        tunnelPort: 8472
        serviceCIDR: 10.32.0.0/16
        serviceCIDRv6: fd00:96::/112
        defaultMTU: 1400
        noSNAT: true
        cniSocket: /run/cni.sock
        transportInterface: eth1
        transportInterfaceCIDRs: [192.0.2.0/24, "fd00:1::/64"]
        disableTXChecksumOffload: true
        enablePrometheusMetrics: false
        apiPort: 10351
        antreaProxy:
          enable: true
          proxyAll: true
          nodePortAddresses: [192.0.2.7/24]
          skipServices: [kube-system/kube-dns, 10.96.0.10]
          proxyLoadBalancerIPs: false
          serviceProxyName: ours
          defaultLoadBalancerMode: DSR
          disableServiceHealthCheckServer: true
          serviceHealthCheckServerBindAddress: "[::]:10257"
        """
    )
    assert settings.feature_gates.enabled("LoadBalancerModeDSR")
    assert not settings.feature_gates.enabled("CleanupStaleUDPSvcConntrack")
    assert settings.kube_api_server_override == "https://192.0.2.1:6443"
    assert (settings.ovs_bridge, settings.ovs_datapath_type, settings.ovs_run_dir) == ("br0", "netdev", "/run/ovs")
    assert (settings.host_gateway, settings.traffic_encap_mode) == ("gw0", TrafficEncapMode.NO_ENCAP)
    assert (settings.tunnel_type, settings.tunnel_port) == (TunnelType.VXLAN, 8472)
    assert (settings.service_cidr, settings.service_cidr_v6) == (
        IPv4Network("10.32.0.0/16"),
        IPv6Network("fd00:96::/112"),
    )
    assert (settings.default_mtu, settings.no_snat, settings.cni_socket) == (1400, True, "/run/cni.sock")
    assert settings.transport_interface == "eth1"
    assert settings.transport_interface_cidrs == (IPv4Network("192.0.2.0/24"), IPv6Network("fd00:1::/64"))
    assert (settings.disable_tx_checksum_offload, settings.enable_prometheus_metrics) == (True, False)
    assert settings.api_port == 10351
    proxy = settings.antrea_proxy
    assert (proxy.enable, proxy.proxy_all, proxy.proxy_load_balancer_ips) == (True, True, False)
    assert proxy.node_port_addresses == (IPv4Network("192.0.2.0/24"),)
    assert NamespacedName("kube-system", "kube-dns") in proxy.skip_services.names
    assert proxy.skip_services.cluster_ips == {IPv4Address("10.96.0.10")}
    assert (proxy.service_proxy_name, proxy.default_load_balancer_mode) == ("ours", LoadBalancerMode.DSR)
    assert proxy.disable_service_health_check_server
    assert proxy.service_health_check_server_bind_address == ListenAddress(host="::", port=10257)


def test_the_table_of_known_keys_and_gates_is_antreas() -> None:
    """The reference table was read off Antrea; the one difference in defaults is meant."""
    types = {
        "string": Kind.TEXT,
        "bool": Kind.FLAG,
        "int": Kind.NUMBER,
        "int32": Kind.NUMBER,
        "[]string": Kind.TEXTS,
        "[]int": Kind.NUMBERS,
        "object": Kind.OBJECT,
        "map[string]bool": Kind.GATES,
    }
    assert {path: types[kind] for path, kind in _REAL_KEYS.items()} == KNOWN
    assert {name: gate["stage"] for name, gate in _REAL_GATES.items()} == {
        name: gate.stage.value for name, gate in GATES.items()
    }
    assert {name for name, gate in _REAL_GATES.items() if gate.get("locked")} == {
        name for name, gate in GATES.items() if gate.locked
    }
    differing = {name for name, gate in _REAL_GATES.items() if gate["default"] is not GATES[name].default}
    assert differing == {"PreferSameTrafficDistribution"}


def test_a_file_with_every_key_that_antrea_knows_is_accepted_and_what_is_not_used_is_named() -> None:
    """A real cluster's whole file is a drop-in."""
    settings = parse(_whole_file())
    assert settings.tunnel_type is TunnelType.VXLAN
    unused_gates = {f"featureGates.{name}" for name, gate in GATES.items() if not gate.used}
    assert set(settings.not_used) == {*NOT_USED, *unused_gates}
    assert len(settings.not_used) == len(set(settings.not_used))
    assert "antreaProxy.enable" not in settings.not_used


def test_the_config_map_that_holds_the_file_can_be_given_instead_of_it() -> None:
    """As `kubectl get configmap -o yaml` prints it, or within a bundle of manifests."""
    conf = "ovsBridge: br0\nantreaProxy:\n  proxyLoadBalancerIPs: false\n"
    config_map = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "antrea-config", "namespace": "kube-system"},
            "data": {"antrea-agent.conf": conf, "antrea-cni.conflist": "{}"},
        }
    )
    assert parse(config_map) == parse(conf)
    assert parse(config_map).ovs_bridge == "br0"
    assert parse(f"apiVersion: v1\nkind: Namespace\n---\n{config_map}") == parse(conf)
    listed = yaml.safe_dump(
        {"kind": "List", "items": [{"kind": "ConfigMap", "data": {"a": "b"}}, yaml.safe_load(config_map)]}
    )
    assert parse(listed) == parse(conf), "kubectl get configmap -n kube-system -o yaml"


def test_a_gates_own_name_beats_all_alpha_and_all_beta() -> None:
    """In whatever order the file has them."""
    gates = parse(
        "featureGates: {LoadBalancerModeDSR: false, AllAlpha: true, AllBeta: false, Traceflow: true}"
    ).feature_gates
    assert not gates.enabled("LoadBalancerModeDSR")
    assert gates.enabled("BGPPolicy")
    assert not gates.enabled("CleanupStaleUDPSvcConntrack")
    assert gates.enabled("Traceflow")
    assert gates.enabled("AntreaProxy"), "a GA gate is of neither group"
    with pytest.raises(KeyError):
        gates.enabled("NoSuchGate")


def test_the_proxy_is_off_by_its_key_and_by_its_gate() -> None:
    """Either is enough."""
    assert parse("").proxy_enabled
    assert not parse("antreaProxy: {enable: false}").proxy_enabled
    assert not parse("featureGates: {AntreaProxy: false}").proxy_enabled


def test_a_locked_gate_may_be_set_to_what_it_is_locked_to() -> None:
    """Charts write every gate."""
    assert parse("featureGates: {EndpointSlice: true}").feature_gates.enabled("EndpointSlice")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.1", "https://10.0.0.1"),
        ("api.example:6443", "https://api.example:6443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://[fd00::1]:6443/", "https://[fd00::1]:6443"),
    ],
)
def test_the_api_server_may_be_a_host_a_host_and_port_or_a_url(text: str, url: str) -> None:
    """The three forms that Antrea documents, https where none is written."""
    assert parse(f"kubeAPIServerOverride: '{text}'").kube_api_server_override == url


def test_an_ipv4_address_that_is_written_as_ipv6_skips_the_same_service() -> None:
    """Go reads both as one address, and the rest of the cluster's configuration is read by Go."""
    mapped = parse("antreaProxy: {skipServices: ['::ffff:10.96.0.10']}").antrea_proxy.skip_services
    assert mapped == parse("antreaProxy: {skipServices: [10.96.0.10]}").antrea_proxy.skip_services


def test_a_skipped_service_is_told_by_ipv6_too() -> None:
    """NodeLocal DNSCache on an IPv6 cluster."""
    assert parse("antreaProxy: {skipServices: ['fd00:10::a']}").antrea_proxy.skip_services.cluster_ips == {
        ip_address("fd00:10::a")
    }
