"""Flows and groups as the switch is to hold them, by owner.

A flow's cookie is a digest of its content and its owner. So what a switch holds can be compared with what it should
hold by cookies alone, after a restart, too, and a flow can be deleted by its cookie without touching the one that
replaced it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from antrea_proxy.openflow.actions import Action
from antrea_proxy.openflow.constants import Cookie, GroupId
from antrea_proxy.openflow.encoding import encode
from antrea_proxy.openflow.match import Match
from antrea_proxy.openflow.messages import FlowMod
from antrea_proxy.pipeline.tables import Table

COOKIE_MARK: Final = 0xA9
"""The top byte of every cookie of ours: a flow with another belongs to somebody else."""

CACHED_UNITS: Final = 1 << 14
"""How many units of Pods and of peers are kept, so that a change of one does not compile all others anew."""

_DIGEST_BYTES: Final = 6
_COOKIE = slice(8, 16)
_TABLE = slice(24, 25)
_PRIORITY = slice(30, 32)
_MATCH_START: Final = 48
"""Where these stand in a FlowMod (OpenFlow 1.5.1 section 7.3.4.2)."""


class OwnerKind(IntEnum):
    """What a flow is there for; the second byte of its cookie."""

    BASE = 1
    POD = 2
    NODE = 3
    SERVICE = 4
    AFFINITY = 5
    """What the switch learned of a Service's clients; the rest of the cookie is the load balancer's number."""


class Owner(NamedTuple):
    """Who needs some flows and groups: they come and go together."""

    kind: OwnerKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {self.name}".strip()


class FlowEntry(NamedTuple):
    """A flow; `message` adds it."""

    cookie: Cookie
    message: bytes

    @property
    def key(self) -> bytes:
        """Its table, priority and match, of which a switch holds one."""
        end = _MATCH_START + int.from_bytes(self.message[_MATCH_START + 2 : _MATCH_START + 4], "big")
        return self.message[_TABLE] + self.message[_PRIORITY] + self.message[_MATCH_START:end]


class GroupEntry(NamedTuple):
    """A group; `message` adds it or replaces the one that has its number."""

    group_id: GroupId
    message: bytes


class Unit(NamedTuple):
    """All flows and groups of an owner."""

    flows: tuple[FlowEntry, ...] = ()
    groups: tuple[GroupEntry, ...] = ()


EMPTY: Final = Unit()


def flow(owner: Owner, table: Table, priority: int, match: Match, actions: Sequence[Action] = ()) -> FlowEntry:
    """Make one flow of an owner; without actions, it drops."""
    message = encode(FlowMod(table=table.id, priority=priority, match=match, actions=tuple(actions)))
    return sealed(owner, message)


def sealed(owner: Owner, message: bytes) -> FlowEntry:
    """Give an encoded FlowMod, whose cookie is 0, the cookie of its content and owner."""
    cookie = cookie_of(owner, message)
    message = message[: _COOKIE.start] + cookie.to_bytes(8, "big") + message[_COOKIE.stop :]
    return FlowEntry(cookie, message)


def cookie_of(owner: Owner, message: bytes) -> Cookie:
    """The cookie of a flow: our mark, the owner's kind, and six bytes of digest."""
    digest = hashlib.blake2b(owner.name.encode() + message, digest_size=_DIGEST_BYTES).digest()
    return Cookie(COOKIE_MARK << 56 | owner.kind << 48 | int.from_bytes(digest, "big"))


def is_ours(cookie: int) -> bool:
    """Whether a flow with this cookie is one of ours."""
    return cookie >> 56 == COOKIE_MARK
