"""The API without a network: a request goes in, an answer comes out. Synchronous; every request is atomic."""

from __future__ import annotations

from http import HTTPStatus

from antrea_proxy.lab.api_server.discovery import aggregated_document, discovery_document, version_document
from antrea_proxy.lab.api_server.errors import ApiError, method_not_allowed, unknown_path
from antrea_proxy.lab.api_server.negotiation import Form, negotiate
from antrea_proxy.lab.api_server.openapi import group_document, index_document
from antrea_proxy.lab.api_server.reading import Reader
from antrea_proxy.lab.api_server.records import encode
from antrea_proxy.lab.api_server.replies import Reply, WatchReply, object_reply, refusal_reply, text_reply
from antrea_proxy.lab.api_server.requests import Request, Target, parse_target
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.api_server.writing import Writer

_OPENAPI_V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_EMPTY_OPENAPI_V2 = b"\x0a\x032.0"
"""A protobuf Document whose first field, swagger, is 2.0."""
HEALTH_PATHS = frozenset({"/healthz", "/livez", "/readyz"})
PUBLIC_PATHS = HEALTH_PATHS | {"/version"}
"""Paths that are answered to anybody."""


class Api:
    """Answers requests from a store."""

    def __init__(self, store: Store) -> None:
        self._reader = Reader(store)
        self._writer = Writer(store, self._reader)

    def answer(self, request: Request) -> Reply | WatchReply:
        """Answer a request; what the API refuses is an answer too."""
        try:
            return self._answer(request)
        except ApiError as error:
            return refusal_reply(error)

    def _answer(self, request: Request) -> Reply | WatchReply:
        path = request.path.rstrip("/") or "/"
        if path.startswith(("/api", "/apis")) and len(path.split("/")) > (3 if path.startswith("/api/") else 4):
            return self._object_answer(request, parse_target(path))
        if request.method not in {"GET", "HEAD"}:
            raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowed", f"{request.method} is not allowed here")
        return _fixed_answer(path, request)

    def _object_answer(  # noqa: PLR0911 - one line a verb
        self, request: Request, target: Target
    ) -> Reply | WatchReply:
        match request.method, target.name is not None:
            case "GET", named if request.flag("watch") and target.subresource is None:
                return self._reader.watch(request, target)
            case (("GET" | "HEAD"), True) if target.subresource not in {"binding", "eviction", "finalize"}:
                return self._reader.get(request, target)
            case (("GET" | "HEAD"), False):
                return self._reader.list(request, target)
            case "POST", named if (target.subresource in {"binding", "eviction"}) is named:
                return self._writer.create(request, target)
            case "PUT", True if target.subresource not in {"binding", "eviction"}:
                return self._writer.update(request, target)
            case "PATCH", True if target.subresource in {None, "status", "scale"}:
                return self._writer.patch(request, target)
            case "DELETE", True if target.subresource is None:
                return self._writer.delete(request, target)
            case "DELETE", False if "deletecollection" in target.resource.verbs:
                return self._writer.delete_collection(request, target)
        raise method_not_allowed(target.resource, request.method.lower())


def _fixed_answer(path: str, request: Request) -> Reply:  # noqa: PLR0911 - one line a path
    if path in HEALTH_PATHS or path.startswith(("/livez/", "/readyz/", "/healthz/")):
        return text_reply("ok")
    if path == "/version":
        return object_reply(version_document())
    if path == "/openapi/v3":
        return object_reply(index_document())
    if path.startswith("/openapi/v3/"):
        return Reply(content=group_document(path.removeprefix("/openapi/v3/")))
    if path == "/openapi/v2":
        # kubectl looks here for kinds that it has not found in v3; no definition tells it that there is none.
        return Reply(content=_EMPTY_OPENAPI_V2, content_type=_OPENAPI_V2_TYPE)
    if path in {"/api", "/apis"}:
        accepted = negotiate(request.accept, forms=frozenset({Form.AGGREGATED_DISCOVERY}))
        if accepted.form is Form.AGGREGATED_DISCOVERY:
            document = aggregated_document(path, accepted.version)
            return Reply(content=encode(document), content_type=accepted.content_type)
        return object_reply(discovery_document(path))
    if path.startswith(("/api/", "/apis/")):
        return object_reply(discovery_document(path))
    if path == "/":
        return object_reply({"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]})
    raise unknown_path()
