"""The settings as values: the keys of antrea-agent.conf in snake case, nested where the file nests."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from antrea_proxy.settings import defaults
from antrea_proxy.settings.choices import DatapathType, LoadBalancerMode, TrafficEncapMode, TunnelType
from antrea_proxy.settings.feature_gates import FeatureGates

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipServices:
    """Services that are left alone, by name or by any of their ClusterIPs.

    A name is the pair (namespace, name), equal to a NamespacedName of the same two.
    """

    names: frozenset[tuple[str, str]] = frozenset()
    cluster_ips: frozenset[IPv4Address | IPv6Address] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.names or self.cluster_ips)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """Where a server listens: an address (0.0.0.0 and :: mean all) and a port of 1 to 65,535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AntreaProxySettings:
    """The section `antreaProxy`. Empty `node_port_addresses` mean every address of the host but the gateway's."""

    enable: bool = True
    proxy_all: bool = False
    node_port_addresses: tuple[Network, ...] = ()
    skip_services: SkipServices = field(default_factory=SkipServices)
    proxy_load_balancer_ips: bool = True
    service_proxy_name: str = ""
    default_load_balancer_mode: LoadBalancerMode = LoadBalancerMode.NAT
    disable_service_health_check_server: bool = False
    service_health_check_server_bind_address: ListenAddress = ListenAddress(
        host=defaults.HEALTH_CHECK_HOST, port=defaults.HEALTH_CHECK_PORT
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A whole antrea-agent.conf; `Settings()` is the empty file.

    `tunnel_port` 0 is the tunnel protocol's own port, `default_mtu` 0 (in bytes) is worked out from the transport
    interface. `kube_api_server_override` is a URL, or empty. `service_cidr` and `service_cidr_v6` are read only while
    the proxy is off. `not_used` names each key and gate of the file that Antrea knows and that decides nothing here.
    """

    feature_gates: FeatureGates = field(default_factory=FeatureGates)
    antrea_proxy: AntreaProxySettings = field(default_factory=AntreaProxySettings)
    kube_api_server_override: str = ""
    ovs_bridge: str = defaults.OVS_BRIDGE
    ovs_datapath_type: DatapathType = defaults.OVS_DATAPATH_TYPE
    ovs_run_dir: str = defaults.OVS_RUN_DIR
    host_gateway: str = defaults.HOST_GATEWAY
    traffic_encap_mode: TrafficEncapMode = defaults.TRAFFIC_ENCAP_MODE
    tunnel_type: TunnelType = defaults.TUNNEL_TYPE
    tunnel_port: int = defaults.TUNNEL_PORT
    service_cidr: IPv4Network = defaults.SERVICE_CIDR
    service_cidr_v6: IPv6Network | None = None
    default_mtu: int = defaults.DEFAULT_MTU
    no_snat: bool = False
    cni_socket: str = defaults.CNI_SOCKET
    transport_interface: str = ""
    transport_interface_cidrs: tuple[Network, ...] = ()
    disable_tx_checksum_offload: bool = False
    enable_prometheus_metrics: bool = True
    api_port: int = defaults.API_PORT
    not_used: tuple[str, ...] = ()

    @property
    def proxy_enabled(self) -> bool:
        """Whether Services are ours at all: the feature gate AntreaProxy and `antreaProxy.enable` together."""
        return self.antrea_proxy.enable and self.feature_gates.enabled("AntreaProxy")

    @property
    def direct_return(self) -> bool:
        """Whether a Service may have direct server return, so that Nodes have tunnels in any trafficEncapMode."""
        return self.antrea_proxy.proxy_all and self.feature_gates.enabled("LoadBalancerModeDSR")
