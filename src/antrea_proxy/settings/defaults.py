"""The defaults of antrea-agent.conf, and the bounds of its values, with the arithmetic where there is any."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Final

from antrea_proxy.settings.choices import DatapathType, TrafficEncapMode, TunnelType

OVS_BRIDGE: Final = "br-int"
OVS_DATAPATH_TYPE: Final = DatapathType.AUTO  # Antrea: system; auto is system wherever the kernel has openvswitch
OVS_RUN_DIR: Final = "/var/run/openvswitch"
HOST_GATEWAY: Final = "antrea-gw0"
TRAFFIC_ENCAP_MODE: Final = TrafficEncapMode.ENCAP
TUNNEL_TYPE: Final = TunnelType.GENEVE
TUNNEL_PORT: Final = 0  # the protocol's own: 6081 for Geneve (RFC 8926), 4789 for VXLAN (RFC 7348)
DEFAULT_MTU: Final = 0  # taken from the transport interface, less the tunnel's headers
CNI_SOCKET: Final = "/var/run/antrea/cni.sock"
SERVICE_CIDR: Final = IPv4Network("10.96.0.0/12")
API_PORT: Final = 10350
HEALTH_CHECK_HOST: Final = "0.0.0.0"  # noqa: S104  # Antrea's default: health checks come from outside of the Node
HEALTH_CHECK_PORT: Final = 10256

INTERFACE_NAME_MAX: Final = 16 - 1  # IFNAMSIZ of linux/if.h holds the closing NUL too
SOCKET_PATH_MAX: Final = 108 - 1  # sun_path of linux/un.h, less the closing NUL
PORT_MAX: Final = 2**16 - 1
MTU_MIN: Final = 576  # RFC 791 section 3.1: every host must take a datagram of 576 octets
MTU_MAX: Final = 2**16 - 1
LABEL_VALUE_MAX: Final = 63  # Kubernetes, labels: syntax and character set

RESERVED_PORTS: Final = frozenset({"antrea-tun0", "antrea-refuse0"})
"""Names that the agent gives to its own ports of the bridge: tunnel and refusals."""
