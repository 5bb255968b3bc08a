"""What `antrea-proxy lab up` can be asked for, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from antrea_proxy.lab.errors import LabError

MAX_NODES = 99
MAX_CLIENTS = 99


class EncapMode(StrEnum):
    """How Nodes carry Pods' packets to each other; the values are trafficEncapMode's."""

    ENCAP = "encap"
    NO_ENCAP = "noEncap"
    HYBRID = "hybrid"


class Tunnel(StrEnum):
    """The values of tunnelType."""

    GENEVE = "geneve"
    VXLAN = "vxlan"
    GRE = "gre"


class IPFamily(StrEnum):
    """Which families the cluster has."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    DUAL = "dual"

    @property
    def has_ipv4(self) -> bool:
        """Whether addresses of IPv4 are given out."""
        return self is not IPFamily.IPV6

    @property
    def has_ipv6(self) -> bool:
        """Whether addresses of IPv6 are given out."""
        return self is not IPFamily.IPV4


class Datapath(StrEnum):
    """Where the switches forward; auto is `system` where the kernel has the module openvswitch."""

    AUTO = "auto"
    NETDEV = "netdev"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """A lab to be made; `config` is the text of an antrea-agent.conf, empty for one without keys.

    Raises LabError for what is out of range or not built.
    """

    nodes: int = 3
    encap_mode: EncapMode = EncapMode.ENCAP
    tunnel: Tunnel = Tunnel.GENEVE
    ip_family: IPFamily = IPFamily.DUAL
    datapath: Datapath = Datapath.AUTO
    config: str = ""
    clients: int = 1
    subnets: int = 1
    zones: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MAX_NODES:
            raise LabError(f"--nodes {self.nodes}: a lab has 1 to {MAX_NODES} Nodes")
        if not 0 <= self.clients <= MAX_CLIENTS:
            raise LabError(f"--clients {self.clients}: a lab has 0 to {MAX_CLIENTS} clients")
        if not 1 <= self.zones <= self.nodes:
            raise LabError(f"--zones {self.zones}: a lab of {self.nodes} Nodes has 1 to {self.nodes} zones")
        if not 1 <= self.subnets <= self.nodes:
            raise LabError(f"--subnets {self.subnets}: a lab of {self.nodes} Nodes has 1 to {self.nodes} subnets")

    def as_json(self) -> dict[str, Any]:
        """Give the value as `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabOptions:
        """Read what `as_json` gave, after it went through JSON."""
        return cls(
            **{
                **value,
                "encap_mode": EncapMode(value["encap_mode"]),
                "tunnel": Tunnel(value["tunnel"]),
                "ip_family": IPFamily(value["ip_family"]),
                "datapath": Datapath(value["datapath"]),
            }
        )

    @property
    def node_names(self) -> tuple[str, ...]:
        """`node-1` and on."""
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))

    @property
    def next_to_clients(self) -> tuple[str, ...]:
        """The Nodes of the clients' subnet, the first: the others are beyond a router."""
        return self.node_names[:: self.subnets]

    @property
    def client_names(self) -> tuple[str, ...]:
        """`client-1` and on."""
        return tuple(f"client-{number}" for number in range(1, self.clients + 1))
