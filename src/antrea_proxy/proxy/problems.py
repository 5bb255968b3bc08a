"""What can be wrong with a Service: a word for programs, a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why something of a Service is not served as it asks; a metric's label, and the reason of a Kubernetes Event."""

    INVALID_PORT = "InvalidPort"
    INVALID_PROTOCOL = "InvalidProtocol"
    UNSUPPORTED_PROTOCOL = "UnsupportedProtocol"
    INVALID_ADDRESS = "InvalidAddress"
    ADDRESS_CONFLICT = "AddressConflict"
    INVALID_SOURCE_RANGE = "InvalidSourceRange"
    INVALID_SESSION_AFFINITY = "InvalidSessionAffinity"
    INVALID_LOAD_BALANCER_MODE = "InvalidLoadBalancerMode"
    DIRECT_RETURN_IMPOSSIBLE = "DirectReturnImpossible"
    INVALID_ENDPOINT_SLICE = "InvalidEndpointSlice"
    HEALTH_CHECK_UNAVAILABLE = "HealthCheckUnavailable"
    REFUSED_BY_SWITCH = "RefusedBySwitch"
    ROUTE_TAKEN = "RouteTaken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a Service. `text` names the object, the field, the value and what to do."""

    reason: Reason
    text: str

    def __str__(self) -> str:
        return self.text
