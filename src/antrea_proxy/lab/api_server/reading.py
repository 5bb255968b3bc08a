"""GET: one object, lists (in chunks), watches."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict

import msgspec

from antrea_proxy.lab.api_server.errors import (
    ApiError,
    JsonObject,
    bad_request,
    expired,
    invalid_options,
)
from antrea_proxy.lab.api_server.negotiation import Accepted, Form, negotiate
from antrea_proxy.lab.api_server.records import Record, encode
from antrea_proxy.lab.api_server.replies import Reply, WatchReply, list_bytes, shown
from antrea_proxy.lab.api_server.requests import Request, Target
from antrea_proxy.lab.api_server.selectors import Selection, selection_of
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.api_server.tables import partial_metadata, table

_OBJECT_FORMS = frozenset({Form.TABLE, Form.PARTIAL_METADATA})
_LIST_FORMS = frozenset({Form.TABLE, Form.PARTIAL_METADATA_LIST})
_WATCH_FORMS = frozenset({Form.TABLE, Form.PARTIAL_METADATA})
_LISTS_KEPT = 16
"""Lists whose next chunk can still be asked for; an older one is told 410, as after compaction."""


Records = list[Record]


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """What the token `continue` says."""

    version: int
    """The resourceVersion of the first chunk."""
    offset: int
    place: str
    """The query that the list belongs to."""


class Reader:
    """Answers GET requests from a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lists: OrderedDict[tuple[int, str], list[Record]] = OrderedDict()

    def get(self, request: Request, target: Target) -> Reply:
        """Answer with one object."""
        accepted = negotiate(request.accept, forms=_OBJECT_FORMS)
        name = target.name or ""
        if target.subresource == "scale":
            return Reply(content=encode(self._store.get(target.resource, target.namespace, name, subresource="scale")))
        record = self._store.record(target.resource, target.namespace, name)
        if accepted.form is Form.OBJECT:
            return Reply(content=record.encoded)
        include = request.query.get("includeObject", "Metadata")
        now = self._store.now()
        return Reply(content=shown(target.resource, record.object, accepted, now=now, include_object=include))

    def list(self, request: Request, target: Target) -> Reply:
        """Answer with a list, or a chunk of it where `limit` is given."""
        accepted = negotiate(request.accept, forms=_LIST_FORMS)
        self._check_versions(request)
        selection = self.selection(request, target)
        records, metadata = self._chunk(request, target, selection)
        return Reply(content=self._listed(request, target, accepted, records, metadata))

    def _listed(
        self, request: Request, target: Target, accepted: Accepted, records: Records, metadata: JsonObject
    ) -> bytes:
        resource = target.resource
        match accepted.form:
            case Form.TABLE:
                found = table(
                    resource,
                    (record.object for record in records),
                    now=self._store.now(),
                    metadata=metadata,
                    version=accepted.version,
                    include_object=request.query.get("includeObject", "Metadata"),
                )
                return encode(found)
            case Form.PARTIAL_METADATA_LIST:
                items = [encode(partial_metadata(record.object)) for record in records]
                return list_bytes("PartialObjectMetadataList", "meta.k8s.io/v1", metadata, items)
            case _:
                items = [record.encoded for record in records]
                return list_bytes(f"{resource.kind}List", resource.api_version, metadata, items)

    def selection(self, request: Request, target: Target) -> Selection:
        """Read what the list or watch is narrowed to."""
        fields = request.query.get("fieldSelector", "")
        if target.name is not None:
            fields = f"metadata.name={target.name}"
        return selection_of(target.resource, target.namespace, request.query.get("labelSelector"), fields)

    def _check_versions(self, request: Request) -> None:
        asked = request.query.get("resourceVersion", "")
        match = request.query.get("resourceVersionMatch", "")
        if match and not asked:
            raise bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided")
        if asked and not asked.isdigit():
            raise bad_request(f'Invalid value: "{asked}": the resourceVersion is not a number')
        if match == "Exact" and int(asked) != self._store.resource_version:
            raise expired("The provided resource version is too old: only the newest is kept")

    def _chunk(self, request: Request, target: Target, selection: Selection) -> tuple[Records, JsonObject]:
        limit = _whole_number(request, "limit") or 0
        token = request.query.get("continue", "")
        place = f"{request.path}?{request.query.get('labelSelector', '')}&{request.query.get('fieldSelector', '')}"
        if token:
            chunk = _read_token(token)
            if chunk.place != place:
                raise bad_request("continue key is not valid: it belongs to another list")
            records = self._lists.get((chunk.version, place))
            if records is None or chunk.version < self._store.compacted:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list result. "
                    "You must start a new list without the continue parameter."
                )
            version, offset = chunk.version, chunk.offset
        else:
            version, offset = self._store.resource_version, 0
            records = self._store.records(target.resource, selection)
        metadata: JsonObject = {"resourceVersion": str(version)}
        end = offset + limit if limit else len(records)
        if end < len(records):
            self._keep(version, place, records)
            metadata["continue"] = _make_token(Chunk(version=version, offset=end, place=place))
            if selection.is_everything:
                metadata["remainingItemCount"] = len(records) - end
        return records[offset:end], metadata

    def _keep(self, version: int, place: str, records: Records) -> None:
        self._lists[version, place] = records
        self._lists.move_to_end((version, place))
        while len(self._lists) > _LISTS_KEPT:
            self._lists.popitem(last=False)

    def watch(self, request: Request, target: Target) -> WatchReply:
        """Answer with the events of a kind."""
        accepted = negotiate(request.accept, forms=_WATCH_FORMS)
        streams = _streams_list(request)
        selection = self.selection(request, target)
        refusal: ApiError | None = None
        try:
            since = request.query.get("resourceVersion")
            first, position = self._store.begin_watch(target.resource, selection, since, list_first=streams)
        except ApiError as error:
            if error.reason != "Expired":
                raise
            refusal, first, position = error, [], 0
        return WatchReply(
            resource=target.resource,
            selection=selection,
            first=first,
            position=position,
            timeout_seconds=_whole_number(request, "timeoutSeconds"),
            bookmarks=request.flag("allowWatchBookmarks"),
            accepted=accepted,
            include_object=request.query.get("includeObject", "Metadata"),
            refusal=refusal,
            list_ends_at=self._store.resource_version if streams else None,
        )


