"""The fixed points of a Node's switch: ports, MAC addresses and virtual addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from antrea_proxy.network.interfaces import OfPort
from antrea_proxy.network.values import GLOBAL_VIRTUAL_MAC

TUNNEL_PORT: Final = OfPort(1)
GATEWAY_PORT: Final = OfPort(2)
REFUSE_PORT: Final = OfPort(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What differs from Node to Node: the gateway's MAC address, and whether there is a tunnel to peers.

    `direct_return` is the Node's own name where connections may be sent on to other Nodes untranslated, else empty.
    `chooses_ports` lets the tracker give a direct connection another source port (see capabilities).
    """

    gateway_mac: int
    tunnel: bool
    direct_return: str = ""
    chooses_ports: bool = False


def mac_number(text: str) -> int:
    """Read a MAC address such as 0a:58:0a:0a:01:0b as a number.

    Raises ValueError for another form.
    """
    parts = text.split(":")
    if len(parts) != 6 or any(len(part) != 2 for part in parts):  # noqa: PLR2004 - six octets of two digits
        raise ValueError(f"{text!r} is no MAC address; write it as 0a:58:0a:0a:01:0b")
    return int("".join(parts), 16)


VIRTUAL_MAC: Final = mac_number(GLOBAL_VIRTUAL_MAC)
