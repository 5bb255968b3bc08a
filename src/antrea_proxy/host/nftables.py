"""An nft transaction as data, and its text. Pure.

The kernel takes a transaction whole or not at all (nft(8), `-f`), and every one of ours names tables of our own alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SHIELD = "port-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A named set of intervals or values; `type` as nft writes it, `ipv4_addr`."""

    name: str
    type: str
    interval: bool
    elements: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain; `hook` is the text within `type … policy …;`, empty for a chain that others jump to."""

    name: str
    hook: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of our own: all that is in it is written here."""

    family: str
    name: str
    sets: tuple[Set, ...] = ()
    chains: tuple[Chain, ...] = ()

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


def replacement(table: Table) -> str:
    """Return the transaction after which the table holds this and nothing else, whatever it held before."""
    sets = "".join(map(_set_text, table.sets))
    chains = "".join(map(_chain_text, table.chains))
    return f"{removal(table.family, table.name)}table {table} {{\n{sets}{chains}}}\n"


def removal(family: str, name: str) -> str:
    """Return the transaction after which the table is gone; naming it first makes this right for an absent one too."""
    return f"table {family} {name}\ndelete table {family} {name}\n"


def change(before: Table, after: Table) -> str:
    """Return the transaction from a table that is known to hold `before` to `after`, empty where they are equal.

    Only elements of sets are changed one by one; for any other difference the table is replaced.
    """
    if before == after:
        return ""
    if not same_rules(before, after):
        return replacement(after)
    lines = []
    for old, new in zip(before.sets, after.sets, strict=True):
        lines += _elements("delete", after, new.name, old.elements - new.elements)
        lines += _elements("add", after, new.name, new.elements - old.elements)
    return "".join(lines)


def listed_elements(item: Mapping[str, Any]) -> frozenset[str]:
    """Return the elements of a set as nft's JSON has it (libnftables-json(5)), written as in our own sets."""
    return frozenset(map(_element_text, item.get("elem", ())))


def _element_text(element: Any) -> str:  # noqa: ANN401 - JSON
    match element:
        case {"concat": [*parts]}:
            return " . ".join(map(str, parts))
        case {"prefix": {"addr": address, "len": length}}:
            return f"{address}/{length}"
        case _:
            return str(element)


def shield(family: str, table: str, interfaces: Iterable[str]) -> str:
    """Return the transaction that drops whatever the kernel itself sees of these interfaces; other chains stay."""
    lines = [f"add table {family} {table}\n"]
    for name in sorted(interfaces):
        hook = f"type filter hook ingress device {quoted(name)} priority 0; policy drop;"
        lines.append(f"add chain {family} {table} {shield_chain(name)} {{ {hook} }}\n")
        lines.append(f"flush chain {family} {table} {shield_chain(name)}\n")
    return "".join(lines)


def unshield(family: str, table: str, interface: str) -> str:
    """Return the transaction that lets the kernel see an interface's frames again; refused where it does already."""
    return f"delete chain {family} {table} {shield_chain(interface)}\n"


def shield_chain(interface: str) -> str:
    """Name the chain of an interface; an identifier begins with a letter, which an interface's name need not."""
    return f"{_SHIELD}{interface}"


def shielded_interface(chain: str) -> str | None:
    """Return the interface whose chain this is, or None for a chain of another kind."""
    return chain.removeprefix(_SHIELD) if chain.startswith(_SHIELD) else None


def quoted(name: str) -> str:
    """Write a name as nft's string."""
    return f'"{name}"'


def same_rules(one: Table, other: Table) -> bool:
    """Whether two tables differ in elements of sets alone."""
    return _without_elements(one) == _without_elements(other)


def _without_elements(table: Table) -> tuple[object, ...]:
    return table.family, table.name, table.chains, tuple((item.name, item.type, item.interval) for item in table.sets)


def _elements(verb: str, table: Table, name: str, elements: frozenset[str]) -> list[str]:
    return [f"{verb} element {table} {name} {{ {', '.join(sorted(elements))} }}\n"] if elements else []


def _set_text(item: Set) -> str:
    flags = "flags interval; " if item.interval else ""
    elements = f"elements = {{ {', '.join(sorted(item.elements))} }}; " if item.elements else ""
    return f"  set {item.name} {{ type {item.type}; {flags}{elements}}}\n"


def _chain_text(chain: Chain) -> str:
    lines = [chain.hook, *chain.rules] if chain.hook else list(chain.rules)
    return f"  chain {chain.name} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"
