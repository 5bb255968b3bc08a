"""From a Service and its Pods to EndpointSlices, as kube-controller-manager's endpointslice controller does. Pure.

Source: kubernetes `staging/src/k8s.io/endpointslice` (reconciler, utils, trafficdist), KEP 752, 1672, 2433, 3015, 4444.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from antrea_proxy.lab.control_plane.pod_views import PodView

JsonObject = dict[str, Any]
MOST_ENDPOINTS: Final = 100
MANAGER: Final = "endpointslice-controller.k8s.io"
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
MANAGED_BY_LABEL: Final = "endpointslice.kubernetes.io/managed-by"
HEADLESS_LABEL: Final = "service.kubernetes.io/headless"
_SAME_ZONE: Final = frozenset({"PreferClose", "PreferSameZone"})
_SAME_NODE: Final = "PreferSameNode"

PortKey = tuple[tuple[str, str, int, str], ...]
"""Name, protocol, number and appProtocol of each port of a slice, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceChanges:
    """What to write; objects are whole, updated ones with their metadata."""

    create: tuple[JsonObject, ...] = ()
    update: tuple[JsonObject, ...] = ()
    delete: tuple[str, ...] = ()


def reconcile(
    service: JsonObject, pods: Iterable[PodView], zones: Mapping[str, str], slices: Sequence[JsonObject]
) -> SliceChanges:
    """Say what changes the Service's slices need; `slices` are those that this controller manages.

    An endpoint stays in the slice where it is, a slice that needs no change is not written, and what is new fills
    slices that change anyway, then others with room, then new ones.
    """
    families = [family for family in service["spec"].get("ipFamilies") or () if family in {"IPv4", "IPv6"}]
    wanted = _wanted(service, families, pods, zones)
    groups: dict[tuple[str, PortKey], list[JsonObject]] = {}
    for found in slices:
        groups.setdefault((found["addressType"], _key_of(found)), []).append(found)
    create: list[JsonObject] = []
    update: list[JsonObject] = []
    delete: list[str] = []
    labels = _labels(service)
    for place, present in groups.items():
        if place not in wanted:
            delete += [found["metadata"]["name"] for found in present]
    for (family, ports), endpoints in wanted.items():
        new, changed, gone = _reconcile_group(groups.get((family, ports), []), endpoints, labels)
        create += [_new_slice(service, family, ports, part, labels) for part in new]
        update += changed
        delete += gone
    return SliceChanges(create=tuple(create), update=tuple(update), delete=tuple(delete))


def _wanted(
    service: JsonObject, families: Sequence[str], pods: Iterable[PodView], zones: Mapping[str, str]
) -> dict[tuple[str, PortKey], dict[str, JsonObject]]:
    """Give the endpoints, by Pod, that the slices of each address type and list of ports must hold."""
    wanted: dict[tuple[str, PortKey], dict[str, JsonObject]] = {}
    for pod in pods:
        for family in families if not pod.finished else ():
            if endpoint := endpoint_of(service, pod, family, zones):
                wanted.setdefault((family, _ports_for(service["spec"], pod)), {})[pod.uid] = endpoint
    for family in families:
        if not any(address_type == family for address_type, _ in wanted):
            wanted[family, ()] = {}  # a placeholder tells that there is no endpoint
    return wanted


def endpoint_of(service: JsonObject, pod: PodView, family: str, zones: Mapping[str, str]) -> JsonObject | None:
    """Give the endpoint that a Pod is in a family; None where it has no address there."""
    address = next((ip for ip in pod.ips if f"IPv{ip_address(ip).version}" == family), None)
    if address is None:
        return None
    spec = service["spec"]
    ready = bool(spec.get("publishNotReadyAddresses")) or (pod.ready and not pod.terminating)
    endpoint: JsonObject = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": pod.ready, "terminating": pod.terminating},
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
    }
    if pod.hostname and pod.subdomain == service["metadata"]["name"]:
        endpoint["hostname"] = pod.hostname
    zone = zones.get(pod.node, "")
    if pod.node:
        endpoint["nodeName"] = pod.node
    if zone:
        endpoint["zone"] = zone
    if ready and (hints := _hints(spec.get("trafficDistribution"), pod.node, zone)):
        endpoint["hints"] = hints
    return endpoint


def _hints(distribution: str | None, node: str, zone: str) -> JsonObject:
    hints: JsonObject = {}
    if zone and (distribution in _SAME_ZONE or distribution == _SAME_NODE):
        hints["forZones"] = [{"name": zone}]
    if node and distribution == _SAME_NODE:
        hints["forNodes"] = [{"name": node}]
    return hints


def _ports_for(spec: JsonObject, pod: PodView) -> PortKey:
    """Give the slice's ports for a Pod; a named target port that the Pod lacks is left out."""
    found = []
    for port in spec.get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort")
        number = pod.ports.get((target, protocol)) if isinstance(target, str) else target
        if number:
            found.append((port.get("name") or "", protocol, int(number), port.get("appProtocol") or ""))
    return tuple(found)


def _key_of(found: JsonObject) -> PortKey:
    return tuple(
        (port.get("name") or "", port.get("protocol") or "TCP", port.get("port") or 0, port.get("appProtocol") or "")
        for port in found.get("ports") or ()
    )


def _reconcile_group(
    present: Sequence[JsonObject], endpoints: Mapping[str, JsonObject], labels: Mapping[str, str]
) -> tuple[list[list[JsonObject]], list[JsonObject], list[str]]:
    """Give the contents of new slices, the changed slices and the names of those to delete."""
    missing = dict(endpoints)
    kept: dict[str, list[JsonObject]] = {}
    objects = {found["metadata"]["name"]: found for found in present}
    touched: set[str] = set()
    for name, found in objects.items():
        former = found.get("endpoints") or []
        kept[name] = [
            missing.pop(uid) for endpoint in former if (uid := (endpoint.get("targetRef") or {}).get("uid")) in missing
        ]
        if kept[name] != former:
            touched.add(name)
    # What is new goes into slices that are written anyway, whole slices are made new, and the rest goes where it fits.
    for name in objects:
        if name in touched:
            _fill(kept[name], missing)
    new: list[list[JsonObject]] = []
    while missing:
        name = _fullest_with_room(kept, len(missing))
        if name:
            touched.add(name)
            _fill(kept[name], missing)
        else:
            new.append([])
            _fill(new[-1], missing)
    empty = [name for name in objects if not kept[name]]
    if not endpoints:  # one placeholder stays, or is made
        if empty:
            empty = empty[1:]
        else:
            new.append([])
    changed = [
        {**found, "metadata": {**found["metadata"], "labels": dict(labels)}, "endpoints": kept[name]}
        for name, found in objects.items()
        if name not in empty and (name in touched or (found["metadata"].get("labels") or {}) != labels)
    ]
    return new, changed, empty


def _fill(target: list[JsonObject], missing: dict[str, JsonObject]) -> None:
    while missing and len(target) < MOST_ENDPOINTS:
        target.append(missing.pop(next(iter(missing))))


def _fullest_with_room(kept: Mapping[str, list[JsonObject]], count: int) -> str:
    """Find the fullest slice that has room for `count` more; empty where none has."""
    fitting = [(len(endpoints), name) for name, endpoints in kept.items() if len(endpoints) + count <= MOST_ENDPOINTS]
    return max(fitting)[1] if fitting else ""


def _labels(service: JsonObject) -> dict[str, str]:
    labels = dict(service["metadata"].get("labels") or {})
    labels[SERVICE_NAME_LABEL] = service["metadata"]["name"]
    labels[MANAGED_BY_LABEL] = MANAGER
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    else:
        labels.pop(HEADLESS_LABEL, None)
    return labels


def _new_slice(
    service: JsonObject, family: str, ports: PortKey, endpoints: list[JsonObject], labels: Mapping[str, str]
) -> JsonObject:
    metadata = service["metadata"]
    return {
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": dict(labels),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [
            {"name": name, "protocol": protocol, "port": number} | ({"appProtocol": application} if application else {})
            for name, protocol, number, application in ports
        ],
    }
