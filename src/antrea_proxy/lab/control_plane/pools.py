"""What of a range is taken, and which member to give next. Pure.

Like the real allocators, a range keeps its lower part for those who ask for a member by name: members that nobody
asked for come from the upper part, going round, so that one that was just given back is not given out next.
Source: KEP 3070 (ClusterIPs), KEP 3668 (node ports).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from antrea_proxy.lab.addressing import Network

_LEAST_RESERVED = 16
_MOST_RESERVED = 256


def reserved_members(size: int) -> int:
    """Give how many members of a range of `size` are kept for asking by name: size / 16, 16 to 256; none below 16."""
    return 0 if size < _LEAST_RESERVED else min(max(_LEAST_RESERVED, size // 16), _MOST_RESERVED)


@dataclass(slots=True, kw_only=True)
class Pool:
    """A range of numbers, of which `first` to `last` can be given; `taken` tells who holds each."""

    first: int
    last: int
    taken: dict[int, str] = field(default_factory=dict)
    cursor: int = 0

    def __contains__(self, member: int) -> bool:
        return self.first <= member <= self.last

    def hold(self, member: int, owner: str) -> None:
        """Note that `owner` has a member; one outside of the range is not noted."""
        if member in self:
            self.taken[member] = owner
            self.cursor = member

    def release(self, member: int, owner: str) -> None:
        """Note that `owner` has a member no more."""
        if self.taken.get(member) == owner:
            del self.taken[member]

    def is_free(self, member: int, owner: str, also_taken: Collection[int] = ()) -> bool:
        """Whether `owner` can have a member; what it holds already it can have."""
        return self.taken.get(member, owner) == owner and member not in also_taken

    def next_free(self, also_taken: Collection[int] = ()) -> int | None:
        """Give a free member: from the upper part beginning after the last one given, then from the lower part."""
        dynamic = self.first + reserved_members(self.last - self.first + 1)
        start = self.cursor + 1 if dynamic <= self.cursor < self.last else dynamic
        for members in (range(start, self.last + 1), range(dynamic, start), range(self.first, dynamic)):
            for member in members:
                if member not in self.taken and member not in also_taken:
                    return member
        return None


def address_pool(network: Network) -> Pool:
    """Give the pool of a range's addresses: all but the first, and in IPv4 the last."""
    first = int(network.network_address)
    return Pool(first=first + 1, last=first + network.num_addresses - (2 if network.version == 4 else 1))  # noqa: PLR2004 - IPv4


def address_of(number: int, network: Network) -> IPv4Address | IPv6Address:
    """Turn a member of an address pool into the address."""
    return IPv4Address(number) if network.version == 4 else IPv6Address(number)  # noqa: PLR2004 - IPv4
