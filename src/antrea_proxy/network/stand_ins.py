"""Addresses that stand in for the Node's own between its stack and the switch.

A packet to an address of the Node itself never leaves for the switch. Where a Service has such an address as its
load-balancer or external IP, the Node's stack writes the stand-in, and the switch the address again.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from zlib import crc32

from antrea_proxy.network.values import IPAddress

_FIRST: Final[dict[int, IPAddress]] = {4: IPv4Address("169.254.0.128"), 6: IPv6Address("fc01::aabb:ccdd:ee80")}
_COUNT: Final = 124
"""Up to the addresses of NodePorts and of the virtual next hop."""


def stand_ins(addresses: Iterable[IPAddress]) -> dict[IPAddress, IPAddress]:
    """Give each address its stand-in, which depends on the other addresses as little as can be.

    There are 124 of each family; of more addresses, the last have none.
    """
    given: dict[IPAddress, IPAddress] = {}
    taken: set[IPAddress] = set()
    for address in sorted(addresses, key=lambda item: (item.version, int(item))):
        preferred = crc32(address.packed)
        places = ((preferred + step) % _COUNT for step in range(_COUNT))
        first = _FIRST[address.version]
        free = (item for place in places if (item := type(first)(int(first) + place)) not in taken)
        if (chosen := next(free, None)) is not None:
            given[address] = chosen
            taken.add(chosen)
    return given
