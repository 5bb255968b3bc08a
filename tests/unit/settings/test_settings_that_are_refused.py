"""Every mistake in antrea-agent.conf is named with its key, its value, its line and what to do, all at once."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antrea_proxy.settings import Problem, Settings, SettingsError, parse
from antrea_proxy.settings.known_keys import KNOWN


def _problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    return caught.value.problems


def test_all_problems_of_a_file_are_told_at_once_in_the_order_of_the_file() -> None:
    """One look at the log mends the whole file."""
    problems = _problems(
        """featureGates:
  EndpointSlice: false
  AntreProxy: true
proxyAl: true
ovsBridge: 5
antreaProxy:
  enable: false
  proxyAll: true
  skipServices: [kube-dns, kube-system/kube-dns]
  defaultLoadBalancerMode: dsr
tunnelPort: 70000
trafficEncapMode: fast
"""
    )
    assert [(problem.line, problem.path) for problem in problems] == [
        (2, "featureGates.EndpointSlice"),
        (3, "featureGates.AntreProxy"),
        (4, "proxyAl"),
        (5, "ovsBridge"),
        (8, "antreaProxy.proxyAll"),
        (9, "antreaProxy.skipServices[0]"),
        (10, "antreaProxy.defaultLoadBalancerMode"),
        (11, "tunnelPort"),
        (12, "trafficEncapMode"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("proxyAl: true", "proxyAl (line 1): no such key; did you mean antreaProxy.proxyAll?"),
        ("proxyAll: true", "proxyAll (line 1): no such key; did you mean antreaProxy.proxyAll?"),
        ("ovsbridge: a", "ovsbridge (line 1): no such key; did you mean ovsBridge?"),
        ("egress:\n  exceptCIDR: []", "egress.exceptCIDR (line 2): no such key; did you mean egress.exceptCIDRs?"),
        ("wqxz: 1", "wqxz (line 1): no such key; remove it"),
        ("featureGates: {Foo: true}", "featureGates.Foo (line 1): no such feature gate; remove it"),
        ("featureGates: {antreaProxy: true}", "no such feature gate; did you mean AntreaProxy?"),
        ("featureGates: {TopologyAwareHints: false}", "the gate is locked to true; remove the line"),
        ("featureGates: {AntreaProxy: 1}", "featureGates.AntreaProxy: 1 (line 1): it must be true or false"),
        ("featureGates: [AntreaProxy]", "featureGates: a list (line 1): it must be a mapping of feature gates"),
        ("antreaProxy: true", "antreaProxy: true (line 1): it must be a mapping"),
        (
            "antreaProxy: {enable: 'no'}",
            'antreaProxy.enable: "no" (line 1): it must be true or false; write true or false',
        ),
        ("ovsBridge: 5", "ovsBridge: 5 (line 1): it must be a string; put it in quotes"),
        ("defaultMTU: big", "defaultMTU: big (line 1): it must be a whole number; write a whole number"),
        ("defaultMTU: 200", "defaultMTU: 200 (line 1): it must be 576 to 65535"),
        ("apiPort: -1", "apiPort: -1 (line 1): it must be 1 to 65535"),
        ("tunnelPort: true", "tunnelPort: true (line 1): it must be a whole number"),
        ("transportInterfaceCIDRs: 10.0.0.0/8", "it must be a list of strings; write `[a, b]`"),
        ("transportInterfaceCIDRs: [10.0.0.0]", "transportInterfaceCIDRs[0]: 10.0.0.0 (line 1): it is no CIDR"),
        ("antreaProxy: {nodePortAddresses: [a, 1]}", "antreaProxy.nodePortAddresses[0]: a (line 1): it is no CIDR"),
        (
            "antreaProxy: {nodePortAddresses: [a, 1]}",
            "antreaProxy.nodePortAddresses[1]: 1 (line 1): it must be a string",
        ),
        ("serviceCIDR: fd00::/64", "serviceCIDR: fd00::/64 (line 1): it is an IPv6 CIDR where an IPv4 one belongs"),
        ("serviceCIDRv6: 10.0.0.0/8", "serviceCIDRv6: 10.0.0.0/8 (line 1): it is an IPv4 CIDR"),
        ("ovsDatapathType: kernel", "write one of: auto, system, netdev"),
        ("tunnelType: gre\ntunnelPort: 6081", "tunnelPort: 6081 (line 2): tunnelType gre has no ports; remove it"),
        ("tunnelType: stt", "write one of: geneve, vxlan, gre"),
        ("trafficEncapMode: networkPolicyOnly", "write one of: encap, noEncap, hybrid"),
        ("hostGateway: a-name-that-is-too-long", "it cannot be the name of a network interface"),
        ("hostGateway: antrea-tun0", "the interface name antrea-tun0 is already a port of the agent's own"),
        ("hostGateway: br-int", "the interface name br-int is already the value of ovsBridge"),
        ("ovsRunDir: run", "ovsRunDir: run (line 1): it is not an absolute path"),
        (f"cniSocket: /{'a' * 107}", "too long for a Unix socket"),
        ("kubeAPIServerOverride: ftp://a", "it is no URL of an API server"),
        ("kubeAPIServerOverride: https://a:b", "it is no URL of an API server"),
        ("noSNAT: true", "it cannot work with trafficEncapMode encap"),
        ("antreaProxy: {skipServices: [a/b/c]}", "antreaProxy.skipServices[0]: a/b/c (line 1): no Service can have"),
        ("antreaProxy: {skipServices: [10.0.0.300]}", "neither namespace/name nor an address"),
        ("antreaProxy: {serviceProxyName: 'a b'}", "no label of a Service can have this value"),
        ("antreaProxy: {proxyAll: true, enable: false}", "it cannot work with antreaProxy.enable: false"),
        ("featureGates: {AntreaProxy: false}\nantreaProxy: {proxyAll: true}", "with featureGates.AntreaProxy: false"),
        ("antreaProxy: {defaultLoadBalancerMode: dsr}", "add `LoadBalancerModeDSR: true` to featureGates"),
        ("antreaProxy: {serviceHealthCheckServerBindAddress: ':0'}", "its port is not 1 to 65535"),
        ("antreaProxy: {serviceHealthCheckServerBindAddress: '::1'}", "it is no address and port"),
        ("antreaProxy: {serviceHealthCheckServerBindAddress: localhost:1}", "it is no address and port"),
        (
            "externalNode: {policyBypassRules: {port: 1}}",
            "externalNode.policyBypassRules: a mapping (line 1): it must be a list",
        ),
        ("clientConnection: 5", "clientConnection: 5 (line 1): it must be a mapping"),
        ("- ovsBridge", "the file: a list (line 1): it must be a mapping"),
        ("ovsBridge: a\n---\novsBridge: b", "the file (line 3): a second YAML document starts here"),
        ("? [a]\n: b", "a list (line 1): no such key"),
        ("kind: ConfigMap\ndata: {a: b}", "data.antrea-agent.conf (line 1): no ConfigMap here has this key"),
        (
            "kind: Deployment",
            "the file (line 1): no ConfigMap among its objects (Deployment); give the ConfigMap antrea-config",
        ),
        ("antreaProxy: {skipServices: ['fe80::1%eth0']}", "no ClusterIP has a zone"),
        (
            "antreaProxy: {skipServices: [0.0.0.0]}",
            "antreaProxy.skipServices[0]: 0.0.0.0 (line 1): no Service can have this",
        ),
        ("antreaProxy: {skipServices: ['::ffff:127.0.0.1']}", "no Service can have this ClusterIP"),
        ("antreaProxy: {skipServices: [224.0.0.1]}", "no Service can have this ClusterIP"),
        (
            "antreaProxy: {skipServices: [10.96.0.10/32]}",
            "write namespace/name, such as kube-system/kube-dns, or one ClusterIP",
        ),
    ],
)
def test_a_mistake_is_named_with_its_key_its_value_and_the_remedy(text: str, message: str) -> None:
    """The text is all that the user needs."""
    assert message in "\n".join(str(problem) for problem in _problems(text))


def test_a_key_that_is_there_twice_is_refused_with_both_lines() -> None:
    """Most readers would silently take one of the two."""
    (problem,) = _problems("antreaProxy:\n  enable: true\n  proxyAll: false\n  enable: true\n")
    assert (problem.path, problem.line) == ("antreaProxy.enable", 4)
    assert "first in line 2" in problem.reason


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [("a: b: c", 1, 5), ("ovsBridge: br0\n\ttunnelPort: 1", 2, 1), ("ovsBridge: [a", 1, 14), ("a: *b", 1, 4)],
)
def test_text_that_is_no_yaml_is_refused_with_line_and_column(text: str, line: int, column: int) -> None:
    """Counted from 1, as editors do."""
    (problem,) = _problems(text)
    assert problem.line == line
    assert f"column {column}" in problem.reason


def test_lines_within_a_config_map_are_those_of_the_file_that_the_user_edits() -> None:
    """Not those of the text inside of it."""
    manifest = (
        "apiVersion: v1\nkind: ConfigMap\ndata:\n  antrea-agent.conf: |\n    ovsBridge: br0\n    tunnelPort: 70000\n"
    )
    assert _problems(manifest)[0].line == 6
    (broken,) = _problems(manifest.replace("tunnelPort: 70000", "a: b: c"))
    assert broken.line == 6
    assert "column 9" in broken.reason


def test_a_file_nested_without_end_is_refused_and_does_not_crash() -> None:
    """The stack is not the file's to use up."""
    assert "nested too deeply" in _problems("a: " + "[" * 1500)[0].reason


