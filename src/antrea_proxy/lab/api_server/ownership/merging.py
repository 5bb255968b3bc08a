"""Laying what a manager applies over an object, and taking away what nobody applies any more. Pure.

Source: sigs.k8s.io/structured-merge-diff `typed`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.ownership.paths import Path, Paths, keys_of
from antrea_proxy.lab.api_server.ownership.topology import NoKeyError, is_map, is_set, is_struct, item_word, list_keys
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema


def merged(schema: ObjectSchema, live: JsonObject, applied: JsonObject) -> JsonObject:
    """Give a copy of an object with what is applied laid over it."""
    after = deepcopy(live)
    for name, value in applied.items():
        field = schema.field(name)
        if field is None or name not in after:
            after[name] = deepcopy(value)
        else:
            after[name] = _merged_field(field, after[name], value)
    return after


def _merged_field(field: FieldSchema, live: Any, applied: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(live, list) and isinstance(applied, list) and (list_keys(field) or is_set(field)):
        return _merged_list(field, live, applied)
    if isinstance(live, dict) and isinstance(applied, dict) and not field.is_list:
        if is_map(field):
            return {**live, **applied}
        if is_struct(field):
            return merged(field.object, live, applied)
    return deepcopy(applied)


def _merged_list(field: FieldSchema, live: list[Any], applied: list[Any]) -> list[Any]:
    """Keep the order of what is applied, and before its next item what is not applied and stood there before."""
    words = [_word(field, item) for item in live]
    wanted = [item_word(field, item) for item in applied]
    whole = is_set(field) or not is_struct(field)
    after: list[Any] = []
    done: set[str] = set()
    passed = 0
    for word, item in zip(wanted, applied, strict=True):
        while passed < len(live) and (words[passed] not in wanted or words[passed] in done):
            if words[passed] not in wanted:
                after.append(live[passed])
            passed += 1
        is_new = whole or word not in words
        after.append(deepcopy(item) if is_new else merged(field.object, live[words.index(word)], item))
        done.add(word)
    after.extend(item for word, item in zip(words[passed:], live[passed:], strict=True) if word not in wanted)
    return after


def _word(field: FieldSchema, item: Any) -> str:  # noqa: ANN401 - any JSON value
    try:
        return item_word(field, item)
    except NoKeyError:
        return ""


def without(schema: ObjectSchema, obj: JsonObject, paths: Paths, kept: Paths) -> JsonObject:
    """Give a copy of an object without some places.

    What is above or below one of `kept` stays, and so does what a list's item is known by. An object, map or list that
    becomes empty goes as well.
    """
    after = deepcopy(obj)
    stays = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    for path in sorted(paths, key=len):  # an item goes as a whole, while its keys tell which it is
        if path not in stays and not _is_key(path):
            _remove(schema, after, path)
    return after


def _is_key(path: Path) -> bool:
    """Tell whether a place is one of the fields by which a list's item is known."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in keys_of(path[-2])


def _remove(schema: ObjectSchema, obj: JsonObject, path: Path) -> None:
    name = path[0][2:]
    if name not in obj:
        return
    field = schema.field(name)
    if len(path) == 1:
        del obj[name]
        return
    value = obj[name]
    if field is None:
        return
    if isinstance(value, list):
        _remove_from_list(field, value, path[1:])
    elif isinstance(value, dict) and is_map(field):
        value.pop(path[1][2:], None)
    elif isinstance(value, dict):
        _remove(field.object, value, path[1:])
    if value in ({}, []):
        del obj[name]


def _remove_from_list(field: FieldSchema, items: list[Any], path: Path) -> None:
    for place, item in enumerate(items):
        if _word(field, item) == path[0]:
            if len(path) == 1:
                del items[place]
            elif isinstance(item, dict):
                _remove(field.object, item, path[1:])
            return
