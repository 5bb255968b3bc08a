"""Reads the protobuf form of objects, in which `kubectl create configmap`, `create deployment` and the like send them.

Source: k8s.io/apimachinery `pkg/runtime/serializer/protobuf` (the envelope) and
protobuf.dev/programming-guides/encoding; the numbers of fields are in `fields.txt`. Answers are always JSON, which
such clients accept too.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from antrea_proxy.lab.api_server.errors import JsonObject, bad_request, unsupported_media_type
from antrea_proxy.lab.api_server.lifecycle import timestamp
from antrea_proxy.lab.api_server.schema import FieldSchema, ObjectSchema, ValueType, schema_of

_MAGIC = b"k8s\0"
_MAPS = frozenset({ValueType.STRINGS_BY_NAME, ValueType.BYTES_BY_NAME, ValueType.QUANTITIES_BY_NAME})
_NOT_READ = frozenset({"status", "managedFields"})
_ZERO_IS_SAID = frozenset(
    {
        "DeleteOptions.gracePeriodSeconds",
        "DeploymentSpec.replicas",
        "DeploymentSpec.revisionHistoryLimit",
        "DeploymentSpec.progressDeadlineSeconds",
        "PodSpec.terminationGracePeriodSeconds",
        "PodSpec.activeDeadlineSeconds",
        "PodSpec.automountServiceAccountToken",
        "PodSpec.enableServiceLinks",
        "ServiceAccount.automountServiceAccountToken",
        "ServiceSpec.allocateLoadBalancerNodePorts",
        "ClientIPConfig.timeoutSeconds",
    }
)
"""Pointers in the Go structs: there zero is a value. Elsewhere zero is written too, and means nothing."""

_SIGN_BIT, _WORD = 1 << 63, 1 << 64
_INT_OR_STRING_IS_STRING = 1


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position


def _parts(data: bytes) -> Iterator[tuple[int, Any]]:
    """Split a message into (field number, int or bytes)."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value - _WORD if value & _SIGN_BIT else value
                continue
            case 1:
                size = 8
            case 2:
                size, position = _varint(data, position)
            case 5:
                size = 4
            case other:
                raise ValueError(f"wire type {other} is unknown")
        if position + size > len(data):
            raise ValueError("the message ends in the middle of a field")
        yield tag >> 3, data[position : position + size]
        position += size


def decode_protobuf(body: bytes) -> JsonObject:
    """Decode an object with its envelope.

    Raises ApiError: 415 for a kind or a field that is not read in this form, 400 where the body is no such message.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body of the request is not Kubernetes' protobuf: it does not begin with k8s\\0")
    try:
        envelope = dict(_parts(body[len(_MAGIC) :]))
        type_meta = {number: value.decode() for number, value in _parts(envelope[1])}
        api_version, kind = type_meta[1], type_meta[2]
        schema = schema_of(api_version, kind)
        fields = _message(schema, envelope.get(2, b""))
    except KeyError as cause:
        raise unsupported_media_type(f"the protobuf form of {cause} is not read here; send JSON") from cause
    except (ValueError, IndexError, AttributeError, TypeError) as cause:
        raise bad_request(f"the body of the request is not Kubernetes' protobuf: {cause}") from cause
    return {"kind": kind, "apiVersion": api_version, **fields}


def _message(schema: ObjectSchema, data: bytes) -> JsonObject:
    found: JsonObject = {}
    for number, raw in _parts(data):
        field = schema.numbers.get(number)
        if field is None:
            raise KeyError(f"{schema.name} with field {number}")
        if field.name in _NOT_READ:
            continue
        if field.embedded:
            found.update(_message(field.object, raw))
        elif field.type in _MAPS:
            entry = dict(_parts(raw))
            found.setdefault(field.name, {})[entry[1].decode()] = _map_value(field, entry.get(2, b""))
        elif field.is_list:
            found.setdefault(field.name, []).append(_value(field, raw))
        elif (value := _value(field, raw)) or f"{schema.name}.{field.name}" in _ZERO_IS_SAID:
            found[field.name] = value
    return found


def _map_value(field: FieldSchema, raw: bytes) -> str:
    if field.type is ValueType.QUANTITIES_BY_NAME:
        quantity: bytes = dict(_parts(raw)).get(1, b"")
        return quantity.decode()
    return b64encode(raw).decode() if field.type is ValueType.BYTES_BY_NAME else raw.decode()


def _value(field: FieldSchema, raw: Any) -> Any:  # noqa: ANN401, PLR0911 - any JSON value; one case a type
    match field.type:
        case ValueType.OBJECT:
            return _message(field.object, raw)
        case ValueType.BOOLEAN:
            return bool(raw)
        case ValueType.INT32 | ValueType.INT64:
            return int(raw)
        case ValueType.TIME | ValueType.MICRO_TIME:
            seconds = dict(_parts(raw)).get(1, 0)
            return timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds > 0 else None
        case ValueType.QUANTITY:
            return dict(_parts(raw)).get(1, b"").decode()
        case ValueType.INT_OR_STRING:
            parts = dict(_parts(raw))
            return parts.get(3, b"").decode() if parts.get(1) == _INT_OR_STRING_IS_STRING else parts.get(2, 0)
        case _:
            return raw.decode()
