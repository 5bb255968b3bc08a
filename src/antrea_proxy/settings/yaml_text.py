"""YAML text -> nodes that still know their lines; also finds antrea-agent.conf inside of its ConfigMap.

Nodes, not plain values, because a duplicate key and a line number are gone once YAML is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from antrea_proxy.settings.problems import Problem, SettingsError

CONF_KEY: Final = "antrea-agent.conf"
SHOWN_MAX: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfText:
    """The text of an antrea-agent.conf and where it starts: lines and columns to add for the file that holds it."""

    text: str
    lines_before: int = 0
    columns_before: int = 0


def extract_conf(text: str) -> ConfText:
    """Take antrea-agent.conf out of the ConfigMap that holds it; any text without objects is returned as it is.

    Raises SettingsError for text that is no YAML, and for Kubernetes objects without such a ConfigMap among them.
    """
    objects = [item for document in compose(ConfText(text=text)) for item in _objects(document)]
    if not objects:
        return ConfText(text=text)
    config_maps = [item for item in objects if _member_text(item, "kind") == "ConfigMap"]
    for config_map in config_maps:
        conf = _member(_member(config_map, "data"), CONF_KEY)
        if isinstance(conf, ScalarNode):
            return _inside(text, conf)
    kinds = ", ".join(sorted({_member_text(item, "kind") for item in objects}))
    raise SettingsError(
        [
            Problem(
                path=f"data.{CONF_KEY}" if config_maps else "",
                value="",
                reason="no ConfigMap here has this key" if config_maps else f"no ConfigMap among its objects ({kinds})",
                remedy="give the ConfigMap antrea-config of the namespace kube-system, or the file itself",
                line=line_of((config_maps or objects)[0]),
            )
        ]
    )


def compose(conf: ConfText) -> list[Node]:
    """Read every document of the text.

    Raises SettingsError, with line and column, for text that is no YAML.
    """
    try:
        return list(yaml.compose_all(conf.text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        raise SettingsError([_malformed(error, conf)]) from error
    except (yaml.YAMLError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is not YAML: {error}"
        raise SettingsError([Problem(path="", value="", reason=reason, remedy="correct the text")]) from error


def duplicate_keys(root: Node, lines_before: int) -> Iterator[Problem]:
    """Name every key that a mapping holds twice: YAML 1.2 section 3.2.1.1 forbids it, readers keep either one."""
    waiting, seen = [(root, "")], set[int]()
    while waiting:
        node, path = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, SequenceNode):
            waiting.extend((item, f"{path}[{index}]") for index, item in enumerate(node.value))
        elif isinstance(node, MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                if not isinstance(key, ScalarNode):
                    continue
                key_path = f"{path}.{key.value}" if path else key.value
                waiting.append((value, key_path))
                line = line_of(key) + lines_before
                if key.value in lines:
                    yield Problem(
                        path=key_path,
                        value="",
                        reason=f"the key is there twice, first in line {lines[key.value]}",
                        remedy="keep one of the two",
                        line=line,
                    )
                lines.setdefault(key.value, line)


def plain_value(node: ScalarNode) -> object:
    """Give the Python value of a scalar; text that its YAML type cannot hold is returned as text."""
    try:
        value: object = SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError):
        return node.value
    return value


def shown(node: Node) -> str:
    """Say what a value is, in a few words, for a message."""
    if isinstance(node, ScalarNode):
        text = str(node.value)
        if len(text) > SHOWN_MAX:
            return repr(text[:SHOWN_MAX] + "…")
        return f'"{text}"' if node.style or not text else text
    return "a list" if isinstance(node, SequenceNode) else "a mapping"


def line_of(node: Node) -> int:
    """Give the line of a node, counted from 1."""
    return int(node.start_mark.line) + 1


def _objects(document: Node) -> Iterator[Node]:
    """Yield a document that is a Kubernetes object, or the items of one that is a list of them."""
    kind = _member_text(document, "kind")
    items = _member(document, "items")
    if kind.endswith("List") and isinstance(items, SequenceNode):
        yield from items.value
    elif kind:
        yield document


def _member(node: Node | None, name: str) -> Node | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == name and isinstance(value, Node):
                return value
    return None


def _member_text(node: Node, name: str) -> str:
    member = _member(node, name)
    return member.value if isinstance(member, ScalarNode) else ""


def _inside(text: str, conf: ScalarNode) -> ConfText:
    if conf.style not in {"|", ">"}:
        return ConfText(text=conf.value, lines_before=line_of(conf) - 1)
    lines = text.splitlines()[line_of(conf) :]
    first = next((line for line in lines if line.strip()), "")
    return ConfText(text=conf.value, lines_before=line_of(conf), columns_before=len(first) - len(first.lstrip()))


def _malformed(error: yaml.MarkedYAMLError, conf: ConfText) -> Problem:
    mark = error.problem_mark or error.context_mark
    column = f" in column {mark.column + 1 + conf.columns_before}" if mark is not None else ""
    reason = ", ".join(part for part in (error.context, error.problem) if part)
    return Problem(
        path="",
        value="",
        reason=f"it is not YAML: {reason}{column}",
        remedy="correct the text there",
        line=mark.line + 1 + conf.lines_before if mark is not None else None,
    )
