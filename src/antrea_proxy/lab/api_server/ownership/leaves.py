"""An object as the places that can be owned, each with its value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.ownership.paths import Path, Paths, field_word, printed
from antrea_proxy.lab.api_server.ownership.topology import NoKeyError, is_map, is_set, is_struct, item_word, list_keys
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema, ValueType

Leaves = dict[Path, Any]
ITEM: Final = object()
"""The value of an item of a list: that it is there, whatever its fields are."""


class DuplicateItemError(ValueError):
    """Two items of a list have the same keys; the text names list and keys."""


def leaves(schema: ObjectSchema, obj: JsonObject, *, strict: bool = False) -> Leaves:
    """Give every place of an object that can be owned, with its value.

    With `strict`, raises NoKeyError and DuplicateItemError, which name the list; else such an item is left out.
    """
    found: Leaves = {}
    for path, value in _of_object(schema, obj, (), strict=strict):
        if value is ITEM and path in found and strict:
            *above, last = path
            raise DuplicateItemError(f"{printed(tuple(above))}: duplicate entries for key {printed((last,))}")
        found.setdefault(path, value)
    return found


def changed(old: Leaves, new: Leaves) -> Paths:
    """Give the places that are new or have another value."""
    return frozenset(path for path, value in new.items() if path not in old or old[path] != value)


def gone(old: Leaves, new: Leaves) -> Paths:
    """Give the places that are no more."""
    return frozenset(path for path in old if path not in new)


def _of_object(schema: ObjectSchema, obj: JsonObject, path: Path, *, strict: bool) -> Iterator[tuple[Path, Any]]:
    for name, value in obj.items():
        here = (*path, field_word(name))
        field = schema.field(name)
        if field is None:
            yield here, value
        else:
            yield from _of_field(field, value, here, strict=strict)


def _of_field(field: FieldSchema, value: Any, path: Path, *, strict: bool) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401
    if value in ([], {}) and (field.is_list or field.type is not ValueType.OBJECT):
        return  # to the API the same as no list and no map
    if isinstance(value, list) and (list_keys(field) or is_set(field)):
        yield from _of_list(field, value, path, strict=strict)
    elif isinstance(value, dict) and is_map(field):
        for name, item in value.items():
            yield (*path, field_word(name)), item
    elif isinstance(value, dict) and value and not field.is_list and is_struct(field):
        yield from _of_object(field.object, value, path, strict=strict)
    else:
        yield path, value


def _of_list(field: FieldSchema, items: list[Any], path: Path, *, strict: bool) -> Iterator[tuple[Path, Any]]:
    for place, item in enumerate(items):
        try:
            here = (*path, item_word(field, item))
        except NoKeyError as error:
            if strict:
                raise NoKeyError(f"{printed(path)}: element {place}: {error}") from error
            continue
        if is_set(field) or not is_struct(field):
            yield here, ITEM if is_set(field) else item
        else:
            yield here, ITEM
            yield from _of_object(field.object, item, here, strict=strict)
