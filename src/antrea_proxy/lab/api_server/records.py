"""What the store keeps of an object, and what it tells watchers: bytes that nobody can change behind its back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

import msgspec

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.resources import Resource

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder()


def encode(obj: JsonObject) -> bytes:
    """Encode an object as JSON."""
    return _ENCODER.encode(obj)


def decode(data: bytes) -> JsonObject:
    """Decode an object from JSON that the store has encoded itself."""
    return cast("JsonObject", _DECODER.decode(data))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Record:
    """One version of one object."""

    namespace: str
    """Empty for objects outside of namespaces."""
    name: str
    uid: str
    resource_version: int
    labels: dict[str, str]
    owners: tuple[str, ...]
    """UIDs of metadata.ownerReferences."""
    encoded: bytes = field(repr=False)

    @property
    def object(self) -> JsonObject:
        """A copy of the object, decoded anew at every call: the caller may change it."""
        return decode(self.encoded)

    @property
    def key(self) -> tuple[str, str]:
        """Where lists sort the object: by namespace, then by name."""
        return (self.namespace, self.name)


def make_record(obj: JsonObject) -> Record:
    """Freeze an object whose metadata is complete."""
    metadata = obj["metadata"]
    return Record(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        labels=dict(metadata.get("labels") or {}),
        owners=tuple(reference["uid"] for reference in metadata.get("ownerReferences") or ()),
        encoded=encode(obj),
    )


class EventType(StrEnum):
    """What happened to an object, in the API's words."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Event:
    """One change, as watchers are told it. A bookmark's record holds no more than the resourceVersion."""

    type: EventType
    resource: Resource
    record: Record
    previous: Record | None = None
    """The version before, for selectors that the object has begun or ceased to match."""

    @property
    def resource_version(self) -> int:
        """The moment of the change."""
        return self.record.resource_version

    @property
    def object(self) -> JsonObject:
        """A copy of the object after the change (before it, for DELETED), decoded anew at every call."""
        return self.record.object

    @property
    def line(self) -> bytes:
        """The event as a line of a watch stream."""
        return b'{"type":"%b","object":%b}\n' % (self.type.encode(), self.record.encoded)
