"""IP families of a Service: what the API fills in, and what it refuses. Pure.

Source: kubernetes `pkg/registry/core/service/storage/alloc.go`, initIPFamilyFields (KEP 563).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from antrea_proxy.lab.api_server.errors import FieldError, invalid_value

JsonObject = dict[str, Any]
HEADLESS = "None"
_DUAL = 2


def family_of(address: str) -> str:
    """Give the family of an address, in the API's words."""
    return f"IPv{ip_address(address).version}"


def complete_families(spec: JsonObject, cluster: Sequence[str]) -> list[FieldError]:
    """Fill in ipFamilyPolicy and ipFamilies from what is there; `cluster` is the cluster's families, the first first.

    Gives what is wrong instead, where something is.
    """
    addresses = [address for address in spec.get("clusterIPs") or () if address and address != HEADLESS]
    families = list(spec.get("ipFamilies") or ())
    errors = [
        invalid_value(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(families)
        if family not in cluster
    ]
    for index, address in enumerate(addresses):
        family = family_of(address)
        if index < len(families) and families[index] != family:
            detail = f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
            errors.append(invalid_value(f"spec.clusterIPs[{index}]", address, detail))
        elif family not in cluster:
            detail = f"the cluster has no range of {family} for Services"
            errors.append(invalid_value(f"spec.clusterIPs[{index}]", address, detail))
    if errors:
        return errors
    for index, address in enumerate(addresses):
        if index >= len(families):
            families.append(family_of(address))
    return _complete_policy(spec, families, cluster, wanted=max(len(addresses), len(families)))


def _complete_policy(spec: JsonObject, families: list[str], cluster: Sequence[str], *, wanted: int) -> list[FieldError]:
    policy = spec.get("ipFamilyPolicy")
    without_endpoints_of_ours = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if not policy:
        # A headless Service without a selector is dual-stack everywhere: its endpoints are somebody else's.
        policy = (
            "RequireDualStack" if wanted == _DUAL or (without_endpoints_of_ours and not families) else "SingleStack"
        )
        if without_endpoints_of_ours and not families:
            families = [*cluster, *(family for family in ("IPv4", "IPv6") if family not in cluster)]
            spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families
            return []
    if policy == "SingleStack" and wanted == _DUAL:
        field, value = (
            ("clusterIPs", spec["clusterIPs"])
            if len(spec.get("clusterIPs") or ()) == _DUAL
            else ("ipFamilies", families)
        )
        return [
            invalid_value(f"spec.{field}", value, "may only hold up to 1 value when `ipFamilyPolicy` is 'SingleStack'")
        ]
    if policy == "RequireDualStack" and len(cluster) < _DUAL:
        return [invalid_value("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services")]
    if not families:
        families = [cluster[0]]
    if policy != "SingleStack":
        families += [family for family in cluster if family not in families]
    spec["ipFamilyPolicy"], spec["ipFamilies"] = policy, families
    return []
