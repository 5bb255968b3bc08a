"""What a file says, key by key: known or not, and of the right type or not. Knows no key's meaning."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from antrea_proxy.settings.feature_gates import GATES, GROUPS
from antrea_proxy.settings.known_keys import KNOWN, LISTS_OF_SECTIONS, SECTIONS, Kind
from antrea_proxy.settings.problems import Problem
from antrea_proxy.settings.yaml_text import line_of, plain_value, shown

_SCALARS = {Kind.TEXT: str, Kind.FLAG: bool, Kind.NUMBER: int}
_ITEMS = {Kind.TEXTS: Kind.TEXT, Kind.NUMBERS: Kind.NUMBER}
_SIMILAR = 0.7
"""difflib's ratio (0 to 1) from which one name is taken for a misspelling of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A value of the right type: str, bool, int, or a tuple of (item, line)."""

    value: object
    shown: str
    line: int


@dataclass(slots=True, kw_only=True)
class GivenKeys:
    """Every known key that the file gives a value (`values` by path), its gates, and what is wrong so far."""

    lines_before: int
    values: dict[str, Given] = field(default_factory=dict)
    gates: dict[str, Given] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def read(self, root: Node) -> None:
        """Take in a whole document."""
        if isinstance(root, MappingNode):
            self._section(root, prefix="")
        elif not _is_null(root):
            self._refuse("", root, "it must be a mapping of keys to values", "write `key: value` lines")

    def _section(self, node: MappingNode, prefix: str) -> None:
        for key, value in node.value:
            path = prefix + (str(key.value) if isinstance(key, ScalarNode) else shown(key))
            if path not in KNOWN and path not in SECTIONS:
                self._refuse(path, key, "no such key", _suggestion(path, [*KNOWN, *SECTIONS]), value="")
            elif _is_null(value):
                continue
            elif path in SECTIONS:
                self._sections(path, value)
            elif KNOWN[path] is Kind.GATES:
                self._gates(path, value)
            elif (taken := self._typed(path, value, KNOWN[path])) is not None:
                self.values[path] = taken

    def _sections(self, path: str, node: Node) -> None:
        repeated = path in LISTS_OF_SECTIONS
        if repeated and not isinstance(node, SequenceNode):
            self._refuse(path, node, "it must be a list of mappings", "write one `- key: value` block for each")
            return
        for section in node.value if repeated else [node]:
            if isinstance(section, MappingNode):
                self._section(section, prefix=f"{path}.")
            else:
                self._refuse(path, section, "it must be a mapping", "write its keys below it, indented")

    def _gates(self, path: str, node: Node) -> None:
        if not isinstance(node, MappingNode):
            self._refuse(path, node, f"it must be {Kind.GATES.value}", "write `Name: true` lines below it, indented")
            return
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else shown(key)
            if name not in GATES and name not in GROUPS:
                self._refuse(
                    f"{path}.{name}", key, "no such feature gate", _suggestion(name, [*GATES, *GROUPS]), value=""
                )
            elif not _is_null(value) and (taken := self._typed(f"{path}.{name}", value, Kind.FLAG)) is not None:
                self.gates[name] = taken

    def _typed(self, path: str, node: Node, kind: Kind) -> Given | None:
        value: object
        if kind in _SCALARS:
            value = plain_value(node) if isinstance(node, ScalarNode) else None
            if type(value) is not _SCALARS[kind]:
                remedy = (
                    "put it in quotes" if kind is Kind.TEXT and isinstance(node, ScalarNode) else f"write {kind.value}"
                )
                self._refuse(path, node, f"it must be {kind.value}", remedy)
                return None
        elif kind is Kind.OBJECT:
            value = None
            if not isinstance(node, MappingNode):
                self._refuse(path, node, f"it must be {kind.value}", "write its keys below it, indented")
                return None
        else:
            if not isinstance(node, SequenceNode):
                self._refuse(path, node, f"it must be {kind.value}", "write `[a, b]`, or one `- item` line for each")
                return None
            items = [self._typed(f"{path}[{index}]", item, _ITEMS[kind]) for index, item in enumerate(node.value)]
            value = tuple(item for item in items if item is not None)
        return Given(value=value, shown=shown(node), line=line_of(node) + self.lines_before)

    def _refuse(self, path: str, node: Node, reason: str, remedy: str, value: str | None = None) -> None:
        text = shown(node) if value is None else value
        line = line_of(node) + self.lines_before
        self.problems.append(Problem(path=path, value=text, reason=reason, remedy=remedy, line=line))


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and plain_value(node) is None


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """Find the known name that was probably meant: similar as a whole, or in its last part on another level."""
    wanted = name.casefold()
    wanted_last = wanted.rpartition(".")[2]

    def likeness(candidate: str) -> float:
        folded = candidate.casefold()
        whole = difflib.SequenceMatcher(None, wanted, folded).ratio()
        last = difflib.SequenceMatcher(None, wanted_last, folded.rpartition(".")[2]).ratio()
        return max(last, (whole + last) / 2)

    best = max(candidates, key=likeness)
    return best if likeness(best) >= _SIMILAR else None


def _suggestion(name: str, candidates: Iterable[str]) -> str:
    close = nearest(name, candidates)
    return f"did you mean {close}?" if close is not None else "remove it"
