"""Render the chart to one plain manifest: `chart.py CHART NAMESPACE`, without helm.

Understands the part of Helm's template language that the chart keeps to:
  {{ VALUE | FUNCTION … }}  with `.Values.…`, `.Chart.…`, `.Release.…`, "text" and numbers; a missing key is nothing
  FUNCTION                  toYaml, quote, sha256sum, nindent N, indent N, default VALUE; also before its value
  {{ if VALUE }} … {{ else }} … {{ end }}, and {{/* comment */}}
  {{- and -}}               take the white space away on their side
"""  # noqa: INP001 - a script, run by its path

import hashlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import yaml

Value: TypeAlias = Any  # what YAML may hold

_TAG = re.compile(r"(?P<before>\s*\{\{-|\{\{)(?P<inside>.*?)(?P<after>-\}\}\s*|\}\})", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s|]+|\|')


class ChartError(Exception):
    """A template holds what this renderer does not understand; names the template and the words."""


def render(chart: Path, namespace: str, values: Mapping[str, Any] | None = None) -> str:
    """Render every template in the order of their names; `values` are laid over the chart's own, key by key.

    Raises ChartError.
    """
    own = yaml.safe_load((chart / "values.yaml").read_text())
    names = yaml.safe_load((chart / "Chart.yaml").read_text())
    scope = {
        "Values": _merged(own, values or {}),
        "Chart": {key[0].upper() + key[1:]: value for key, value in names.items()},
        "Release": {"Namespace": namespace, "Name": names["name"]},
    }
    documents = []
    for template in sorted((chart / "templates").glob("*.yaml")):
        try:
            documents.append(_rendered(template.read_text(), scope).strip())
        except (KeyError, ValueError, IndexError) as error:
            raise ChartError(f"{template}: {error}") from error
    return "".join(f"---\n{text}\n" for text in documents if text)


def _merged(own: Value, given: Value) -> Value:
    if isinstance(own, dict) and isinstance(given, dict):
        return own | {key: _merged(own.get(key), value) for key, value in given.items()}
    return given


def _rendered(template: str, scope: Mapping[str, Any]) -> str:
    text: list[str] = []
    shown = [True]
    for plain, inside in _pieces(template):
        if all(shown):
            text.append(plain)
        words = _WORD.findall(inside)
        match words:
            case []:
                pass
            case [comment, *_] if comment.startswith("/*"):
                pass
            case ["if", *condition]:
                shown.append(bool(_value(condition, scope)))
            case ["else"]:
                shown[-1] = not shown[-1]
            case ["end"]:
                shown.pop()
            case _ if all(shown):
                value = _value(words, scope)
                text.append("" if value is None else _text(value))
    if len(shown) != 1:
        raise ValueError("an `if` has no `end`, or an `end` no `if`")
    return "".join(text)


def _pieces(template: str) -> Iterator[tuple[str, str]]:
    start = 0
    for tag in _TAG.finditer(template):
        yield template[start : tag.start()], tag["inside"]
        start = tag.end()
    yield template[start:], ""


def _value(words: list[str], scope: Mapping[str, Any]) -> Value:
    value: Any = None
    stages = " ".join(words).split(" | ")
    for number, stage in enumerate(stages):
        first, *rest = _WORD.findall(stage)
        if number == 0 and first not in _FUNCTIONS:
            value = _operand(first, scope)
            if rest:
                raise ValueError(f"not understood: {stage}")
        else:
            arguments = [_operand(word, scope) for word in rest]
            value = _FUNCTIONS[first](*arguments, *([value] if number else []))
    return value


def _operand(word: str, scope: Mapping[str, Any]) -> Value:
    if word.startswith("."):
        found: Any = scope
        for key in word[1:].split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found
    return yaml.safe_load(word)


def _text(value: Value) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _to_yaml(value: Value) -> str:
    return str(yaml.safe_dump(value, default_flow_style=False, width=10_000)).rstrip("\n")


def _indent(width: int, text: str) -> str:
    return "\n".join(" " * width + line for line in text.split("\n"))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "toYaml": _to_yaml,
    "quote": lambda value: '"' + _text(value).replace("\\", "\\\\").replace('"', '\\"') + '"',
    "sha256sum": lambda value: hashlib.sha256(value.encode()).hexdigest(),
    "nindent": lambda width, text: "\n" + _indent(width, text),
    "indent": _indent,
    "default": lambda other, value: value or other,
}


if __name__ == "__main__":
    sys.stdout.write("# Made from deploy/chart by script/manifests.\n" + render(Path(sys.argv[1]), sys.argv[2]))