def _streams_list(request: Request) -> bool:
    """Whether a watch begins with all objects and a bookmark behind them (KEP 3157).

    Raises ApiError for the combinations that the API does not allow (Kubernetes API concepts, "Streaming lists").
    """
    asked = request.query.get("sendInitialEvents", "")
    match = request.query.get("resourceVersionMatch", "")
    if not asked:
        if match:
            raise invalid_options("resourceVersionMatch", "resourceVersionMatch is forbidden for watch")
        return False
    if match != "NotOlderThan":
        raise invalid_options(
            "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        )
    streams = request.flag("sendInitialEvents")
    if streams and not request.flag("allowWatchBookmarks"):
        raise invalid_options("allowWatchBookmarks", "sendInitialEvents requires allowWatchBookmarks")
    return streams


def _whole_number(request: Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if not text:
        return None
    if not text.isdigit():
        raise bad_request(f'the query parameter {name} must be a whole number, not "{text}"')
    return int(text)


def _make_token(chunk: Chunk) -> str:
    return urlsafe_b64encode(msgspec.json.encode(chunk)).decode().rstrip("=")


def _read_token(token: str) -> Chunk:
    try:
        padded = token + "=" * (-len(token) % 4)
        return msgspec.json.decode(urlsafe_b64decode(padded), type=Chunk)
    except ValueError as cause:
        raise bad_request(f"continue key is not valid: {cause}") from cause
