"""The lab's Kubernetes API server: small, real, in memory.

It speaks enough of the Kubernetes API over TLS that the stock `kubectl` and the agent's ordinary client work
against it. The control plane of the lab lives in the same process and works through `Store`. It must never decide what
a cluster should look like (no controller, no allocation of addresses): it keeps objects, checks them, and tells who
watches.
"""

from __future__ import annotations

from antrea_proxy.lab.api_server.admission import Admission, Operation
from antrea_proxy.lab.api_server.errors import ApiError, FieldError, FieldErrorKind
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import RESOURCES, Resource
from antrea_proxy.lab.api_server.store import Store

__all__ = [
    "RESOURCES",
    "Admission",
    "ApiError",
    "Event",
    "EventType",
    "FieldError",
    "FieldErrorKind",
    "Operation",
    "Resource",
    "Store",
]
