"""What a write does to the ownership of an object's fields, and which writes are in conflict. Pure.

Source: kubernetes.io "Server-Side Apply", and sigs.k8s.io/structured-merge-diff `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from antrea_proxy.lab.api_server.errors import ApiError, JsonObject
from antrea_proxy.lab.api_server.ownership.last_applied import KUBECTL, last_applied, note_applied
from antrea_proxy.lab.api_server.ownership.leaves import Leaves, changed, gone, leaves
from antrea_proxy.lab.api_server.ownership.managers import Manager, Managers, Operation, Share
from antrea_proxy.lab.api_server.ownership.merging import merged, without
from antrea_proxy.lab.api_server.ownership.paths import Path, Paths, printed
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.schema import schema_of

_NOBODYS: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
"""Fields of metadata that are the server's own."""


_NOTHING: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Conflict:
    manager: Manager
    time: str
    path: Path

    @property
    def who(self) -> str:
        if self.manager.operation is Operation.APPLY:
            return f'"{self.manager.name}"'
        by = f' with subresource "{self.manager.subresource}"' if self.manager.subresource else ""
        at = f" at {self.time}" if self.time else ""
        return f'"{self.manager.name}"{by} using {self.manager.api_version}{at}'


def owned_fields(resource: Resource, obj: JsonObject, subresource: str = "", *, strict: bool = False) -> Leaves:
    """Give the fields of an object that a write of it, or of its subresource, is about, with their values.

    With `strict`, raises ValueError for lists whose items cannot be told apart.
    """
    if subresource == "status":
        about = {"metadata", "status"}
    else:
        about = set(obj) - {"apiVersion", "kind"} - ({"status"} if "status" in resource.subresources else set())
    part = {name: value for name, value in obj.items() if name in about}
    metadata = {name: value for name, value in (part.pop("metadata", None) or {}).items() if name not in _NOBODYS}
    if metadata:
        part["metadata"] = metadata
    return leaves(schema_of(resource.api_version, resource.kind), part, strict=strict)


def after_update(
    resource: Resource, old: JsonObject | None, new: JsonObject, managers: Managers, *, writer: Manager, now: str
) -> Managers:
    """Give the owners after an ordinary write: what is changed is the writer's alone, what is gone is nobody's."""
    before = owned_fields(resource, old, writer.subresource) if old is not None else {}
    after = owned_fields(resource, new, writer.subresource)
    taken, lost = changed(before, after), gone(before, after)
    left = _reduced(managers, {manager: taken | lost for manager in managers if manager != writer})
    own = managers[writer].paths if writer in managers else frozenset[Path]()
    return _with_share(left, writer, (own - lost) | taken, now)


def after_apply(
    resource: Resource,
    live: JsonObject | None,
    applied: JsonObject,
    managers: Managers,
    *,
    writer: Manager,
    force: bool,
    now: str,
) -> tuple[JsonObject, Managers]:
    """Give the object and its owners after a manager has applied all that it wants of an object.

    Raises ApiError: 409 where another manager owns a field that would get another value, unless `force` takes it from
    them; ValueError for lists whose items cannot be told apart.
    """
    fields = partial(owned_fields, resource, subresource=writer.subresource)
    wanted: Paths = frozenset(fields(applied, strict=True))
    others: Paths = frozenset().union(*(share.paths for manager, share in managers.items() if manager != writer))
    last = managers[writer].paths if writer in managers else frozenset[Path]()
    schema = schema_of(resource.api_version, resource.kind)
    new = without(schema, merged(schema, live or {}, applied), last - wanted - others, kept=wanted | others)
    before, after = fields(live or {}), fields(new)
    taken, lost = changed(before, after), gone(before, after)
    conflicts = [
        _Conflict(manager=manager, time=share.time, path=path)
        for manager, share in managers.items()
        if manager != writer
        for path in sorted(share.paths & taken)
    ]
    before_by_kubectl = last_applied(live) if live and writer.name == KUBECTL else None
    if before_by_kubectl is not None:
        as_applied = fields(before_by_kubectl)
        conflicts = [found for found in conflicts if as_applied.get(found.path, _NOTHING) != before[found.path]]
    if conflicts and not force:
        raise _refusal(conflicts)
    if before_by_kubectl is not None and _wanted(before_by_kubectl) != _wanted(applied):
        note_applied(new, applied)
    left = _reduced(managers, {manager: taken | lost for manager in managers if manager != writer})
    return new, _with_share(left, writer, wanted, now)


def _wanted(configuration: JsonObject) -> JsonObject:
    """Give a configuration without what kubectl adds or leaves out on the way."""
    metadata = {name: value for name, value in (configuration.get("metadata") or {}).items() if value}
    return {**configuration, "metadata": metadata}


def _reduced(managers: Managers, losses: dict[Manager, Paths]) -> Managers:
    found: Managers = {}
    for manager, share in managers.items():
        paths = share.paths - losses.get(manager, frozenset())
        if paths:
            found[manager] = share if paths == share.paths else Share(paths=paths, time=share.time)
    return found


def _with_share(managers: Managers, writer: Manager, paths: Paths, now: str) -> Managers:
    """Give the writer its share, whose time is that of its last change."""
    if not paths:
        return {manager: share for manager, share in managers.items() if manager != writer}
    if writer in managers and managers[writer].paths == paths:
        return managers
    return {**managers, writer: Share(paths=paths, time=now)}


def _refusal(conflicts: list[_Conflict]) -> ApiError:
    """Refuse as k8s.io/apimachinery `managedfields/internal` NewConflictError words it: kubectl prints it."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {found.who}", "field": printed(found.path)}
        for found in conflicts
    ]
    if len(conflicts) == 1:
        text = f"Apply failed with 1 conflict: conflict with {conflicts[0].who}: {printed(conflicts[0].path)}"
    else:
        text = f"Apply failed with {len(conflicts)} conflicts: {_by_manager(conflicts)}"
    return ApiError(HTTPStatus.CONFLICT, "Conflict", text, {"causes": causes})


def _by_manager(conflicts: Iterable[_Conflict]) -> str:
    paths: dict[str, list[Any]] = {}
    for found in conflicts:
        paths.setdefault(found.who, []).append(printed(found.path))
    return "\n".join(
        "\n".join([f"conflicts with {who}:", *(f"- {path}" for path in paths[who])]) for who in sorted(paths)
    )
