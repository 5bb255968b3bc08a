"""The places of an object that somebody can own, and sets of them in the form that metadata.managedFields has.

A path is a tuple of FieldsV1's own words: `f:NAME` a field or a map's entry, `k:{KEYS}` an item of a list by its keys,
`v:VALUE` a member of a set. Source: sigs.k8s.io/structured-merge-diff `fieldpath`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from antrea_proxy.lab.api_server.errors import JsonObject

Path = tuple[str, ...]
Paths = frozenset[Path]
_SELF: Final = "."
"""Under which word FieldsV1 says that a place is owned itself, where others are below it."""


def field_word(name: str) -> str:
    """Give the word for a field, or for an entry of a map."""
    return f"f:{name}"


def key_word(keys: JsonObject) -> str:
    """Give the word for an item of a list by its keys' values."""
    return f"k:{_json(dict(sorted(keys.items())))}"


def value_word(value: object) -> str:
    """Give the word for a member of a set."""
    return f"v:{_json(value)}"


def keys_of(word: str) -> JsonObject:
    """Give the keys' values of an item's word."""
    found: JsonObject = msgspec.json.decode(word[2:])
    return found


def printed(path: Path) -> str:
    """Print a path as messages name it: `.spec.ports[port=80,protocol="TCP"].targetPort`."""
    return "".join(_printed_word(word) for word in path)


def to_fields_v1(paths: Iterable[Path]) -> JsonObject:
    """Give the tree that stands in metadata.managedFields[].fieldsV1."""
    tree: JsonObject = {}
    for path in sorted(paths):  # a place before those below it
        place = tree
        for depth, word in enumerate(path):
            if word not in place:
                place[word] = {}
            elif not place[word] and depth < len(path) - 1:
                place[word][_SELF] = {}
            place = place[word]
    return tree


def from_fields_v1(tree: JsonObject) -> Paths:
    """Read such a tree. Raises ValueError for anything else."""
    return frozenset(_walk(tree, ()))


def _walk(tree: object, path: Path) -> Iterator[Path]:
    if not isinstance(tree, dict):
        raise ValueError(f"{'/'.join(path)} is not an object")  # noqa: TRY004 - one error for what cannot be read
    if not tree and path:
        yield path
    for word, below in tree.items():
        if word == _SELF:
            yield path
        elif word[:2] in {"f:", "k:", "v:", "i:"}:
            yield from _walk(below, (*path, word))
        else:
            raise ValueError(f"{word!r} is no word of FieldsV1")


def _printed_word(word: str) -> str:
    kind, rest = word[:2], word[2:]
    if kind == "f:":
        return f".{rest}"
    if kind == "k:":
        return f"[{','.join(f'{name}={_json(value)}' for name, value in keys_of(word).items())}]"
    return f"[={rest}]"


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return msgspec.json.encode(value).decode()
