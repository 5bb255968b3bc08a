"""The packet and pipeline fields that can be matched, set and copied: ovs-fields(7), OpenFlow 1.5.1 section 7.2.3.

The order of `ALL` is the order in which Open vSwitch itself writes a match, so that what was written and what is read
back can be compared as bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

NXM_0: Final = 0x0000
NXM_1: Final = 0x0001
OXM: Final = 0x8000
PACKET_REGISTERS: Final = 0x8001
EXPERIMENTER_CLASS: Final = 0xFFFF

ETH_TYPE_IPV4: Final = 0x0800
ETH_TYPE_ARP: Final = 0x0806
ETH_TYPE_RARP: Final = 0x8035
ETH_TYPE_IPV6: Final = 0x86DD

IP_PROTO_ICMP: Final = 1
IP_PROTO_TCP: Final = 6
IP_PROTO_UDP: Final = 17
IP_PROTO_ICMPV6: Final = 58
IP_PROTO_SCTP: Final = 132


class Notation(Enum):
    """How a field's value is written for people."""

    DECIMAL = "decimal"
    HEXADECIMAL = "hexadecimal"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    MAC = "mac"


@dataclass(frozen=True, slots=True)
class Prerequisite:
    """A field that must be matched exactly, on one of `values`, before another field has a meaning."""

    field: Field
    values: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a packet or of the pipeline.

    `bits` is its width as a value; on the wire it takes `length` bytes. `nicira_header` is the (class, number) by which
    the older Nicira encodings (learn, output to a register) name it, where that differs.
    """

    name: str = field(compare=False)
    oxm_class: int
    number: int
    bits: int
    maskable: bool = field(default=True, compare=False)
    notation: Notation = field(default=Notation.HEXADECIMAL, compare=False)
    prerequisite: Prerequisite | None = field(default=None, compare=False)
    nicira_header: tuple[int, int] | None = field(default=None, compare=False)
    experimenter: int | None = None

    @property
    def length(self) -> int:
        """Bytes of its value on the wire."""
        return (self.bits + 7) // 8

    @property
    def all_ones(self) -> int:
        """Return the mask that makes a match exact."""
        return (1 << self.bits) - 1

    def text(self, value: int) -> str:
        """`value` as people write it: an address, or a number."""
        match self.notation:
            case Notation.IPV4:
                return str(IPv4Address(value))
            case Notation.IPV6:
                return str(IPv6Address(value))
            case Notation.MAC:
                return value.to_bytes(6, "big").hex(":")
            case Notation.DECIMAL:
                return str(value)
            case Notation.HEXADECIMAL:
                return hex(value)

    def __str__(self) -> str:
        return self.name


def _needs(field: Field, *values: int) -> Prerequisite:
    return Prerequisite(field, frozenset(values))


def _nicira(number: int) -> tuple[int, int]:
    return (NXM_1, number)


def _nxm(number: int) -> tuple[int, int]:
    return (NXM_0, number)


PACKET_TYPE: Final = Field(name="packet_type", oxm_class=OXM, number=44, bits=32, maskable=False)
DP_HASH: Final = Field(name="dp_hash", oxm_class=NXM_1, number=35, bits=32)
IN_PORT: Final = Field(name="in_port", oxm_class=OXM, number=0, bits=32, maskable=False, notation=Notation.DECIMAL)

ETH_SRC: Final = Field(name="eth_src", oxm_class=OXM, number=4, bits=48, notation=Notation.MAC, nicira_header=_nxm(2))
ETH_DST: Final = Field(name="eth_dst", oxm_class=OXM, number=3, bits=48, notation=Notation.MAC, nicira_header=_nxm(1))
ETH_TYPE: Final = Field(name="eth_type", oxm_class=OXM, number=5, bits=16, maskable=False, nicira_header=_nxm(3))

_IPV4 = _needs(ETH_TYPE, ETH_TYPE_IPV4)
_IPV6 = _needs(ETH_TYPE, ETH_TYPE_IPV6)
_IP = _needs(ETH_TYPE, ETH_TYPE_IPV4, ETH_TYPE_IPV6)
_ARP = _needs(ETH_TYPE, ETH_TYPE_ARP, ETH_TYPE_RARP)

IPV4_SRC: Final = Field(
    name="ipv4_src",
    oxm_class=OXM,
    number=11,
    bits=32,
    notation=Notation.IPV4,
    prerequisite=_IPV4,
    nicira_header=_nxm(7),
)
IPV4_DST: Final = Field(
    name="ipv4_dst",
    oxm_class=OXM,
    number=12,
    bits=32,
    notation=Notation.IPV4,
    prerequisite=_IPV4,
    nicira_header=_nxm(8),
)
IPV6_SRC: Final = Field(
    name="ipv6_src",
    oxm_class=OXM,
    number=26,
    bits=128,
    notation=Notation.IPV6,
    prerequisite=_IPV6,
    nicira_header=_nicira(19),
)
IPV6_DST: Final = Field(
    name="ipv6_dst",
    oxm_class=OXM,
    number=27,
    bits=128,
    notation=Notation.IPV6,
    prerequisite=_IPV6,
    nicira_header=_nicira(20),
)
IP_FRAG: Final = Field(name="ip_frag", oxm_class=NXM_1, number=26, bits=2, prerequisite=_IP)
IP_DSCP: Final = Field(
    name="ip_dscp", oxm_class=OXM, number=8, bits=6, maskable=False, notation=Notation.DECIMAL, prerequisite=_IP
)
NW_TTL: Final = Field(
    name="nw_ttl", oxm_class=NXM_1, number=29, bits=8, maskable=False, notation=Notation.DECIMAL, prerequisite=_IP
)
IP_PROTO: Final = Field(
    name="ip_proto",
    oxm_class=OXM,
    number=10,
    bits=8,
    maskable=False,
    notation=Notation.DECIMAL,
    prerequisite=_IP,
    nicira_header=_nxm(6),
)

_TCP = _needs(IP_PROTO, IP_PROTO_TCP)
_UDP = _needs(IP_PROTO, IP_PROTO_UDP)
_SCTP = _needs(IP_PROTO, IP_PROTO_SCTP)
_ICMPV4 = _needs(IP_PROTO, IP_PROTO_ICMP)
_ICMPV6 = _needs(IP_PROTO, IP_PROTO_ICMPV6)


def _port(name: str, number: int, needs: Prerequisite, nicira: int | None) -> Field:
    return Field(
        name=name,
        oxm_class=OXM,
        number=number,
        bits=16,
        notation=Notation.DECIMAL,
        prerequisite=needs,
        nicira_header=None if nicira is None else _nxm(nicira),
    )


TCP_SRC: Final = _port("tcp_src", 13, _TCP, 9)
TCP_DST: Final = _port("tcp_dst", 14, _TCP, 10)
TCP_FLAGS: Final = Field(
    name="tcp_flags", oxm_class=OXM, number=42, bits=12, prerequisite=_TCP, nicira_header=_nicira(34)
)
UDP_SRC: Final = _port("udp_src", 15, _UDP, 11)
UDP_DST: Final = _port("udp_dst", 16, _UDP, 12)
SCTP_SRC: Final = _port("sctp_src", 17, _SCTP, None)
SCTP_DST: Final = _port("sctp_dst", 18, _SCTP, None)


def _icmp(name: str, number: int, needs: Prerequisite, nicira: tuple[int, int]) -> Field:
    return Field(
        name=name,
        oxm_class=OXM,
        number=number,
        bits=8,
        maskable=False,
        notation=Notation.DECIMAL,
        prerequisite=needs,
        nicira_header=nicira,
    )


ICMPV4_TYPE: Final = _icmp("icmpv4_type", 19, _ICMPV4, _nxm(13))
ICMPV4_CODE: Final = _icmp("icmpv4_code", 20, _ICMPV4, _nxm(14))
ICMPV6_TYPE: Final = _icmp("icmpv6_type", 29, _ICMPV6, _nicira(21))
ICMPV6_CODE: Final = _icmp("icmpv6_code", 30, _ICMPV6, _nicira(22))

_NEIGHBOUR_SOLICITATION = 135
_NEIGHBOUR_ADVERTISEMENT = 136
ND_TARGET: Final = Field(
    name="nd_target",
    oxm_class=OXM,
    number=31,
    bits=128,
    notation=Notation.IPV6,
    nicira_header=_nicira(23),
    prerequisite=_needs(ICMPV6_TYPE, _NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT),
)
ND_SLL: Final = Field(
    name="nd_sll",
    oxm_class=OXM,
    number=32,
    bits=48,
    notation=Notation.MAC,
    nicira_header=_nicira(24),
    prerequisite=_needs(ICMPV6_TYPE, _NEIGHBOUR_SOLICITATION),
)
ND_TLL: Final = Field(
    name="nd_tll",
    oxm_class=OXM,
    number=33,
    bits=48,
    notation=Notation.MAC,
    nicira_header=_nicira(25),
    prerequisite=_needs(ICMPV6_TYPE, _NEIGHBOUR_ADVERTISEMENT),
)

ARP_OP: Final = Field(
    name="arp_op",
    oxm_class=OXM,
    number=21,
    bits=16,
    maskable=False,
    notation=Notation.DECIMAL,
    prerequisite=_ARP,
    nicira_header=_nxm(15),
)
ARP_SPA: Final = Field(
    name="arp_spa",
    oxm_class=OXM,
    number=22,
    bits=32,
    notation=Notation.IPV4,
    prerequisite=_ARP,
    nicira_header=_nxm(16),
)
ARP_TPA: Final = Field(
    name="arp_tpa",
    oxm_class=OXM,
    number=23,
    bits=32,
    notation=Notation.IPV4,
    prerequisite=_ARP,
    nicira_header=_nxm(17),
)
ARP_SHA: Final = Field(
    name="arp_sha",
    oxm_class=OXM,
    number=24,
    bits=48,
    notation=Notation.MAC,
    prerequisite=_ARP,
    nicira_header=_nicira(17),
)
ARP_THA: Final = Field(
    name="arp_tha",
    oxm_class=OXM,
    number=25,
    bits=48,
    notation=Notation.MAC,
    prerequisite=_ARP,
    nicira_header=_nicira(18),
)

TUNNEL_ID: Final = Field(name="tunnel_id", oxm_class=OXM, number=38, bits=64, nicira_header=_nicira(16))
TUN_IPV4_SRC: Final = Field(name="tun_ipv4_src", oxm_class=NXM_1, number=31, bits=32, notation=Notation.IPV4)
TUN_IPV4_DST: Final = Field(name="tun_ipv4_dst", oxm_class=NXM_1, number=32, bits=32, notation=Notation.IPV4)
TUN_IPV6_SRC: Final = Field(name="tun_ipv6_src", oxm_class=NXM_1, number=109, bits=128, notation=Notation.IPV6)
TUN_IPV6_DST: Final = Field(name="tun_ipv6_dst", oxm_class=NXM_1, number=110, bits=128, notation=Notation.IPV6)

REGISTERS: Final = tuple(Field(name=f"reg{index}", oxm_class=NXM_1, number=index, bits=32) for index in range(16))
(
    REG0, REG1, REG2, REG3, REG4, REG5, REG6, REG7, REG8, REG9, REG10, REG11, REG12, REG13, REG14, REG15,
) = REGISTERS  # fmt: skip
XREGISTERS: Final = tuple(
    Field(name=f"xreg{index}", oxm_class=PACKET_REGISTERS, number=index, bits=64) for index in range(8)
)
"""Pairs of registers: xreg0 is reg0 (high half) and reg1. Open vSwitch writes registers in matches so."""
XXREGISTERS: Final = tuple(
    Field(name=f"xxreg{index}", oxm_class=NXM_1, number=111 + index, bits=128) for index in range(4)
)
"""Fours of registers: xxreg0 is reg0 (most significant) to reg3."""
XXREG0, XXREG1, XXREG2, XXREG3 = XXREGISTERS

PKT_MARK: Final = Field(name="pkt_mark", oxm_class=NXM_1, number=33, bits=32)
CT_STATE: Final = Field(name="ct_state", oxm_class=NXM_1, number=105, bits=32)
CT_ZONE: Final = Field(name="ct_zone", oxm_class=NXM_1, number=106, bits=16, maskable=False, notation=Notation.DECIMAL)
CT_MARK: Final = Field(name="ct_mark", oxm_class=NXM_1, number=107, bits=32)
CT_LABEL: Final = Field(name="ct_label", oxm_class=NXM_1, number=108, bits=128)
METADATA: Final = Field(name="metadata", oxm_class=OXM, number=2, bits=64)

ALL: Final = (
    PACKET_TYPE, DP_HASH, IN_PORT,
    ETH_SRC, ETH_DST, ETH_TYPE,
    IPV4_SRC, IPV4_DST, IPV6_SRC, IPV6_DST, IP_FRAG, IP_DSCP, NW_TTL, IP_PROTO,
    TCP_SRC, TCP_DST, TCP_FLAGS, UDP_SRC, UDP_DST, SCTP_SRC, SCTP_DST,
    ICMPV4_TYPE, ICMPV4_CODE, ICMPV6_TYPE, ICMPV6_CODE, ND_TARGET, ND_SLL, ND_TLL,
    ARP_OP, ARP_SPA, ARP_TPA, ARP_SHA, ARP_THA,
    TUNNEL_ID, TUN_IPV4_SRC, TUN_IPV4_DST, TUN_IPV6_SRC, TUN_IPV6_DST,
    *REGISTERS, *XREGISTERS, *XXREGISTERS,
    PKT_MARK, CT_STATE, CT_ZONE, CT_MARK, CT_LABEL, METADATA,
)  # fmt: skip
"""Every field of this room, in the order of a match's bytes."""

BY_HEADER: Final = {(known.oxm_class, known.number): known for known in ALL} | {
    known.nicira_header: known for known in ALL if known.nicira_header is not None
}
"""Fields by (class, number), under their older names too."""
