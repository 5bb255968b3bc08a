"""Server-side apply, and metadata.managedFields of every object that a client has written."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from antrea_proxy.lab.api_server import errors
from antrea_proxy.lab.api_server.errors import ApiError, JsonObject
from antrea_proxy.lab.api_server.lifecycle import timestamp
from antrea_proxy.lab.api_server.ownership import (
    Manager,
    Managers,
    Operation,
    after_apply,
    after_update,
    read_managers,
    write_managers,
)
from antrea_proxy.lab.api_server.resources import Resource
from antrea_proxy.lab.api_server.store import Claim, Store
from antrea_proxy.lab.api_server.views import VIEWS

_WITHOUT_OWNERS: Final = frozenset({*VIEWS, *(view.source for view in VIEWS.values())})
"""Events: there are many, in two versions, and nobody shares one."""


class Applier:
    """Applies configurations to a store, and says of other writes whose they are."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, resource: Resource, writer: str, subresource: str | None) -> Claim | None:
        """Give what records an ordinary write; None for kinds whose fields have no owners."""
        if resource in _WITHOUT_OWNERS:
            return None
        manager = _manager(resource, writer, Operation.UPDATE, subresource)
        return update_claim(resource, manager, now=timestamp(self._store.now()))

    def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        applied: JsonObject,
        *,
        writer: str,
        force: bool,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> tuple[JsonObject, bool]:
        """Apply all that a manager wants of an object; gives the object, and whether it was made.

        Raises ApiError: 409 for a conflict with other managers, 400 for lists whose items cannot be told apart, and
        what `Store.create` and `Store.update` raise.
        """
        if resource in VIEWS or subresource == "scale":
            what = f"{resource.plural}/{subresource}" if subresource else f"{resource.plural} of {resource.api_version}"
            raise errors.bad_request(f"server-side apply of {what} is not built into the lab's API server")
        live = self._find(resource, namespace, name)
        metadata = applied["metadata"]
        if live is None:
            if subresource is not None:
                raise errors.not_found(resource, name)
            if metadata.get("uid") or metadata.get("resourceVersion"):
                raise errors.conflict(resource, name, "the object is not there, and uid or resourceVersion was given")
        managers = _known(live["metadata"].get("managedFields") if live else None)
        manager = _manager(resource, writer, Operation.APPLY, subresource)
        now = timestamp(self._store.now())
        try:
            new, managers = after_apply(resource, live, applied, managers, writer=manager, force=force, now=now)
        except ValueError as error:
            where = f"{namespace}/{name}" if resource.namespaced else f"/{name}"
            text = (
                f"failed to create typed patch object ({where}; {resource.api_version}, Kind={resource.kind}): {error}"
            )
            raise errors.bad_request(text) from error

        def claim(_new: JsonObject, _old: JsonObject | None) -> list[JsonObject]:
            return write_managers(managers)

        if live is None:
            return self._store.create(resource, new, dry_run=dry_run, claim=claim), True
        return self._store.update(resource, new, subresource=subresource, dry_run=dry_run, claim=claim), False

    def _find(self, resource: Resource, namespace: str | None, name: str) -> JsonObject | None:
        try:
            return self._store.get(resource, namespace or "", name)
        except ApiError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None


def update_claim(resource: Resource, manager: Manager, *, now: str) -> Claim:
    """Give what records an ordinary write of a manager.

    A client may write managedFields itself: kubectl does, where it takes to server-side apply. `[{}]` forgets all.
    """

    def claim(new: JsonObject, old: JsonObject | None) -> list[JsonObject]:
        given = new["metadata"].get("managedFields")
        if given == [{}]:
            return []
        known = old["metadata"].get("managedFields") if old else None
        return write_managers(after_update(resource, old, new, _known(given or known), writer=manager, now=now))

    return claim


def _known(entries: list[JsonObject] | None) -> Managers:
    try:
        return read_managers(entries)
    except ValueError as error:
        raise errors.bad_request(f"metadata.managedFields: {error}") from error


def _manager(resource: Resource, name: str, operation: Operation, subresource: str | None) -> Manager:
    return Manager(name=name, operation=operation, api_version=resource.api_version, subresource=subresource or "")


__all__ = ["Applier", "update_claim"]
