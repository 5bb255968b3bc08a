"""Who owns which fields of an object: the values of metadata.managedFields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from antrea_proxy.lab.api_server.errors import JsonObject
from antrea_proxy.lab.api_server.ownership.paths import Paths, from_fields_v1, to_fields_v1


class Operation(StrEnum):
    """How a manager writes: Apply says all that it wants, Update what it changes."""

    APPLY = "Apply"
    UPDATE = "Update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Whoever writes, by name; the same name is another manager with another operation or subresource."""

    name: str
    operation: Operation
    api_version: str
    subresource: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a manager owns, and when that changed last (metav1.Time)."""

    paths: Paths
    time: str


Managers = dict[Manager, Share]


def read_managers(entries: Iterable[JsonObject] | None) -> Managers:
    """Read metadata.managedFields. Raises ValueError where it is not of its form."""
    found: Managers = {}
    for entry in entries or ():
        if entry.get("fieldsType", "FieldsV1") != "FieldsV1":
            raise ValueError(f"fieldsType: {entry['fieldsType']!r}: must be FieldsV1")
        manager = Manager(
            name=entry.get("manager") or "",
            operation=Operation(entry.get("operation") or ""),
            api_version=entry.get("apiVersion") or "",
            subresource=entry.get("subresource") or "",
        )
        found[manager] = Share(paths=from_fields_v1(entry.get("fieldsV1") or {}), time=entry.get("time") or "")
    return found


def write_managers(managers: Managers) -> list[JsonObject]:
    """Give metadata.managedFields: those who apply first, then by time and name."""
    ordered = sorted(managers.items(), key=lambda item: (item[0].operation, item[1].time, item[0].name))
    return [_entry(manager, share) for manager, share in ordered if share.paths]


def _entry(manager: Manager, share: Share) -> JsonObject:
    entry: JsonObject = {
        "manager": manager.name,
        "operation": manager.operation.value,
        "apiVersion": manager.api_version,
    }
    if share.time:
        entry["time"] = share.time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(share.paths)}
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry
