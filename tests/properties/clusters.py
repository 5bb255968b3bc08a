"""Random clusters, small enough that conflicts and overlaps are common."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from properties.service_rules import Place

Json = dict[str, Any]

NODES = ("node-1", "node-2", "node-3")
V4 = [f"10.10.{node}.{host}" for node in (1, 2, 3) for host in (2, 3)] + ["10.96.0.1"]
V6 = [f"fd00:10:{node}::{host}" for node in (1, 2, 3) for host in (2, 3)]
CLUSTER_IPS = ["10.96.0.1", "10.96.0.2", "fd00:96::1", "fd00:96::2"]
EXTERNAL_IPS = ["192.0.2.1", "2001:db8::1", "2001:DB8:0::1", "10.96.0.1", "fd00:96::1"]
"""Of load balancers and external IPs; some are other Services' ClusterIPs, and one stands in two ways of writing."""

SERVICE_NAMES = "abc"
SLICE_NAMES = tuple(f"slice-{number}" for number in range(5))

CONDITIONS: list[Json] = [
    {"ready": True, "serving": True, "terminating": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
    {"ready": False, "serving": False, "terminating": False},
    {"ready": False},
    {"ready": None, "serving": None},
    {"ready": True, "serving": True, "terminating": True},
    {},
]
_hints = st.sampled_from(
    [
        *[{"forZones": [{"name": "zone-1"}]}] * 3,
        *[{"forZones": [{"name": "zone-2"}]}] * 3,
        {"forZones": [{"name": "zone-1"}, {"name": "zone-2"}]},
        {"forZones": [{"name": "zone-1"}], "forNodes": [{"name": "node-1"}]},
        {"forZones": [{"name": "zone-2"}], "forNodes": [{"name": "node-2"}]},
        {"forNodes": [{"name": "node-1"}]},
        {"forZones": [{"name": "nowhere"}]},
    ]
)
_policies = st.sampled_from(["Cluster", "Local"])
_ranges = st.lists(
    st.sampled_from(
        ["10.10.1.0/24", "10.10.0.0/16", "203.0.113.0/24", "0.0.0.0/0", "fd00:10::/32", "::/0", "nonsense"]
    ),
    max_size=3,
)
_affinities = st.sampled_from([None, None, 1, 30, 10_800, 86_400, 0, 86_401])
_ingress = st.lists(
    st.builds(
        lambda address, mode: {"ip": address} | ({"ipMode": mode} if mode else {}),
        st.sampled_from(EXTERNAL_IPS),
        st.sampled_from(["", "VIP", "Proxy"]),
    ),
    max_size=3,
)
_labels: st.SearchStrategy[Json] = st.sampled_from(
    [
        *[{}] * 10,
        {"service.kubernetes.io/headless": ""},
        {"service.kubernetes.io/service-proxy-name": "x"},
    ]
)
places = st.sampled_from(
    [
        *[Place()] * 4,
        *[Place(proxy_all=True)] * 6,
        Place(load_balancer_ips=False),
        Place(proxy_name="x"),
        Place(skipped=frozenset({"default/a", "10.96.0.2"})),
        Place(off=True),
        Place(zone=""),
    ]
)
"""Mostly the usual antrea-agent.conf and proxyAll, and others with one key that decides about Services."""


def _ports(*ports: tuple[str, str, int]) -> list[Json]:
    return [{"name": name, "protocol": protocol, "port": number} for name, protocol, number in ports]


_service_ports = [
    *[_ports(("http", "TCP", 80))] * 3,
    *[_ports(("http", "TCP", 80), ("dns", "UDP", 80))] * 2,
    _ports(("http", "TCP", 80), ("dns", "TCP", 443)),
    _ports(("http", "TCP", 443)),
    _ports(("http", "TCP", 70_000), ("dns", "UDP", 80)),
    _ports(("http", "TCP", 0)),
]
_slice_ports = [
    *[_ports(("http", "TCP", 8080), ("dns", "UDP", 5353))] * 3,
    _ports(("http", "TCP", 80)),
    _ports(("dns", "TCP", 5353)),
    _ports(("http", "TCP", 8081), ("dns", "TCP", 5353), ("dns", "UDP", 5354)),
    [],
]
_cluster_ips = st.lists(st.sampled_from(CLUSTER_IPS), unique=True, min_size=1, max_size=2)


@st.composite
def services(draw: st.DrawFn) -> list[Json]:
    """Up to three Services, some headless or of another proxy, that may claim the same addresses."""
    names = draw(st.lists(st.sampled_from(SERVICE_NAMES), unique=True, min_size=1, max_size=3))
    return [draw(service(name)) for name in names]


@st.composite
def service(draw: st.DrawFn, name: str) -> Json:
    """A Service of that name, of any type."""
    kind = draw(st.sampled_from(["ClusterIP"] * 3 + ["LoadBalancer"] * 4 + ["NodePort", "ExternalName"]))
    ports = [dict(port) for port in draw(st.sampled_from(_service_ports))]
    addresses = draw(_cluster_ips)
    spec: Json = {"type": kind, "ports": ports, "internalTrafficPolicy": draw(_policies)}
    if draw(st.integers(0, 9)):
        spec |= {"clusterIP": addresses[0], "clusterIPs": addresses}
    else:
        spec |= {"clusterIP": "None", "clusterIPs": ["None"]}
    if (seconds := draw(_affinities)) is not None:
        spec |= {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}}
    status: Json = {}
    if kind in {"LoadBalancer", "NodePort"}:
        spec["externalTrafficPolicy"] = draw(_policies)
        for place, port in enumerate(ports):
            port["nodePort"] = 30_000 + 10 * SERVICE_NAMES.index(name) + place
    if kind == "LoadBalancer":
        spec["loadBalancerSourceRanges"] = draw(_ranges)
        status = {"loadBalancer": {"ingress": draw(_ingress)}}
    if draw(st.booleans()):
        spec["externalIPs"] = draw(st.lists(st.sampled_from(EXTERNAL_IPS), max_size=2))
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": draw(_labels),
            "creationTimestamp": f"2026-01-0{draw(st.integers(1, 3))}T00:00:00Z",
        },
        "spec": spec,
        "status": status,
    }


@st.composite
def slices(draw: st.DrawFn) -> list[Json]:
    """Up to five EndpointSlices, which may overlap, of Services that may not exist."""
    return [draw(endpoint_slice(name)) for name in SLICE_NAMES[: draw(st.integers(0, len(SLICE_NAMES)))]]


@st.composite
def endpoint_slice(draw: st.DrawFn, name: str) -> Json:
    """An EndpointSlice of that name. Some hold an endpoint of the other family, and some are of type FQDN."""
    family = draw(st.sampled_from(["IPv4"] * 7 + ["IPv6"] * 3 + ["FQDN"]))
    choice = {"IPv4": [*V4, V6[0]], "IPv6": [*V6, V4[0]], "FQDN": ["a.example"]}[family]
    always: Json = {"addresses": st.sampled_from(choice).map(lambda address: [address])}
    if draw(st.booleans()):
        always["hints"] = _hints
    optional = {"conditions": st.sampled_from(CONDITIONS), "nodeName": st.sampled_from(NODES), "hints": _hints}
    endpoints = draw(
        st.lists(
            st.fixed_dictionaries(
                always, optional={key: value for key, value in optional.items() if key not in always}
            ),
            min_size=1,
            max_size=4,
        )
    )
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": draw(st.sampled_from("aaabbbccd"))},
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": draw(st.sampled_from(_slice_ports)),
    }
