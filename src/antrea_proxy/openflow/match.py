"""What a flow matches: conditions on fields, in one canonical order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from antrea_proxy.openflow import fields
from antrea_proxy.openflow.errors import InvalidValueError, require_bits
from antrea_proxy.openflow.fields import Field

_RANK: Final = {field: rank for rank, field in enumerate(fields.ALL)}
_WIDE_REGISTERS: Final = {
    **{wide: fields.REGISTERS[2 * index : 2 * index + 2] for index, wide in enumerate(fields.XREGISTERS)},
    **{wide: fields.REGISTERS[4 * index : 4 * index + 4] for index, wide in enumerate(fields.XXREGISTERS)},
}


Criterion: TypeAlias = tuple[Field, int] | tuple[Field, int, int | None]
"""What a Match is made of: a field, the value of its bits, and which bits count; without a mask, all."""


class Condition(NamedTuple):
    """One field's part of a match; `mask` is None where every bit counts."""

    field: Field
    value: int
    mask: int | None

    def holds(self, value: int) -> bool:
        """Whether a packet whose field is `value` meets the condition."""
        return (value if self.mask is None else value & self.mask) == self.value

    def __str__(self) -> str:
        text = f"{self.field}={self.field.text(self.value)}"
        return text if self.mask is None else f"{text}/{self.field.text(self.mask)}"


@dataclass(frozen=True, slots=True, init=False)
class Match:
    """What a flow matches, as `Match((ETH_TYPE, 0x0800), (IPV4_SRC, network, mask))`; without conditions, every packet.

    Two matches with the same conditions in any order are equal. Registers are held as the 32-bit ones: a condition on
    xxreg3 becomes conditions on reg12 to reg15.

    Raises InvalidValueError for a value that does not fit its field or has bits outside its mask, a mask on a field
    that takes none (or of no bits), a field given twice, and a field whose prerequisite (ovs-fields(7)) is not matched.
    """

    conditions: tuple[Condition, ...]

    def __init__(self, *conditions: Criterion) -> None:
        found: dict[Field, Condition] = {}
        for field, value, *mask in conditions:
            for condition in _split(_condition(field, value, mask[0] if mask else None)):
                if condition.field in found:
                    raise InvalidValueError(f"match: {condition.field} is matched twice; give it one condition")
                found[condition.field] = condition
        for condition in found.values():
            _require_prerequisite(condition.field, found)
        ordered = sorted(found.values(), key=lambda condition: _RANK.get(condition.field, len(_RANK)))
        object.__setattr__(self, "conditions", tuple(ordered))

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.conditions)

    def get(self, field: Field) -> Condition | None:
        """Return the condition on `field`, or None. A wide register has none of its own: ask for its 32-bit parts."""
        return next((condition for condition in self.conditions if condition.field == field), None)

    def __str__(self) -> str:
        return ",".join(map(str, self.conditions)) or "any"


def _condition(field: Field, value: int, mask: int | None) -> Condition:
    require_bits("match", field.name, value, field.bits)
    if mask is None or mask == field.all_ones:
        return Condition(field, value, None)
    require_bits("match", f"{field.name}'s mask", mask, field.bits)
    if not field.maskable:
        raise InvalidValueError(f"match: {field} takes no mask, {field.text(mask)} was given; match it exactly")
    if not mask:
        raise InvalidValueError(f"match: the mask of {field} has no bits; leave the field out")
    if value & ~mask:
        raise InvalidValueError(
            f"match: {field} = {field.text(value)} has bits outside its mask {field.text(mask)}; clear them"
        )
    return Condition(field, value, mask)


def _split(condition: Condition) -> Iterator[Condition]:
    """Return a condition on a wide register as conditions on its parts, most significant first."""
    parts = _WIDE_REGISTERS.get(condition.field)
    if parts is None:
        yield condition
        return
    mask = condition.field.all_ones if condition.mask is None else condition.mask
    for index, part in enumerate(reversed(parts)):
        part_mask = (mask >> 32 * index) & part.all_ones
        if part_mask:
            part_value = (condition.value >> 32 * index) & part.all_ones
            yield Condition(part, part_value, None if part_mask == part.all_ones else part_mask)


def _require_prerequisite(field: Field, found: dict[Field, Condition]) -> None:
    needed = field.prerequisite
    if needed is None:
        return
    condition = found.get(needed.field)
    if condition is None or condition.value not in needed.values:
        wanted = " or ".join(needed.field.text(value) for value in sorted(needed.values))
        given = "is not matched" if condition is None else f"is {needed.field.text(condition.value)}"
        raise InvalidValueError(f"match: {field} needs {needed.field} to be {wanted}, but it {given}")


ANY_PACKET: Final = Match()
"""The match without conditions."""
