"""The interfaces that join Pods to the Node's switch."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NewType

OfPort = NewType("OfPort", int)
"""An OpenFlow port number, 1 to 0xffffff00 (OpenFlow 1.5.1 section 7.2.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodInterface:
    """A Pod's sandbox, wired: one veth pair, whose Node end is a port of the bridge.

    `mac` is the address of the Pod's own end, as `0a:58:0a:0a:01:0b`. A family that the Pod lacks is None.
    """

    namespace: str
    name: str
    container_id: str
    netns: str
    interface: str
    host_interface: str
    ofport: OfPort
    mac: str
    ipv4: IPv4Address | None
    ipv6: IPv6Address | None

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """The Pod's addresses, IPv4 first."""
        return tuple(address for address in (self.ipv4, self.ipv6) if address is not None)
