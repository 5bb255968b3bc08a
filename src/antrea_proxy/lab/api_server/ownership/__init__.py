"""Server-side apply: who owns which field of an object, and what follows for a write. Pure; keeps nothing."""

from __future__ import annotations

from antrea_proxy.lab.api_server.ownership.claims import after_apply, after_update, owned_fields
from antrea_proxy.lab.api_server.ownership.managers import (
    Manager,
    Managers,
    Operation,
    Share,
    read_managers,
    write_managers,
)

__all__ = [
    "Manager",
    "Managers",
    "Operation",
    "Share",
    "after_apply",
    "after_update",
    "owned_fields",
    "read_managers",
    "write_managers",
]
