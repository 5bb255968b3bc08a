"""Whether JSON fits the fields of its kind: types that do not fit are errors, fields that do not exist are named.

Messages follow Go's encoding/json and sigs.k8s.io/json, through which the real server decodes.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime

from antrea_proxy.lab.api_server.errors import JsonObject, bad_request
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema, ValueType, schema_of

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_INT32 = 2**31
_INT64 = 2**63


class _TypeMismatchError(Exception):
    """A value that Go could not decode."""


def _json_type(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _mismatch(value: object, field: FieldSchema, path: str, go_type: str) -> _TypeMismatchError:
    where = f"Go struct field {field.owner}.{path}"
    return _TypeMismatchError(f"json: cannot unmarshal {_json_type(value)} into {where} of type {go_type}")


def unknown_fields(schema: ObjectSchema, obj: JsonObject) -> list[str]:
    """Name the fields that the kind does not have, as `unknown field "spec.ports[0].prot"`.

    Raises ApiError (400) where a value is not of its field's type.
    """
    return [f'unknown field "{path}"' for path in _walk(schema, obj, "", "")]


def _walk(schema: ObjectSchema, obj: JsonObject, path: str, type_path: str) -> Iterator[str]:
    for key, value in obj.items():
        here = f"{path}.{key}" if path else key
        type_here = f"{type_path}.{key}" if type_path else key
        field = schema.field(key)
        if field is None:
            yield here
        elif value is not None:
            yield from _check(field, value, here, type_here)


def _check(field: FieldSchema, value: object, path: str, type_path: str) -> Iterator[str]:
    if not field.is_list:
        yield from _check_one(field, value, path, type_path)
        return
    if not isinstance(value, list):
        raise _mismatch(value, field, type_path, f"[]{field.go_type}")
    for index, item in enumerate(value):
        if item is not None:
            yield from _check_one(field, item, f"{path}[{index}]", type_path)


def _check_one(field: FieldSchema, value: object, path: str, type_path: str) -> Iterator[str]:
    if field.type is ValueType.OBJECT:
        if not isinstance(value, dict):
            raise _mismatch(value, field, type_path, field.go_type)
        yield from _walk(field.object, value, path, type_path)
    elif not _fits(field, value):
        raise _mismatch(value, field, type_path, field.go_type)


def _fits(field: FieldSchema, value: object) -> bool:  # noqa: C901, PLR0911 - one line a type
    match field.type:
        case ValueType.STRING:
            return isinstance(value, str)
        case ValueType.BOOLEAN:
            return isinstance(value, bool)
        case ValueType.INT32 | ValueType.INT64:
            limit = _INT64 if field.type is ValueType.INT64 else _INT32
            return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
        case ValueType.DOUBLE:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ValueType.INT_OR_STRING:
            return isinstance(value, int | str) and not isinstance(value, bool)
        case ValueType.QUANTITY:
            return isinstance(value, int | float | str) and not isinstance(value, bool)
        case ValueType.TIME | ValueType.MICRO_TIME:
            return isinstance(value, str) and _is_time(value)
        case ValueType.STRINGS_BY_NAME:
            return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        case ValueType.BYTES_BY_NAME:
            return isinstance(value, dict) and all(
                isinstance(item, str) and _is_base64(item) for item in value.values()
            )
        case ValueType.QUANTITIES_BY_NAME:
            return isinstance(value, dict) and all(isinstance(item, int | float | str) for item in value.values())
        case _:
            return True


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_time(text: str) -> bool:
    if not _RFC_3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_object(resource: Resource, obj: JsonObject, *, api_version: str = "", kind: str = "") -> list[str]:
    """Check an object of a request against its kind, and name the fields that the kind does not have.

    Raises ApiError (400) for another kind or version than the path's, or a value that is not of its field's type.
    """
    api_version, kind = api_version or resource.api_version, kind or resource.kind
    given_version, given_kind = obj.get("apiVersion", api_version), obj.get("kind", kind)
    if given_version != api_version:
        raise bad_request(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    if given_kind != kind:
        raise bad_request(f"{given_kind} in version {_quote(given_version)} cannot be handled as a {kind}")
    try:
        return unknown_fields(schema_of(api_version, kind), obj)
    except _TypeMismatchError as mismatch:
        version = api_version.rpartition("/")[2]
        raise bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {mismatch}') from mismatch


def _quote(text: object) -> str:
    return f'"{text}"'
