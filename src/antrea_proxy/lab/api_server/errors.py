"""Refusals of the API: what is wrong, in the words, reasons and codes that the real API server uses.

The texts follow k8s.io/apimachinery `pkg/api/errors` and `pkg/util/validation/field`: people and tools read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from antrea_proxy.lab.api_server.resources import Resource

JsonObject = dict[str, Any]
"""A Kubernetes object, or a part of one, as decoded from JSON."""


class FieldErrorKind(Enum):
    """Why a field is refused: (reason of the Status cause, words of the message)."""

    INVALID = ("FieldValueInvalid", "Invalid value")
    REQUIRED = ("FieldValueRequired", "Required value")
    DUPLICATE = ("FieldValueDuplicate", "Duplicate value")
    NOT_SUPPORTED = ("FieldValueNotSupported", "Unsupported value")
    NOT_FOUND = ("FieldValueNotFound", "Not found")
    FORBIDDEN = ("FieldValueForbidden", "Forbidden")
    TOO_LONG = ("FieldValueTooLong", "Too long")
    TOO_MANY = ("FieldValueTooMany", "Too many")
    INTERNAL = ("InternalError", "Internal error")


_WITHOUT_VALUE = frozenset(
    {FieldErrorKind.REQUIRED, FieldErrorKind.FORBIDDEN, FieldErrorKind.TOO_LONG, FieldErrorKind.INTERNAL}
)


def quoted(text: str) -> str:
    """Quote a string as Go's %q does for printable text."""
    return msgspec.json.encode(text).decode()


def _printed(value: object) -> str:
    """Print a value as Go's %#v does lists and maps of strings; anything deeper as JSON."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return f"[]string{{{', '.join(quoted(item) for item in value)}}}"
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        items = ", ".join(f"{quoted(key)}:{quoted(item)}" for key, item in sorted(value.items()))
        return f"map[string]string{{{items}}}"
    return msgspec.json.encode(value).decode()


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is refused; `field` is its path, such as `spec.ports[0].port`."""

    field: str
    kind: FieldErrorKind
    value: object = None
    detail: str = ""

    @property
    def message(self) -> str:
        """The error without the field's path."""
        words = self.kind.value[1]
        text = words if self.kind in _WITHOUT_VALUE else f"{words}: {_printed(self.value)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"

    def to_cause(self) -> JsonObject:
        """Give the metav1.StatusCause."""
        return {"reason": self.kind.value[0], "message": self.message, "field": self.field}


def invalid_value(path: str, value: object, detail: str) -> FieldError:
    """Refuse a value."""
    return FieldError(path, FieldErrorKind.INVALID, value, detail)


def required(path: str, detail: str = "") -> FieldError:
    """Refuse an absence."""
    return FieldError(path, FieldErrorKind.REQUIRED, detail=detail)


def duplicate(path: str, value: object) -> FieldError:
    """Refuse a second one."""
    return FieldError(path, FieldErrorKind.DUPLICATE, value)


def forbidden_field(path: str, detail: str) -> FieldError:
    """Refuse a field that may not be set, or not be changed."""
    return FieldError(path, FieldErrorKind.FORBIDDEN, detail=detail)


def not_supported(path: str, value: object, supported: Sequence[str]) -> FieldError:
    """Refuse a value that is none of the known ones, and name those."""
    names = ", ".join(quoted(name) for name in sorted(supported))
    return FieldError(path, FieldErrorKind.NOT_SUPPORTED, value, f"supported values: {names}")


def too_many(path: str, count: int, maximum: int) -> FieldError:
    """Refuse a list that is too long."""
    noun = "item" if maximum == 1 else "items"
    return FieldError(path, FieldErrorKind.TOO_MANY, count, f"must have at most {maximum} {noun}")


def too_long(path: str, maximum: int) -> FieldError:
    """Refuse a text longer than `maximum` bytes."""
    return FieldError(path, FieldErrorKind.TOO_LONG, detail=f"may not be more than {maximum} bytes")


