"""The labels and annotations that something here reads, by the names under which objects bear them."""

from __future__ import annotations

from typing import Final

SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
"""By which an EndpointSlice names its Service (discovery.k8s.io/v1)."""

ZONE_LABEL: Final = "topology.kubernetes.io/zone"
"""A Node's zone."""

HEADLESS_LABEL: Final = "service.kubernetes.io/headless"
PROXY_NAME_LABEL: Final = "service.kubernetes.io/service-proxy-name"
"""Of Services that a proxy is to leave alone: all proxies, or all but the one that is named."""

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""On the bookmark of a watch behind the last of the objects that it began with (KEP 3157)."""

MODE_ANNOTATION: Final = "service.antrea.io/load-balancer-mode"
"""The mode of one Service, nat or dsr, in place of defaultLoadBalancerMode (Antrea's)."""

TRIGGER_ANNOTATION: Final = "endpoints.kubernetes.io/last-change-trigger-time"
"""When what an EndpointSlice tells happened, in RFC 3339: a Pod became ready, say (written by its controller)."""

TRANSPORT_ANNOTATION: Final = "node.antrea.io/transport-addresses"
"""Where a Node's tunnels end, separated by commas, if not at its InternalIPs (Antrea's)."""
