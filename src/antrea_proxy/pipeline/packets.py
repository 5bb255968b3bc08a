"""A virtual packet: what a walk through the tables starts with, and what it ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.fields import Field

IPAddress = IPv4Address | IPv6Address

DEFAULT_TTL: Final = 64

TCP_SYN: Final = 0x02
TCP_RST: Final = 0x04
TCP_ACK: Final = 0x10

_L4_FIELDS: Final[Mapping[int, tuple[Field, Field]]] = {
    fields.IP_PROTO_TCP: (fields.TCP_SRC, fields.TCP_DST),
    fields.IP_PROTO_UDP: (fields.UDP_SRC, fields.UDP_DST),
    fields.IP_PROTO_SCTP: (fields.SCTP_SRC, fields.SCTP_DST),
    fields.IP_PROTO_ICMP: (fields.ICMPV4_TYPE, fields.ICMPV4_CODE),
    fields.IP_PROTO_ICMPV6: (fields.ICMPV6_TYPE, fields.ICMPV6_CODE),
}
_OVS_PROTOCOLS: Final[Mapping[int, str]] = {
    fields.IP_PROTO_TCP: "tcp",
    fields.IP_PROTO_UDP: "udp",
    fields.IP_PROTO_SCTP: "sctp",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arp:
    """What an ARP packet says; `operation` 1 asks, 2 answers (RFC 826)."""

    operation: int
    sender: IPv4Address
    target: IPv4Address
    sender_mac: int = 0
    target_mac: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A frame, and the tunnel that it came through or is to go through.

    `source_port` and `destination_port` of ICMP are its type and code. An IP packet has both addresses, others none.
    `dp_hash` is what the datapath would compute once a group asks for it, 1 to 0xffffffff; 0 stands for 1.
    """

    in_port: int
    eth_src: int = 0
    eth_dst: int = 0
    eth_type: int = 0
    source: IPAddress | None = None
    destination: IPAddress | None = None
    protocol: int = 0
    source_port: int = 0
    destination_port: int = 0
    tcp_flags: int = 0
    ttl: int = DEFAULT_TTL
    arp: Arp | None = None
    nd_target: IPv6Address | None = None
    tunnel_source: IPAddress | None = None
    tunnel_destination: IPAddress | None = None
    tunnel_id: int = 0
    dp_hash: int = 0

    @property
    def family(self) -> int:
        """4 or 6; 0 if it is no IP packet."""
        return 0 if self.source is None else self.source.version

    def fields(self) -> dict[Field, int]:
        """Return the packet as values of OpenFlow's fields; a field that it lacks is left out, and reads as 0."""
        found = {
            fields.IN_PORT: self.in_port,
            fields.ETH_SRC: self.eth_src,
            fields.ETH_DST: self.eth_dst,
            fields.ETH_TYPE: self.eth_type,
            fields.DP_HASH: self.dp_hash or 1,
        }
        found |= _tunnel_fields(self)
        if self.arp is not None:
            found |= _arp_fields(self.arp)
        if self.source is None or self.destination is None:
            return found
        source, destination = ip_fields(self.family)
        found |= {
            source: int(self.source),
            destination: int(self.destination),
            fields.IP_PROTO: self.protocol,
            fields.NW_TTL: self.ttl,
        }
        if self.protocol in _L4_FIELDS:
            source_port, destination_port = _L4_FIELDS[self.protocol]
            found |= {source_port: self.source_port, destination_port: self.destination_port}
        if self.protocol == fields.IP_PROTO_TCP:
            found[fields.TCP_FLAGS] = self.tcp_flags
        if self.nd_target is not None:
            found[fields.ND_TARGET] = int(self.nd_target)
        return found

    def ovs_text(self) -> str:
        """Write the packet in the words of ovs-fields(7), for `ofproto/trace`."""
        words = [f"dp_hash={self.dp_hash or 1:#x}", f"in_port={self.in_port}"]
        macs = [f"dl_src={fields.ETH_SRC.text(self.eth_src)}", f"dl_dst={fields.ETH_DST.text(self.eth_dst)}"]
        if self.arp is not None:
            words += ["arp", *macs, f"arp_op={self.arp.operation}", f"arp_spa={self.arp.sender}"]
            words += [f"arp_tpa={self.arp.target}", f"arp_sha={fields.ARP_SHA.text(self.arp.sender_mac)}"]
        elif self.source is None:
            words += [*macs, f"dl_type={self.eth_type:#06x}"]
        else:
            words += _ovs_ip_words(self, macs)
        if self.tunnel_destination is not None:
            kind = "tun" if self.tunnel_destination.version == 4 else "tun_ipv6"  # noqa: PLR2004 - IPv4
            words += [f"{kind}_src={self.tunnel_source}", f"{kind}_dst={self.tunnel_destination}"]
        if self.tunnel_id:
            words.append(f"tun_id={self.tunnel_id:#x}")
        return ",".join(words)


def ip_fields(family: int) -> tuple[Field, Field]:
    """Return the fields of source and destination address of an IP family, 4 or 6."""
    if family == 4:  # noqa: PLR2004 - IPv4
        return fields.IPV4_SRC, fields.IPV4_DST
    return fields.IPV6_SRC, fields.IPV6_DST


