"""Values that antrea-agent.conf chooses from; each member's value is the file's own spelling."""

from __future__ import annotations

import enum


class DatapathType(enum.StrEnum):
    """`ovsDatapathType`. AUTO: system where the kernel has openvswitch, else netdev."""

    AUTO = "auto"
    SYSTEM = "system"
    NETDEV = "netdev"


class TrafficEncapMode(enum.StrEnum):
    """`trafficEncapMode`: how Pod traffic reaches other Nodes."""

    ENCAP = "encap"
    NO_ENCAP = "noEncap"
    HYBRID = "hybrid"


class TunnelType(enum.StrEnum):
    """`tunnelType`: the encapsulation between Nodes."""

    GENEVE = "geneve"
    VXLAN = "vxlan"
    GRE = "gre"


class LoadBalancerMode(enum.StrEnum):
    """`antreaProxy.defaultLoadBalancerMode`: whether the endpoint's replies return through the ingress Node (NAT)."""

    NAT = "nat"
    DSR = "dsr"
