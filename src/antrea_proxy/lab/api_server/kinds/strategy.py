"""What one kind of object needs beyond what all have: defaults, what is reset, what is checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from antrea_proxy.lab.api_server.errors import FieldError, JsonObject
from antrea_proxy.lab.api_server.kinds.names import dns_subdomain_errors

Complete = Callable[[JsonObject], None]
CompleteChange = Callable[[JsonObject, JsonObject], None]
Check = Callable[[JsonObject], list[FieldError]]
CheckChange = Callable[[JsonObject, JsonObject], list[FieldError]]


def _nothing(_new: JsonObject) -> None:
    """Add no default."""


def _keep(_new: JsonObject, _old: JsonObject) -> None:
    """Reset nothing."""


def _accept(_new: JsonObject) -> list[FieldError]:
    return []


def _accept_change(_new: JsonObject, _old: JsonObject) -> list[FieldError]:
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """The rules of one kind; functions that complete change their first argument, `old` is never changed."""

    name_errors: Callable[[str], list[str]] = dns_subdomain_errors
    """What is wrong with a name, in the API's words."""
    default: Complete = _nothing
    """Fills in what the user left out; on create and update."""
    prepare_create: Complete = _nothing
    """Resets what a user may not say of a new object."""
    prepare_update: CompleteChange = _keep
    """Keeps what an update does not reach, such as the status."""
    validate: Check = _accept
    """On create and update."""
    validate_change: CheckChange = _accept_change
    """On update only: what may not change."""
