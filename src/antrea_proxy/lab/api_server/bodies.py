"""The bodies of requests: JSON or YAML to plain objects, with what is wrong said and placed."""

from __future__ import annotations

from typing import cast

import msgspec
import yaml

from antrea_proxy.lab.api_server.errors import JsonObject, bad_request, unsupported_media_type
from antrea_proxy.lab.api_server.protobuf import decode_protobuf
from antrea_proxy.lab.api_server.requests import Request

_JSON_TYPES = frozenset({"", "application/json", "*/*"})
_PROTOBUF_TYPE = "application/vnd.kubernetes.protobuf"
_YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})


def media_type(request: Request) -> str:
    """Give the Content-Type without its parameters."""
    return request.content_type.partition(";")[0].strip().lower()


def parse_json(body: bytes) -> object:
    """Decode JSON. Raises ApiError (400), which names the byte at which it ceases to be JSON."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise bad_request(f"the body of the request is not JSON: {cause}") from cause


def parse_yaml(body: bytes) -> object:
    """Decode one YAML document. Raises ApiError (400), which names line and column."""
    try:
        return _plain(yaml.load(body, Loader=_Loader))  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as cause:
        raise bad_request(f"the body of the request is not YAML: {' '.join(str(cause).split())}") from cause


class _Loader(yaml.SafeLoader):
    """YAML whose dates stay text, as in JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def parse_object(request: Request) -> JsonObject:
    """Decode a body that is one object.

    Raises ApiError: 415 for a media type that is not read here, 400 where the body is no object.
    """
    kind = media_type(request)
    if kind in _JSON_TYPES:
        found = parse_json(request.body)
    elif kind in _YAML_TYPES:
        found = parse_yaml(request.body)
    elif kind == _PROTOBUF_TYPE:
        found = decode_protobuf(request.body)
    else:
        readable = ", ".join(sorted((_JSON_TYPES - {"", "*/*"}) | {"application/yaml"}))
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {readable}"
        )
    if not isinstance(found, dict):
        raise bad_request("the body of the request is not an object with fields")
    metadata = found.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("metadata is not an object with fields")
    return cast("JsonObject", found)
