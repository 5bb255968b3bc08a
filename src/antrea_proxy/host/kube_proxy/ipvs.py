"""What the ipvs mode left: virtual servers, the sets of ipset, the dummy device. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from antrea_proxy.host.kube_proxy.names import IPSETS
from antrea_proxy.network.values import IPAddress

PROTOCOL_OPTIONS = {"-t": "TCP", "-u": "UDP", "--sctp-service": "SCTP"}
"""How ipvsadm names a protocol (ipvsadm(8))."""

_OPTION_OF = {protocol: option for option, protocol in PROTOCOL_OPTIONS.items()}
_END = re.compile(r"\[?([0-9a-fA-F.:]+?)\]?:(\d+)")
_NODE_PORT_SET = re.compile(r"KUBE-(?:6-)?NODE-PORT-(?:LOCAL-)?(TCP|UDP|SCTP)(?:-HASH)?")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class VirtualServer:
    """A virtual server of the kernel's load balancer by protocol (TCP, UDP or SCTP), address and port."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}/{self.protocol}"

    @property
    def words(self) -> str:
        """How ipvsadm names it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{_OPTION_OF[self.protocol]} {host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IpSets:
    """kube-proxy's sets, and the node ports that they hold as pairs of protocol and port."""

    names: tuple[str, ...] = ()
    node_ports: frozenset[tuple[str, int]] = frozenset()


def read_ipvsadm(text: str) -> tuple[VirtualServer, ...]:
    """Read what `ipvsadm -Sn` printed; servers by firewall mark, which kube-proxy never makes, are left out."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["-A"] and len(words) > 2 and words[1] in PROTOCOL_OPTIONS:  # noqa: PLR2004 - option and value
            end = _END.fullmatch(words[2])
            if end is not None:
                found.append(VirtualServer(protocol=PROTOCOL_OPTIONS[words[1]], address=end[1], port=int(end[2])))
    return tuple(found)


def read_ipset(text: str) -> IpSets:
    """Read what `ipset save` printed."""
    names: list[str] = []
    ports: set[tuple[str, int]] = set()
    for line in text.splitlines():
        verb, name, value, *_ = (*line.split(), "", "", "")
        if verb == "create" and name in IPSETS:
            names.append(name)
        elif verb == "add" and (kind := _NODE_PORT_SET.fullmatch(name)):
            ports.update((kind[1], port) for port in _ports(value))
    return IpSets(names=tuple(sorted(names)), node_ports=frozenset(ports))


def _ports(value: str) -> Iterable[int]:
    """The ports of a member: 30080, 30080-30090 (bitmap:port), or 172.18.0.2,sctp:30080 (hash:ip,port)."""
    first, _, last = value.rpartition(":")[2].partition("-")
    return range(int(first), int(last or first) + 1) if first.isdigit() else ()


def kube_proxys_servers(
    servers: Iterable[VirtualServer], *, device_addresses: Iterable[IPAddress], node_ports: frozenset[tuple[str, int]]
) -> tuple[VirtualServer, ...]:
    """Choose kube-proxy's virtual servers: at an address of kube-ipvs0, or at a port of its node-port sets."""
    addresses = frozenset(device_addresses)
    return tuple(
        sorted(
            server
            for server in servers
            if ip_address(server.address) in addresses or (server.protocol, server.port) in node_ports
        )
    )


def ipvsadm_text(servers: Iterable[VirtualServer]) -> str:
    """Write the input of `ipvsadm -R` that removes virtual servers."""
    return "".join(f"-D {server.words}\n" for server in servers)


def ipset_text(names: Iterable[str]) -> str:
    """Write the input of `ipset restore` that removes sets; nothing may refer to them any more."""
    return "".join(f"destroy {name}\n" for name in names)
