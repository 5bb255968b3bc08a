"""antrea-agent.conf -> Settings, with every problem of the file at once."""

from __future__ import annotations

from antrea_proxy.settings import answers, combinations, defaults
from antrea_proxy.settings.answers import Answers
from antrea_proxy.settings.choices import DatapathType, LoadBalancerMode, TrafficEncapMode, TunnelType
from antrea_proxy.settings.feature_gates import GATES, FeatureGates, resolve
from antrea_proxy.settings.given_keys import Given, GivenKeys
from antrea_proxy.settings.known_keys import NOT_USED
from antrea_proxy.settings.problems import Problem, SettingsError
from antrea_proxy.settings.values import AntreaProxySettings, Settings
from antrea_proxy.settings.yaml_text import compose, duplicate_keys, extract_conf, line_of


def parse(text: str) -> Settings:
    """Read antrea-agent.conf, or the ConfigMap that holds it under the key antrea-agent.conf.

    A missing key, an empty one and an empty string mean the default, as in Antrea.

    Raises SettingsError with all that is wrong with the file.
    """
    conf = extract_conf(text)
    documents = compose(conf)
    given = GivenKeys(lines_before=conf.lines_before)
    for document in documents[:1]:
        given.problems.extend(duplicate_keys(document, conf.lines_before))
        given.read(document)
    for document in documents[1:]:
        given.problems.append(
            Problem(
                path="",
                value="",
                reason="a second YAML document starts here",
                remedy="keep one document",
                line=line_of(document) + conf.lines_before,
            )
        )
    settings = _settings(Answers(given=given))
    given.problems.extend(combinations.problems(settings, given.values))
    if given.problems:
        raise SettingsError(sorted(given.problems, key=lambda problem: problem.line or 0))
    return settings


def _settings(ask: Answers) -> Settings:
    return Settings(
        feature_gates=_feature_gates(ask.given),
        antrea_proxy=_antrea_proxy(ask),
        kube_api_server_override=ask.as_written("kubeAPIServerOverride", "", answers.server_url),
        ovs_bridge=ask.as_written("ovsBridge", defaults.OVS_BRIDGE, answers.interface_name),
        ovs_datapath_type=ask.choice("ovsDatapathType", defaults.OVS_DATAPATH_TYPE, DatapathType),
        ovs_run_dir=ask.as_written("ovsRunDir", defaults.OVS_RUN_DIR, answers.absolute_path),
        host_gateway=ask.as_written("hostGateway", defaults.HOST_GATEWAY, answers.interface_name),
        traffic_encap_mode=ask.choice("trafficEncapMode", defaults.TRAFFIC_ENCAP_MODE, TrafficEncapMode),
        tunnel_type=ask.choice("tunnelType", defaults.TUNNEL_TYPE, TunnelType),
        tunnel_port=ask.number("tunnelPort", defaults.TUNNEL_PORT, at_least=1, at_most=defaults.PORT_MAX),
        service_cidr=ask.as_written("serviceCIDR", defaults.SERVICE_CIDR, answers.ipv4_network),
        service_cidr_v6=ask.as_written("serviceCIDRv6", None, answers.ipv6_network),
        default_mtu=ask.number("defaultMTU", defaults.DEFAULT_MTU, at_least=defaults.MTU_MIN, at_most=defaults.MTU_MAX),
        no_snat=ask.flag("noSNAT", default=False),
        cni_socket=ask.as_written("cniSocket", defaults.CNI_SOCKET, answers.socket_path),
        transport_interface=ask.as_written("transportInterface", "", answers.interface_name),
        transport_interface_cidrs=ask.each("transportInterfaceCIDRs", answers.network),
        disable_tx_checksum_offload=ask.flag("disableTXChecksumOffload", default=False),
        enable_prometheus_metrics=ask.flag("enablePrometheusMetrics", default=True),
        api_port=ask.number("apiPort", defaults.API_PORT, at_least=1, at_most=defaults.PORT_MAX),
        not_used=_not_used(ask.given),
    )


def _antrea_proxy(ask: Answers) -> AntreaProxySettings:
    usual = AntreaProxySettings()
    return AntreaProxySettings(
        enable=ask.flag("antreaProxy.enable", default=usual.enable),
        proxy_all=ask.flag("antreaProxy.proxyAll", default=usual.proxy_all),
        node_port_addresses=ask.each("antreaProxy.nodePortAddresses", answers.network),
        skip_services=answers.skip_services(ask.each("antreaProxy.skipServices", answers.skipped_service)),
        proxy_load_balancer_ips=ask.flag("antreaProxy.proxyLoadBalancerIPs", default=usual.proxy_load_balancer_ips),
        service_proxy_name=ask.as_written("antreaProxy.serviceProxyName", "", answers.label_value),
        default_load_balancer_mode=ask.choice(
            "antreaProxy.defaultLoadBalancerMode", usual.default_load_balancer_mode, LoadBalancerMode
        ),
        disable_service_health_check_server=ask.flag(
            "antreaProxy.disableServiceHealthCheckServer", default=usual.disable_service_health_check_server
        ),
        service_health_check_server_bind_address=ask.as_written(
            "antreaProxy.serviceHealthCheckServerBindAddress",
            usual.service_health_check_server_bind_address,
            answers.listen_address,
        ),
    )


def _feature_gates(given: GivenKeys) -> FeatureGates:
    chosen: dict[str, bool] = {}
    for name, gate in given.gates.items():
        wanted = gate.value is True
        known = GATES.get(name)
        if known is not None and known.locked and wanted is not known.default:
            given.problems.append(_locked(name, gate))
        else:
            chosen[name] = wanted
    return resolve(chosen)


def _locked(name: str, gate: Given) -> Problem:
    return Problem(
        path=f"featureGates.{name}",
        value=gate.shown,
        reason=f"the gate is locked to {str(GATES[name].default).lower()}",
        remedy="remove the line",
        line=gate.line,
    )


def _not_used(given: GivenKeys) -> tuple[str, ...]:
    keys = [path for path in given.values if path in NOT_USED]
    gates = [f"featureGates.{name}" for name in given.gates if name in GATES and not GATES[name].used]
    return (*keys, *gates)
