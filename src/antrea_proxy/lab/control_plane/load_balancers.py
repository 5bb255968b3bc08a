"""The cloud's part of Services of type LoadBalancer: an address for each family, written into the status."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from antrea_proxy.lab.addressing import Network
from antrea_proxy.lab.api_server.errors import ApiError
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import SERVICES
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.control_plane.controller import Controller, Key
from antrea_proxy.lab.control_plane.events import EventRecorder
from antrea_proxy.lab.control_plane.pools import Pool, address_of, address_pool

JsonObject = dict[str, Any]


class LoadBalancerController:
    """Fills in status.loadBalancer.ingress where it is empty, and empties it when the type changes.

    `spec.loadBalancerIP` asks for an address: one of the lab's range that is free, or any outside of it. A Service with
    a loadBalancerClass is somebody else's; so is an ingress that is there already.
    """

    def __init__(self, store: Store, events: EventRecorder, ranges: Sequence[Network]) -> None:
        self._store = store
        self._events = events
        self._ranges = {f"IPv{network.version}": network for network in ranges}
        self._pools: dict[str, Pool] = {family: address_pool(network) for family, network in self._ranges.items()}
        self._waiting: set[Key] = set()
        self.controller = Controller("load-balancers", self._reconcile)
        store.add_observer(SERVICES, self._changed)

    def _changed(self, event: Event) -> None:
        owner = event.record.uid
        if event.previous is not None:
            for pool, number in self._ingress(event.previous.object):
                pool.release(number, owner)
        if event.type is EventType.DELETED:
            for key in self._waiting:
                self.controller.enqueue(key)
            return
        for pool, number in self._ingress(event.object):
            pool.hold(number, owner)
        self.controller.enqueue((event.record.namespace, event.record.name))

    def _ingress(self, service: JsonObject) -> list[tuple[Pool, int]]:
        addresses = [ip_address(entry["ip"]) for entry in _ingress_of(service) if entry.get("ip")]
        return [
            (self._pools[family], int(address))
            for address in addresses
            if (family := f"IPv{address.version}") in self._pools
        ]

    def _reconcile(self, key: Key) -> None:
        self._waiting.discard(key)
        try:
            service = self._store.get(SERVICES, *key)
        except ApiError:
            return
        spec, present = service["spec"], _ingress_of(service)
        if spec.get("loadBalancerClass"):
            return
        if spec.get("type") != "LoadBalancer":
            if present:
                self._write(key, [])
            return
        if present or service["metadata"].get("deletionTimestamp"):
            return
        ingress, problem = self._choose(service)
        if problem:
            self._waiting.add(key)
            self._events.record(
                SERVICES,
                service,
                kind="Warning",
                reason="SyncLoadBalancerFailed",
                message=f"Error syncing load balancer: {problem}",
                component="service-controller",
            )
            return
        self._write(key, ingress)
        self._events.record(
            SERVICES,
            service,
            kind="Normal",
            reason="EnsuredLoadBalancer",
            message="Ensured load balancer",
            component="service-controller",
        )

    def _choose(self, service: JsonObject) -> tuple[list[JsonObject], str]:
        spec, owner = service["spec"], service["metadata"]["uid"]
        asked = spec.get("loadBalancerIP")
        ingress: list[JsonObject] = []
        for family in spec.get("ipFamilies") or ():
            pool, network = self._pools[family], self._ranges[family]
            if asked and f"IPv{ip_address(asked).version}" == family:
                number = int(ip_address(asked))
                if number in pool and not pool.is_free(number, owner):
                    return [], f"the address {asked} of spec.loadBalancerIP is another Service's"
                ingress.append({"ip": asked, "ipMode": "VIP"})
                continue
            free = pool.next_free()
            if free is None:
                return [], f"the range {network} has no free address"
            ingress.append({"ip": str(address_of(free, network)), "ipMode": "VIP"})
        return ingress, ""

    def _write(self, key: Key, ingress: list[JsonObject]) -> None:
        def change(service: JsonObject) -> None:
            service["status"] = {
                **(service.get("status") or {}),
                "loadBalancer": {"ingress": ingress} if ingress else {},
            }

        self._store.modify(SERVICES, *key, change, subresource="status")


def _ingress_of(service: JsonObject) -> list[JsonObject]:
    return list(((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ())
