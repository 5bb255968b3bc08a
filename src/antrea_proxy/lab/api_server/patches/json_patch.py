"""JSON patch, RFC 6902, on paths of RFC 6901."""

from __future__ import annotations

import re
from copy import deepcopy
from http import HTTPStatus
from typing import Any, cast

from antrea_proxy.lab.api_server.errors import ApiError, JsonObject, bad_request

_MISSING = object()
_MAXIMUM_OPERATIONS = 10_000
"""As the real server allows in one patch."""


def _cannot(message: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", f"the server rejected our request: {message}")


def _tokens(path: object) -> list[str]:
    if not isinstance(path, str) or (path and not path.startswith("/")):
        raise bad_request(f"a JSON patch's path must be a string that begins with /, not {path!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]


def _index(step: str, length: int, path: str) -> int:
    if not re.fullmatch("0|[1-9][0-9]*", step, re.ASCII) or int(step) >= length:
        raise _cannot(f"the path {path} names no item of a list of {length}")
    return int(step)


def _descend(document: Any, tokens: list[str], path: str) -> Any:  # noqa: ANN401 - any JSON value
    for token in tokens:
        if isinstance(document, list):
            document = document[_index(token, len(document), path)]
        elif isinstance(document, dict) and token in document:
            document = document[token]
        else:
            raise _cannot(f"the path {path} does not exist")
    return document


def _add(document: Any, path: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    tokens = _tokens(path)
    if not tokens:
        return value
    parent, last = _descend(document, tokens[:-1], path), tokens[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1, path), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _cannot(f"the path {path} leads into a plain value")
    return document


def _remove(document: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
    tokens = _tokens(path)
    if not tokens:
        raise _cannot("the whole object cannot be removed")
    parent, last = _descend(document, tokens[:-1], path), tokens[-1]
    removed = _descend(parent, [last], path)
    del parent[_index(last, len(parent), path) if isinstance(parent, list) else last]
    return removed


def _member(operation: JsonObject, name: str) -> Any:  # noqa: ANN401 - any JSON value
    value = operation.get(name, _MISSING)
    if value is _MISSING:
        raise bad_request(f"a JSON patch's {operation.get('op')} operation must have the member {name}")
    return value


def _apply(document: Any, operation: JsonObject) -> Any:  # noqa: ANN401, PLR0911 - any JSON value; one case an operation
    path = _member(operation, "path")
    match operation.get("op"):
        case "add":
            return _add(document, path, deepcopy(_member(operation, "value")))
        case "remove":
            _remove(document, path)
            return document
        case "replace":
            value = deepcopy(_member(operation, "value"))
            if not _tokens(path):
                return value
            tokens = _tokens(path)
            _descend(document, tokens, path)
            parent, last = _descend(document, tokens[:-1], path), tokens[-1]
            parent[int(last) if isinstance(parent, list) else last] = value
            return document
        case "move":
            source = _member(operation, "from")
            if path != source and _tokens(path)[: len(_tokens(source))] == _tokens(source):
                raise _cannot(f"the value at {source} cannot be moved into itself")
            return _add(document, path, _remove(document, source))
        case "copy":
            return _add(document, path, deepcopy(_descend(document, _tokens(_member(operation, "from")), path)))
        case "test":
            if _descend(document, _tokens(path), path) != _member(operation, "value"):
                raise _cannot(f"testing path {path} failed")
            return document
        case other:
            raise bad_request(f"a JSON patch's op is add, remove, replace, move, copy or test, not {other!r}")


def apply_json_patch(before: JsonObject, patch: object) -> JsonObject:
    """Give a patched copy; either all operations apply or none.

    Raises ApiError: 400 for a patch of the wrong form, 422 where a path or a test does not hold.
    """
    if not isinstance(patch, list) or not all(isinstance(operation, dict) for operation in patch):
        raise bad_request("a JSON patch is a list of operations")
    if len(patch) > _MAXIMUM_OPERATIONS:
        raise bad_request(f"a JSON patch may have {_MAXIMUM_OPERATIONS} operations, not {len(patch)}")
    document: Any = deepcopy(before)
    for operation in patch:
        document = _apply(document, operation)
    if not isinstance(document, dict):
        raise bad_request("the patch leaves no JSON object")
    return cast("JsonObject", document)