def test_an_alias_to_itself_is_refused_and_does_not_loop() -> None:
    """YAML allows such a graph."""
    assert [problem.path for problem in _problems("&a antreaProxy: &b\n  enable: *b\n")] == ["antreaProxy.enable"]


_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.just("10.0.0.0/8"))


@given(st.dictionaries(st.sampled_from([*KNOWN, "x"]), st.one_of(_scalars, st.lists(_scalars, max_size=3)), max_size=6))
@example({"kubeAPIServerOverride": "https://[1"})
@example({"antreaProxy.serviceHealthCheckServerBindAddress": "0.0.0.0:²"})
def test_any_values_are_settings_or_problems_and_never_a_crash(values: dict[str, object]) -> None:
    """Every value of every type under every known key."""
    lines = []
    for path, value in values.items():
        *sections, key = path.split(".")
        indents = [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
        lines.append("\n".join([*indents, f"{'  ' * len(sections)}{key}: {_flow(value)}"]))
    assert _settings_or_problems("\n".join(lines))


@given(st.text(max_size=60))
def test_any_text_is_settings_or_problems_and_never_a_crash(text: str) -> None:
    """Whatever bytes end up in the file."""
    assert _settings_or_problems(text)


def _settings_or_problems(text: str) -> Settings | tuple[Problem, ...]:
    try:
        return parse(text)
    except SettingsError as error:
        return error.problems


def _flow(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''").replace("\n", " ") + "'"
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if value in {None, True, False}
        else str(value)
    )
