"""Values of OVSDB columns as JSON writes them, and as Python holds them (RFC 7047 section 5.1).

A set is a frozenset, a map a dict, a UUID a `Uuid`. RFC 7047 writes a set of exactly one element as that element
alone; so a reader that wants a set or an optional scalar uses `as_set` or `as_optional`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from antrea_proxy.ovsdb.errors import OvsdbProtocolError


class Uuid(str):
    """The name of a row, kept apart from text that happens to look like one."""

    __slots__ = ()


def decode(value: Any) -> Any:  # noqa: ANN401 - a column's type is known to its reader alone
    """Read a <value>.

    Raises OvsdbProtocolError for what RFC 7047 does not know.
    """
    match value:
        case ["set", list(items)]:
            return frozenset(decode(item) for item in items)
        case ["map", list(pairs)]:
            return {decode(key): decode(item) for key, item in pairs}
        case ["uuid", str(text)]:
            return Uuid(text)
        case str() | bool() | int() | float():
            return value
        case _:
            raise OvsdbProtocolError(f"{value!r} is not an OVSDB value")


def as_set(value: Any) -> frozenset[Any]:  # noqa: ANN401 - see decode
    """Return a decoded value as a set."""
    return value if isinstance(value, frozenset) else frozenset((value,))


def as_optional(value: Any) -> Any | None:  # noqa: ANN401 - see decode
    """Return the value of a column that holds at most one; None where it holds none."""
    return next(iter(value), None) if isinstance(value, frozenset) else value


def map_of(items: Mapping[str, str]) -> list[Any]:
    """Write a map."""
    return ["map", [[key, value] for key, value in sorted(items.items())]]


def set_of(items: Iterable[Any]) -> list[Any]:
    """Write a set."""
    return ["set", list(items)]


def reference(uuid: Uuid) -> list[str]:
    """Write a reference to a row that exists."""
    return ["uuid", str(uuid)]


def new_row(name: str) -> list[str]:
    """Write a reference to a row that the same transaction inserts as `name`."""
    return ["named-uuid", name]
