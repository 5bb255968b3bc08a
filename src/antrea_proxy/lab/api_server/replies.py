"""Answers as values: what to send, decided before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from antrea_proxy.lab.api_server.errors import ApiError, JsonObject
from antrea_proxy.lab.api_server.negotiation import Accepted, Form
from antrea_proxy.lab.api_server.records import Event, encode
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.selectors import Selection
from antrea_proxy.lab.api_server.tables import partial_metadata, table

_WARNING_CODE = 299


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer."""

    status: int = 200
    content: bytes = b""
    content_type: str = "application/json"
    warnings: Sequence[str] = ()
    retry_after: int | None = None
    """Seconds."""

    def headers(self) -> list[tuple[str, str]]:
        """Give the headers, with the warnings that kubectl shows (RFC 7234, 5.5)."""
        found = [("Content-Type", self.content_type), ("Cache-Control", "no-cache, private")]
        for text in self.warnings:
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            found.append(("Warning", f'{_WARNING_CODE} - "{quoted}"'))
        if self.retry_after is not None:
            found.append(("Retry-After", str(self.retry_after)))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchReply:
    """An answer that goes on: the events of one kind."""

    resource: Resource
    selection: Selection
    first: Sequence[Event] = ()
    position: int
    """Where in the kind's history the events go on after `first`."""
    timeout_seconds: float | None
    bookmarks: bool
    accepted: Accepted
    include_object: str = "Metadata"
    refusal: ApiError | None = None
    """Told as an ERROR event in place of all others."""
    list_ends_at: int | None = None
    """The resourceVersion of the bookmark that tells the end of `first`, where a list is streamed."""


def object_reply(obj: JsonObject, *, status: int = 200, warnings: Sequence[str] = ()) -> Reply:
    """Answer with an object."""
    return Reply(status=status, content=encode(obj), warnings=warnings)


def text_reply(text: str, *, status: int = 200) -> Reply:
    """Answer with plain text."""
    return Reply(status=status, content=text.encode(), content_type="text/plain; charset=utf-8")


def refusal_reply(error: ApiError, *, retry_after: int | None = None) -> Reply:
    """Answer with the Status of a refusal; `retry_after` asks the client to wait so many seconds."""
    return Reply(status=error.code, content=encode(error.to_status()), retry_after=retry_after)


def list_bytes(kind: str, api_version: str, metadata: JsonObject, items: Sequence[bytes]) -> bytes:
    """Give a list from the JSON of its items."""
    head = encode({"kind": kind, "apiVersion": api_version, "metadata": metadata})
    return b'%b,"items":[%b]}' % (head[:-1], b",".join(items))


def shown(
    resource: Resource, obj: JsonObject, accepted: Accepted, *, now: datetime, include_object: str = "Metadata"
) -> bytes:
    """Give one object in the form that was asked for."""
    match accepted.form:
        case Form.TABLE:
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            found = table(
                resource,
                [obj],
                now=now,
                metadata=metadata,
                version=accepted.version,
                include_object=include_object,
            )
            return encode(found)
        case Form.PARTIAL_METADATA | Form.PARTIAL_METADATA_LIST:
            return encode(partial_metadata(obj))
        case _:
            return encode(obj)
