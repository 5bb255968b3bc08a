"""How the control plane takes part when objects are written: hooks that complete or refuse them."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from antrea_proxy.lab.api_server.errors import JsonObject


class Operation(Enum):
    """What is about to happen to an object."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class Admission(Protocol):
    """A hook that sees every write of one resource after defaulting and validation, before it is kept.

    A hook is a plain function of the objects and of what the store holds. It must not record what it gave out: the
    store may still refuse the object, or may only have been asked for a dry run. To keep an index of what is taken,
    use `Store.add_observer`, which is told of what was kept.
    """

    def __call__(self, operation: Operation, new: JsonObject, old: JsonObject | None) -> JsonObject:
        """Give the object to keep: `new` itself, possibly changed.

        `old` is None on CREATE. On DELETE `new` and `old` are the object that goes, and the result is not used.
        Writes of the status subresource are not shown to hooks.

        Raises ApiError (see `errors.invalid`, `errors.forbidden`) to refuse the write.
        """
        ...
