"""Direct server return: which Node has which slot of a Service port, and who had it before.

Every agent computes the same from the same endpoints, so that it does not matter through which Node a client's packets
come: a slot is made of bits of the packet itself, its owner follows from the Nodes' names and weights.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)

MIN_BITS: Final = 6
"""64 slots at least, also for a few Nodes: an owner's share is then within 1/64 of its weight's."""

SLOTS_PER_NODE: Final = 16
"""At most so many beyond that: each slot is a megaflow on the ingress Node."""

MAX_BITS: Final = 14

MOST_FORMER: Final = 4
"""How many former owners of a slot are asked, one after the other, about a connection that its owner does not know."""

NODE_KEY_BITS: Final = 64

VISIT_BITS: Final = 24
"""Bits of a tunnel's key (VNI, RFC 8926 and RFC 7348): those who were asked already."""


class Bits(NamedTuple):
    """How a slot is made: so many bits of the source port, from bit 1 up, and above them of the source address.

    Bit 0 of the port is left out: Linux connects from ports of one parity (ip_local_port_range, ip-sysctl.rst).
    """

    port: int
    address: int

    @property
    def total(self) -> int:
        """The bits of a slot."""
        return self.port + self.address


def slot_bits(nodes: int) -> int:
    """The number of bits of a slot for so many Nodes: a power of two of slots, at most 16 for a Node, at least 64."""
    return min(MAX_BITS, max(MIN_BITS, (SLOTS_PER_NODE * max(nodes, 1)).bit_length() - 1))


def bits_of(nodes: int, *, is_tcp: bool, remembers: bool) -> Bits:
    """Choose the bits: with session affinity the address alone decides.

    TCP clients take a new port for each connection, so that the port's bits spread every client over all Nodes. Many
    clients of UDP keep one port, the same for all of them (DNS, NTP, SIP): there a third of the bits is the address's.
    """
    total = slot_bits(nodes)
    if remembers:
        return Bits(port=0, address=total)
    address = 0 if is_tcp else total // 3
    return Bits(port=total - address, address=address)


def slot_owners(weights: Mapping[str, int], bits: int) -> tuple[str, ...]:
    """Give each of 2**bits slots to a Node, by its weight (Maglev, NSDI '16, sections 3.4 and 5.3).

    Each Node prefers slots in an order of its own, which depends on its name alone; they take turns, the more often
    the heavier they are. Empty without a Node of some weight.
    """
    names = sorted(name for name, weight in weights.items() if weight > 0)
    if not names:
        return ()
    mask = (1 << bits) - 1
    digests = [blake2b(name.encode(), digest_size=8).digest() for name in names]
    positions = [int.from_bytes(digest[:4], "big") & mask for digest in digests]
    strides = [int.from_bytes(digest[4:], "big") & mask | 1 for digest in digests]
    heaviest = max(weights[name] for name in names)
    credit = [0] * len(names)
    table: list[str | None] = [None] * (mask + 1)
    free = mask + 1
    while free:
        for place, name in enumerate(names):
            credit[place] += weights[name]
            if credit[place] < heaviest:
                continue
            credit[place] -= heaviest
            slot = positions[place]
            while table[slot] is not None:
                slot = (slot + strides[place]) & mask
            table[slot] = name
            positions[place] = (slot + strides[place]) & mask
            free -= 1
            if not free:
                break
    return tuple(name for name in table if name is not None)


def node_key(name: str) -> int:
    """What stands for a Node in a register: 64 bits of its name, never 0."""
    return int.from_bytes(blake2b(name.encode(), digest_size=NODE_KEY_BITS // 8).digest(), "big") | 1


def visit_bit(place: int) -> int:
    """The bit that says that a Node was asked; `place` is its place among all Nodes by name, the same for all agents.

    In a cluster of more Nodes than bits two may share one: of these, the second is not asked.
    """
    return 1 << place % VISIT_BITS


@dataclass(frozen=True, slots=True)
class History:
    """The owners of all slots of a Service port, and for each slot those before, the last one first.

    An empty name stands for a Node that is gone.
    """

    owners: tuple[str, ...] = ()
    former: tuple[tuple[str, ...], ...] = ()

    def moved(self, now: tuple[str, ...]) -> History:
        """This history with the owners of now; another number of slots takes each slot's history along.

        The lower bits of a slot stay what they were when there are more of them.
        """
        if now == self.owners:
            return self
        former: list[tuple[str, ...]] = []
        for slot, owner in enumerate(now):
            known: dict[str, None] = {}
            for same in self._same(slot, len(now)):
                known[self.owners[same]] = None
            for same in self._same(slot, len(now)):
                known.update(dict.fromkeys(self.former[same]))
            known.pop(owner, None)
            known.pop("", None)
            former.append(tuple(known)[:MOST_FORMER])
        return History(now, tuple(former))

    def asked(self, slot: int, node: str) -> tuple[str, ...]:
        """Whom a Node asks about a connection of a slot that it does not know: the first that was not asked yet.

        They are the slot's owner and those before, without the Node itself: it may be asked by one that knows of a
        change already of which it has not heard, or the reverse.
        """
        return tuple(name for name in (self.owners[slot], *self.former[slot]) if name and name != node)[:MOST_FORMER]

    def _same(self, slot: int, count: int) -> Sequence[int]:
        """The slots of this history that hold connections of `slot` among `count` slots."""
        if not self.owners:
            return ()
        if count >= len(self.owners):
            return (slot % len(self.owners),)
        return range(slot, len(self.owners), count)


@dataclass(slots=True)
class Histories(Generic[Key]):
    """The histories of all Service ports in DSR mode."""

    _known: dict[Key, History] = field(default_factory=dict)

    def update(self, key: Key, now: tuple[str, ...]) -> History:
        """Note the owners of now, and return the history with them."""
        history = self._known[key] = self._known.get(key, History()).moved(now)
        return history

    def restore(self, known: Mapping[Key, History]) -> None:
        """Take over what a switch, read back, holds of some Service ports."""
        self._known |= known

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget Service ports that are no more."""
        for key in keys:
            self._known.pop(key, None)
