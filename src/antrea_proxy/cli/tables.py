"""Tables as kubectl prints them: upper-case heads, columns three spaces apart, no lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Item: TypeAlias = dict[str, Any]

_GAP: Final = 3
_EMPTY: Final = "<none>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its head, and its text for an item. A `wide` one is left out unless asked for."""

    head: str
    text: Callable[[Item], object]
    wide: bool = False

    def cell(self, item: Item) -> str:
        """Return the text of an item in one line; what is empty is `<none>`. A deleted item has few of its keys."""
        try:
            found = self.text(item)
        except KeyError:
            return ""
        return " ".join(str(found).split()) or _EMPTY


@dataclass(slots=True, kw_only=True)
class Table:
    """Rows under the same heads; the widths are those of the first rows, at least."""

    columns: Sequence[Column]
    _widths: list[int] = field(default_factory=list)

    def lines(self, items: Iterable[Item]) -> Iterable[str]:
        """Write items as lines, the heads before the first ones."""
        rows = [[column.cell(item) for column in self.columns] for item in items]
        if not self._widths:
            rows.insert(0, [column.head for column in self.columns])
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)] if rows else []
        self._widths = (
            [max(pair) for pair in zip(widths, self._widths or widths, strict=True)] if rows else self._widths
        )
        for row in rows:
            padded = (cell.ljust(width + _GAP) for cell, width in zip(row, self._widths, strict=True))
            yield "".join(padded).rstrip()
