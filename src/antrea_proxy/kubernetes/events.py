"""What a source tells: a list of a kind first, a long one in pieces, then what happened to single objects of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from antrea_proxy.kubernetes.kinds import AnyKind, Kind, ObjectT_co
from antrea_proxy.kubernetes.names import NamespacedName


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecodable:
    """An object that is not of its kind's shape.

    `name` is what could be read of its namespace and name (either may be empty), `path` the field that is wrong, as
    `spec.ports[0].port`, empty for the object as a whole. `place` says where it was read, as `web.yaml, line 7`.
    """

    kind: AnyKind
    name: NamespacedName
    path: str
    reason: str
    resource_version: str = ""
    place: str = ""

    def __str__(self) -> str:
        name = str(self.name) if self.name.namespace else self.name.name or "without a name"
        where = f" ({self.place})" if self.place else ""
        field = f"{self.path}: " if self.path else ""
        return f"{self.kind} {name}{where}: {field}{self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[ObjectT_co]):
    """Some objects of a list that is still arriving; nothing can be said yet of those that are not among them."""

    kind: Kind[ObjectT_co]
    objects: tuple[ObjectT_co, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed(Generic[ObjectT_co]):
    """The end of a list, as of one resourceVersion.

    What is not among its objects, those `told_before` by a Listing, or the undecodable ones, is gone.
    """

    kind: Kind[ObjectT_co]
    objects: tuple[ObjectT_co, ...]
    resource_version: str
    told_before: frozenset[NamespacedName] = frozenset()
    undecodable: tuple[Undecodable, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Added(Generic[ObjectT_co]):
    """An object that is new to the watch."""

    kind: Kind[ObjectT_co]
    object: ObjectT_co


@dataclass(frozen=True, slots=True, kw_only=True)
class Modified(Generic[ObjectT_co]):
    """An object that is different from what it was."""

    kind: Kind[ObjectT_co]
    object: ObjectT_co


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """An object that is gone.

    Only its name: an object whose last state could not be decoded can be deleted too.
    """

    kind: AnyKind
    name: NamespacedName
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """Nothing happened up to this resourceVersion (Kubernetes API concepts, watch bookmarks).

    One that `ends_list` says that all objects that there were have been told as added (KEP 3157).
    """

    kind: AnyKind
    resource_version: str
    ends_list: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent:
    """The watch ends with a metav1.Status: code 410 means that its resourceVersion is too old."""

    kind: AnyKind
    code: int
    reason: str
    message: str


Change = Added[ObjectT_co] | Modified[ObjectT_co] | Deleted | Undecodable
WatchEvent = Change[ObjectT_co] | Bookmark | ErrorEvent
Event = Listing[ObjectT_co] | Listed[ObjectT_co] | Change[ObjectT_co]
"""What a source hands over."""
