"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

Source: kubernetes.io "Update API Objects in Place", and k8s.io/apimachinery `pkg/util/strategicpatch`, whose directives
are understood: `$patch` (replace, delete, merge), `$deleteFromPrimitiveList/…`, `$setElementOrder/…`, `$retainKeys`.
"""

from __future__ import annotations

from typing import Any

from antrea_proxy.lab.api_server.errors import JsonObject, bad_request
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema, ValueType

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE_PREFIX = "$deleteFromPrimitiveList/"
_ORDER_PREFIX = "$setElementOrder/"


def apply_strategic_merge_patch(schema: ObjectSchema | None, before: JsonObject, patch: JsonObject) -> JsonObject:
    """Give a patched copy of an object.

    Raises ApiError (400) for a directive that is not understood, or an item without the key that lists are merged by.
    """
    return _merge_object(schema, before, patch)


def _merge_object(schema: ObjectSchema | None, before: JsonObject, patch: JsonObject) -> JsonObject:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: _without_directives(value) for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unknown patch directive $patch: {directive!r}: it is replace, delete or merge")
    after = dict(before)
    if (retained := patch.get(_RETAIN)) is not None:
        _check_retained(patch, retained)
        after = {key: value for key, value in after.items() if key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_PREFIX):
            _delete_plain_values(after, key.removeprefix(_DELETE_PREFIX), value)
        elif key not in {_DIRECTIVE, _RETAIN} and not key.startswith(_ORDER_PREFIX):
            _merge_field(schema, after, key, value)
    for key, order in patch.items():
        if key.startswith(_ORDER_PREFIX):
            _reorder(schema, after, key.removeprefix(_ORDER_PREFIX), order)
    return after


def _delete_plain_values(after: JsonObject, name: str, values: object) -> None:
    if not isinstance(values, list):
        raise bad_request(f"{_DELETE_PREFIX}{name} must be a list of the values to delete")
    if isinstance(existing := after.get(name), list):
        after[name] = [item for item in existing if item not in values]


def _check_retained(patch: JsonObject, retained: object) -> None:
    if not isinstance(retained, list):
        raise bad_request("$retainKeys must be a list of the keys that stay")
    for key, value in patch.items():
        if not key.startswith("$") and value is not None and key not in retained:
            raise bad_request(f"$retainKeys must name every key that the patch sets, and lacks {key!r}")


def _merge_field(schema: ObjectSchema | None, after: JsonObject, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    field = schema.field(key) if schema else None
    existing = after.get(key)
    if value is None:
        after.pop(key, None)
    elif isinstance(value, dict):
        inner = field.object if field and field.type is ValueType.OBJECT and not field.is_list else None
        if value.get(_DIRECTIVE) == "delete":
            after.pop(key, None)
            return
        after[key] = _merge_object(inner, existing if isinstance(existing, dict) else {}, value)
    elif isinstance(value, list) and field is not None and field.merge_key is not None:
        after[key] = _merge_list(field, existing if isinstance(existing, list) else [], value)
    else:
        after[key] = _without_directives(value)


def _without_directives(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Take what is set as a whole: directives inside of it say nothing more, nulls name nothing."""
    if isinstance(value, dict):
        return {
            key: _without_directives(item)
            for key, item in value.items()
            if not key.startswith(("$patch", _RETAIN, _DELETE_PREFIX, _ORDER_PREFIX)) and item is not None
        }
    if isinstance(value, list):
        directives = [item for item in value if isinstance(item, dict) and item.get(_DIRECTIVE) == "replace"]
        return [_without_directives(item) for item in value if item not in directives]
    return value


def _merge_list(field: FieldSchema, before: list[Any], patch: list[Any]) -> list[Any]:
    if any(isinstance(item, dict) and item == {_DIRECTIVE: "replace"} for item in patch):
        return [_without_directives(item) for item in patch if item != {_DIRECTIVE: "replace"}]
    merge_key = field.merge_key
    if not merge_key:
        return [*before, *(item for item in patch if item not in before)]
    schema = field.object
    after = list(before)
    for item in patch:
        if not isinstance(item, dict) or item.get(merge_key) is None:
            raise bad_request(f"map: {item} does not contain declared merge key: {merge_key}")
        place = _place(after, merge_key, item)
        if item.get(_DIRECTIVE) == "delete":
            while place is not None:
                del after[place]
                place = _place(after, merge_key, item)
        elif place is None:
            after.append(_without_directives({key: value for key, value in item.items() if key != _DIRECTIVE}))
        else:
            after[place] = _merge_object(schema, after[place], item)
    return after


def _place(items: list[Any], merge_key: str, wanted: JsonObject) -> int | None:
    """Find the item that a patch means.

    Service ports are merged by `port` alone, which does not tell TCP 53 from UDP 53; where the patch names the
    protocol, only an item of the same protocol is meant.
    """
    same = [place for place, item in enumerate(items) if item.get(merge_key) == wanted[merge_key]]
    if merge_key in {"port", "containerPort"} and "protocol" in wanted:
        same = [place for place in same if items[place].get("protocol", "TCP") == wanted["protocol"]]
    return same[0] if same else None


def _reorder(schema: ObjectSchema | None, after: JsonObject, name: str, order: list[Any]) -> None:
    """Sort a merged list as $setElementOrder says; what it does not name keeps its place after what preceded it."""
    items = after.get(name)
    if not isinstance(items, list) or not isinstance(order, list):
        return
    field = schema.field(name) if schema else None
    merge_key = field.merge_key if field else None

    def key(item: Any) -> Any:  # noqa: ANN401 - any JSON value
        return item.get(merge_key) if merge_key and isinstance(item, dict) else item

    wanted = [key(item) for item in order]
    ranks: list[int] = []
    last = -1
    for item in items:
        if key(item) in wanted:
            last = wanted.index(key(item))
            ranks.append(last)
        else:
            ranks.append(last)
    after[name] = [item for _, item in sorted(zip(ranks, items, strict=True), key=lambda pair: pair[0])]
