"""How much of a packet a tunnel leaves to Pods."""

from __future__ import annotations

from antrea_proxy.settings import TunnelType

_ETHERNET = 14  # the Pod's own frame travels inside (RFC 7348 section 5, RFC 8926 section 3)
_IP = {4: 20, 6: 40}

_UDP = 8
_TUNNEL_HEADER = {
    TunnelType.GENEVE: _UDP
    + 8,  # without options: we send none (RFC 8926 section 3.4; each would take 4 bytes and more)
    TunnelType.VXLAN: _UDP + 8,  # RFC 7348 section 5
    TunnelType.GRE: 4 + 4,  # with a key (RFC 2890 section 2)
}


def encapsulation_overhead(tunnel: TunnelType, ip_version: int) -> int:
    """Return the bytes that a tunnel over IPv4 or IPv6 takes from the MTU of the uplink: 42 to 70."""
    return _IP[ip_version] + _TUNNEL_HEADER[tunnel] + _ETHERNET