@dataclass(eq=False)
class ApiError(Exception):
    """A request that the API refuses; `to_status` is what the client is told."""

    code: int
    reason: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def to_status(self) -> JsonObject:
        """Give the metav1.Status."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = dict(self.details)
        status["code"] = self.code
        return status


def _details(resource: Resource, name: str) -> JsonObject:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    """Say that there is no such object."""
    text = f"{resource.qualified} {quoted(name)} not found"
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", text, _details(resource, name))


def already_exists(resource: Resource, name: str) -> ApiError:
    """Say that the name is taken."""
    text = f"{resource.qualified} {quoted(name)} already exists"
    return ApiError(HTTPStatus.CONFLICT, "AlreadyExists", text, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """Say that somebody else has changed the object since it was read."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    text = f"Operation cannot be fulfilled on {resource.qualified} {quoted(name)}: {why}"
    return ApiError(HTTPStatus.CONFLICT, "Conflict", text, _details(resource, name))


def forbidden(resource: Resource, name: str, why: str) -> ApiError:
    """Say that the request is understood and not allowed."""
    text = f"{resource.qualified} {quoted(name)} is forbidden: {why}"
    return ApiError(HTTPStatus.FORBIDDEN, "Forbidden", text, _details(resource, name))


def invalid(resource: Resource, name: str, errors: Sequence[FieldError]) -> ApiError:
    """Say which of the object's fields do not pass."""
    texts = [str(error) for error in errors]
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: JsonObject = {"name": name, "group": resource.group, "kind": resource.kind}
    details = {key: value for key, value in details.items() if value}
    details["causes"] = [error.to_cause() for error in errors]
    text = f"{resource.qualified_kind} {quoted(name)} is invalid: {joined}"
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "Invalid", text, details)


def bad_request(message: str) -> ApiError:
    """Say that the request cannot be read."""
    return ApiError(HTTPStatus.BAD_REQUEST, "BadRequest", message)


def expired(message: str) -> ApiError:
    """Say that the resourceVersion asked for is no longer kept: the client must list again."""
    return ApiError(HTTPStatus.GONE, "Expired", message)


def unauthorized() -> ApiError:
    """Say that the client's token is not known."""
    return ApiError(HTTPStatus.UNAUTHORIZED, "Unauthorized", "Unauthorized")


def internal_error() -> ApiError:
    """Say that the server itself has failed; why stands in its log."""
    text = "the lab's API server failed on this request; its log says why"
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError", text)


def unknown_path() -> ApiError:
    """Say that nothing is served under this path."""
    return ApiError(HTTPStatus.NOT_FOUND, "NotFound", "the server could not find the requested resource")


def method_not_allowed(resource: Resource, verb: str) -> ApiError:
    """Say that the resource exists and does not know the verb."""
    text = f"{verb} is not supported on resources of kind {quoted(resource.qualified)}"
    return ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", text, _details(resource, ""))


def unsupported_media_type(message: str) -> ApiError:
    """Say that the body is of a type that is not read here."""
    return ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """Say that none of the types that the client accepts is served."""
    text = f"only the following media types are accepted: {', '.join(accepted)}"
    return ApiError(HTTPStatus.NOT_ACCEPTABLE, "NotAcceptable", text)


def invalid_options(field: str, detail: str) -> ApiError:
    """Refuse a list or a watch for what it was asked to be."""
    cause = {"reason": FieldErrorKind.FORBIDDEN.value[0], "message": f"Forbidden: {detail}", "field": field}
    text = f'ListOptions.meta.k8s.io "" is invalid: {field}: Forbidden: {detail}'
    return ApiError(422, "Invalid", text, {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]})


def invalid_write_options(error: FieldError) -> ApiError:
    """Refuse a write for how it was asked for."""
    details = {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [error.to_cause()]}
    return ApiError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {error}', details)
