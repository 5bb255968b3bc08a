"""Numbers for load balancers, of their group or slot table: stable while they live, and kept over a restart."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Generic, TypeVar

from antrea_proxy.openflow.constants import GroupId
from antrea_proxy.pipeline.slots import HASH_GROUPS

Key = TypeVar("Key", bound=Hashable)

FIRST: Final = 1


class GroupIds(Generic[Key]):
    """Gives each load balancer a number of its own.

    A number is not given again before it was released, that is, before the switch has forgotten its group. A load
    balancer of several groups has a number for each part, from 1 on, beside its own.
    """

    def __init__(self) -> None:
        self._numbers: dict[Key, GroupId] = {}
        self._parts: dict[Key, list[GroupId]] = {}
        self._free: list[GroupId] = []
        self._next = FIRST

    def of(self, key: Key) -> GroupId:
        """The load balancer's number, a new one for a new load balancer.

        Raises OverflowError when all numbers are taken.
        """
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._take()
        return number

    def parts_of(self, key: Key, count: int) -> list[GroupId]:
        """The numbers of the load balancer's first `count` parts.

        Raises OverflowError when all numbers are taken.
        """
        parts = self._parts.setdefault(key, [])
        while len(parts) < count:
            parts.append(self._take())
        return parts[:count]

    def known(self, key: Key) -> GroupId | None:
        """The load balancer's number; None if it never needed one."""
        return self._numbers.get(key)

    def restore(self, present: Iterable[GroupId]) -> None:
        """Begin with what a switch holds: no number that is present is given out."""
        self._numbers = {}
        self._parts = {}
        self._free = []
        taken = (number for number in present if number < HASH_GROUPS)
        self._next = GroupId(max(taken, default=FIRST - 1) + 1)

    def adopt(self, known: Mapping[Key, GroupId]) -> None:
        """Let load balancers keep the numbers that the switch, read back, has for them; all are among the present."""
        self._numbers |= known

    def release(self, keys: Iterable[Key]) -> None:
        """Take back the numbers of load balancers whose groups are gone."""
        for key in keys:
            number = self._numbers.pop(key, None)
            if number is not None:
                self._free.append(number)
            self._free += self._parts.pop(key, [])

    def _take(self) -> GroupId:
        if self._free:
            return self._free.pop()
        if self._next >= HASH_GROUPS:
            raise OverflowError(f"all group numbers below {HASH_GROUPS} are taken")
        number = GroupId(self._next)
        self._next += 1
        return number
