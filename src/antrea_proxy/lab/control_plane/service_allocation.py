"""Gives Services their ClusterIPs, node ports and health-check ports, with the API's own refusals.

An admission hook: it decides from an index of what is taken, which an observer of the store keeps, so a write that is
refused later, or a dry run, takes nothing. Source: kubernetes `pkg/registry/core/service/storage/alloc.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from antrea_proxy.lab.addressing import Network
from antrea_proxy.lab.api_server.admission import Operation
from antrea_proxy.lab.api_server.errors import FieldError, FieldErrorKind, invalid, invalid_value
from antrea_proxy.lab.api_server.records import Event, EventType
from antrea_proxy.lab.api_server.resources import SERVICES
from antrea_proxy.lab.control_plane.pools import Pool, address_of, address_pool
from antrea_proxy.lab.control_plane.service_families import HEADLESS, complete_families

JsonObject = dict[str, Any]
NODE_PORTS = (30_000, 32_767)
_ALLOCATED_PORT = "provided port is already allocated"


class ServiceAllocator:
    """Register `admit` as admission hook and `observe` as observer of Services."""

    def __init__(self, ranges: Sequence[Network]) -> None:
        self._ranges = {f"IPv{network.version}": network for network in ranges}
        self._addresses = {family: address_pool(network) for family, network in self._ranges.items()}
        self._ports = Pool(first=NODE_PORTS[0], last=NODE_PORTS[1])

    def observe(self, event: Event) -> None:
        """Follow what the store keeps."""
        owner = event.record.uid
        if event.previous is not None:
            self._each(event.previous.object["spec"], owner, release=True)
        if event.type is not EventType.DELETED:
            self._each(event.object["spec"], owner, release=False)

    def admit(self, operation: Operation, new: JsonObject, old: JsonObject | None) -> JsonObject:  # noqa: ARG002 - the form of a hook
        """Complete a Service.

        Raises ApiError (422) where an address or port cannot be had.
        """
        if operation is Operation.DELETE:
            return new
        spec = new["spec"]
        if spec.get("type") == "ExternalName":
            return new
        errors = complete_families(spec, list(self._ranges))
        if not errors:
            owner = new["metadata"]["uid"]
            errors = self._give_addresses(spec, owner) + self._give_ports(spec, owner)
        if errors:
            raise invalid(SERVICES, new["metadata"]["name"], errors)
        return new

    def _each(self, spec: JsonObject, owner: str, *, release: bool) -> None:
        for address in spec.get("clusterIPs") or ():
            if address != HEADLESS and (pool := self._pool_of(address)) is not None:
                (pool.release if release else pool.hold)(int(ip_address(address)), owner)
        for port in (*(p.get("nodePort") for p in spec.get("ports") or ()), spec.get("healthCheckNodePort")):
            if port:
                (self._ports.release if release else self._ports.hold)(port, owner)

    def _pool_of(self, address: str) -> Pool | None:
        return self._addresses.get(f"IPv{ip_address(address).version}")

    def _give_addresses(self, spec: JsonObject, owner: str) -> list[FieldError]:
        if spec.get("clusterIP") == HEADLESS or (spec.get("clusterIPs") or [""])[0] == HEADLESS:
            spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
            return []
        given = list(spec.get("clusterIPs") or ())
        for index, family in enumerate(spec["ipFamilies"]):
            if index < len(given):
                problem = self._why_not_address(given[index], family, owner)
                if problem:
                    detail = f"failed to allocate IP {given[index]}: {problem}"
                    return [invalid_value("spec.clusterIPs", given, detail)]
            else:
                number = self._addresses[family].next_free()
                if number is None:
                    detail = f"failed to allocate a serviceIP: range is full: {self._ranges[family]}"
                    return [FieldError("spec.clusterIPs", FieldErrorKind.INTERNAL, detail=detail)]
                given.append(str(address_of(number, self._ranges[family])))
        spec["clusterIPs"], spec["clusterIP"] = given, given[0]
        return []

    def _why_not_address(self, address: str, family: str, owner: str) -> str:
        number = int(ip_address(address))
        pool = self._addresses[family]
        if number not in pool:
            network = self._ranges[family]
            return f"the provided IP ({address}) is not in the valid range. The range of valid IPs is {network}"
        return "" if pool.is_free(number, owner) else "provided IP is already allocated"

    def _give_ports(self, spec: JsonObject, owner: str) -> list[FieldError]:
        errors: list[FieldError] = []
        kind = spec["type"]
        wants = kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True))
        chosen: dict[int, set[str]] = {}
        by_service_port: dict[int, int] = {}
        ports = spec.get("ports") or () if kind in {"NodePort", "LoadBalancer"} else ()
        for index, port in enumerate(ports):
            number = port.get("nodePort")
            if number:
                if not self._ports.is_free(number, owner):
                    errors.append(invalid_value(f"spec.ports[{index}].nodePort", number, _ALLOCATED_PORT))
                chosen.setdefault(number, set()).add(port["protocol"])
                by_service_port.setdefault(port["port"], number)
        for port in ports if wants else ():
            if port.get("nodePort"):
                continue
            # The same port of two protocols gets the same node port, as far as it can.
            shared = by_service_port.get(port["port"])
            if shared is not None and port["protocol"] not in chosen[shared]:
                number = shared
            else:
                number = self._ports.next_free(chosen)
            if number is None:
                detail = "failed to allocate a nodePort: range is full"
                return [*errors, FieldError("spec.ports", FieldErrorKind.INTERNAL, detail=detail)]
            port["nodePort"] = number
            chosen.setdefault(number, set()).add(port["protocol"])
            by_service_port.setdefault(port["port"], number)
        return errors + self._give_health_check_port(spec, owner, chosen)

    def _give_health_check_port(self, spec: JsonObject, owner: str, chosen: dict[int, set[str]]) -> list[FieldError]:
        if spec["type"] != "LoadBalancer" or spec.get("externalTrafficPolicy") != "Local":
            return []
        number = spec.get("healthCheckNodePort")
        if number:
            if self._ports.is_free(number, owner, chosen):
                return []
            detail = f"failed to allocate requested HealthCheck NodePort {number}: {_ALLOCATED_PORT}"
            return [invalid_value("spec.healthCheckNodePort", number, detail)]
        spec["healthCheckNodePort"] = self._ports.next_free(chosen)
        return []