def port_fields(protocol: int) -> tuple[Field, Field] | None:
    """Return the fields of source and destination port of a protocol; None where it has no ports."""
    return None if protocol in {fields.IP_PROTO_ICMP, fields.IP_PROTO_ICMPV6} else _L4_FIELDS.get(protocol)


def packet_of(found: Mapping[Field, int]) -> Packet:
    """Return the packet that these fields describe: the reverse of Packet.fields."""
    eth_type, protocol = found.get(fields.ETH_TYPE, 0), found.get(fields.IP_PROTO, 0)
    source: IPAddress | None = None
    destination: IPAddress | None = None
    if eth_type == fields.ETH_TYPE_IPV4:
        source = IPv4Address(found.get(fields.IPV4_SRC, 0))
        destination = IPv4Address(found.get(fields.IPV4_DST, 0))
    elif eth_type == fields.ETH_TYPE_IPV6:
        source = IPv6Address(found.get(fields.IPV6_SRC, 0))
        destination = IPv6Address(found.get(fields.IPV6_DST, 0))
    ports = _L4_FIELDS.get(protocol)
    target = found.get(fields.ND_TARGET)
    tunnel_source, tunnel_destination = _tunnel_of(found)
    return Packet(
        in_port=found.get(fields.IN_PORT, 0),
        eth_src=found.get(fields.ETH_SRC, 0),
        eth_dst=found.get(fields.ETH_DST, 0),
        eth_type=eth_type,
        source=source,
        destination=destination,
        protocol=protocol,
        source_port=found.get(ports[0], 0) if ports else 0,
        destination_port=found.get(ports[1], 0) if ports else 0,
        tcp_flags=found.get(fields.TCP_FLAGS, 0),
        ttl=found.get(fields.NW_TTL, DEFAULT_TTL),
        arp=_arp_of(found) if eth_type == fields.ETH_TYPE_ARP else None,
        nd_target=None if target is None else IPv6Address(target),
        tunnel_source=tunnel_source,
        tunnel_destination=tunnel_destination,
        tunnel_id=found.get(fields.TUNNEL_ID, 0),
        dp_hash=found.get(fields.DP_HASH, 0),
    )


def _tunnel_fields(packet: Packet) -> dict[Field, int]:
    found: dict[Field, int] = {fields.TUNNEL_ID: packet.tunnel_id} if packet.tunnel_id else {}
    for address, four, six in (
        (packet.tunnel_source, fields.TUN_IPV4_SRC, fields.TUN_IPV6_SRC),
        (packet.tunnel_destination, fields.TUN_IPV4_DST, fields.TUN_IPV6_DST),
    ):
        if address is not None:
            found[four if isinstance(address, IPv4Address) else six] = int(address)
    return found


def _tunnel_of(found: Mapping[Field, int]) -> tuple[IPAddress | None, IPAddress | None]:
    addresses: list[IPAddress | None] = []
    for four, six in ((fields.TUN_IPV4_SRC, fields.TUN_IPV6_SRC), (fields.TUN_IPV4_DST, fields.TUN_IPV6_DST)):
        if found.get(four):
            addresses.append(IPv4Address(found[four]))
        elif found.get(six):
            addresses.append(IPv6Address(found[six]))
        else:
            addresses.append(None)
    return addresses[0], addresses[1]


def _arp_fields(arp: Arp) -> dict[Field, int]:
    return {
        fields.ARP_OP: arp.operation,
        fields.ARP_SPA: int(arp.sender),
        fields.ARP_TPA: int(arp.target),
        fields.ARP_SHA: arp.sender_mac,
        fields.ARP_THA: arp.target_mac,
    }


def _arp_of(found: Mapping[Field, int]) -> Arp:
    return Arp(
        operation=found.get(fields.ARP_OP, 0),
        sender=IPv4Address(found.get(fields.ARP_SPA, 0)),
        target=IPv4Address(found.get(fields.ARP_TPA, 0)),
        sender_mac=found.get(fields.ARP_SHA, 0),
        target_mac=found.get(fields.ARP_THA, 0),
    )


def _ovs_ip_words(packet: Packet, macs: list[str]) -> list[str]:
    six = packet.family == 6  # noqa: PLR2004 - IPv6
    named = _OVS_PROTOCOLS.get(packet.protocol)
    kind = "icmp6" if packet.protocol == fields.IP_PROTO_ICMPV6 else "icmp"
    if named is not None:
        kind = f"{named}6" if six else named
    elif packet.protocol not in {fields.IP_PROTO_ICMP, fields.IP_PROTO_ICMPV6}:
        kind = f"{'ipv6' if six else 'ip'},nw_proto={packet.protocol}"
    family = "ipv6" if six else "nw"
    words = [kind, *macs, f"{family}_src={packet.source}", f"{family}_dst={packet.destination}", f"nw_ttl={packet.ttl}"]
    if named is not None:
        words += [f"{named}_src={packet.source_port}", f"{named}_dst={packet.destination_port}"]
    elif packet.protocol in _L4_FIELDS:
        words += [f"{kind}_type={packet.source_port}", f"{kind}_code={packet.destination_port}"]
    if packet.protocol == fields.IP_PROTO_TCP:
        words.append(f"tcp_flags={packet.tcp_flags:#x}")
    if packet.nd_target is not None:
        words.append(f"nd_target={packet.nd_target}")
    return words
