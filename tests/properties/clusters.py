"""Random clusters, small enough that conflicts and overlaps are common."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NODES = ("node-1", "node-2", "node-3")
V4 = [f"10.10.{node}.{host}" for node in (1, 2, 3) for host in (2, 3)] + ["10.96.0.1"]
V6 = [f"fd00:10:{node}::{host}" for node in (1, 2, 3) for host in (2, 3)]
CLUSTER_IPS = ["10.96.0.1", "10.96.0.2", "fd00:96::1", "fd00:96::2"]

_conditions = st.sampled_from(
    [
        {"ready": True, "serving": True, "terminating": False},
        {"ready": False, "serving": True, "terminating": True},
        {"ready": False, "serving": False, "terminating": True},
        {"ready": False, "serving": False, "terminating": False},
        {"ready": False},
        {"ready": None, "serving": None},
        {},
    ]
)
_names_and_protocols = st.sampled_from(
    [("http", "TCP"), ("http", "TCP"), ("http", "TCP"), ("dns", "UDP"), ("dns", "TCP")]
)


_hints = st.sampled_from(
    [
        {"forZones": [{"name": "zone-1"}]},
        {"forZones": [{"name": "zone-2"}]},
        {"forZones": [{"name": "zone-1"}, {"name": "zone-2"}]},
        {"forZones": [{"name": "zone-1"}], "forNodes": [{"name": "node-1"}]},
        {"forZones": [{"name": "zone-2"}], "forNodes": [{"name": "node-2"}]},
        {"forNodes": [{"name": "node-1"}]},
    ]
)


def _ports(numbers: list[int]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda what, number: {"name": what[0], "protocol": what[1], "port": number},
        _names_and_protocols,
        st.sampled_from(numbers),
    )


@st.composite
def services(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to four Services, some headless or of another proxy, that may claim the same ClusterIP."""
    names = draw(st.lists(st.sampled_from("abcd"), unique=True, min_size=1, max_size=4))
    return [draw(_service(name)) for name in names]


@st.composite
def _service(draw: st.DrawFn, name: str) -> dict[str, Any]:
    ports = draw(
        st.lists(
            _ports([80, 80, 80, 443, 0, 70000]),
            min_size=1,
            max_size=2,
            unique_by=(lambda port: port["name"], lambda port: (port["port"], port["protocol"])),
        )
    )
    addresses = draw(st.lists(st.sampled_from(CLUSTER_IPS), unique=True, min_size=1, max_size=2))
    spec: dict[str, Any] = {
        "type": draw(st.sampled_from(["ClusterIP", "ClusterIP", "ClusterIP", "ExternalName"])),
        "ports": ports,
        "internalTrafficPolicy": draw(st.sampled_from(["Cluster", "Local"])),
    }
    if draw(st.booleans()) or draw(st.booleans()):
        spec |= {"clusterIP": addresses[0], "clusterIPs": addresses}
    else:
        spec |= {"clusterIP": "None", "clusterIPs": ["None"]}
    labels = draw(
        st.sampled_from(
            [{}, {}, {}, {"service.kubernetes.io/headless": ""}, {"service.kubernetes.io/service-proxy-name": "x"}]
        )
    )
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": labels,
            "creationTimestamp": f"2026-01-0{draw(st.integers(1, 3))}T00:00:00Z",
        },
        "spec": spec,
    }


@st.composite
def slices(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to five EndpointSlices, which may overlap, of Services that may not exist."""
    return [draw(_slice(f"slice-{index}")) for index in range(draw(st.integers(0, 5)))]


@st.composite
def _slice(draw: st.DrawFn, name: str) -> dict[str, Any]:
    family = draw(st.sampled_from(["IPv4", "IPv6"]))
    endpoints = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "addresses": st.sampled_from(V4 if family == "IPv4" else V6).map(lambda address: [address]),
                    "conditions": _conditions,
                },
                optional={"nodeName": st.sampled_from(NODES), "hints": _hints},
            ),
            max_size=4,
        )
    )
    ports = draw(
        st.lists(
            _ports([80, 8080, 5353]),
            max_size=2,
            unique_by=lambda port: (port["name"], port["protocol"]),
        )
    )
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": draw(st.sampled_from("aabbcde"))},
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports,
    }
