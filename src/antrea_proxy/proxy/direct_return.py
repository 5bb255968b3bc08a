"""Direct server return (DSR): which Services ask for it, and how many endpoints each Node has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from antrea_proxy.kubernetes.cluster import ClusterState
from antrea_proxy.kubernetes.columns import address_text
from antrea_proxy.kubernetes.labels import MODE_ANNOTATION
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.proxy.endpoints import Candidates, Verdict
from antrea_proxy.proxy.frontends import Rules
from antrea_proxy.settings import LoadBalancerMode

_READY: Final = (Verdict.READY, Verdict.FOR_OTHER_NODES, Verdict.FOR_OTHER_ZONES)


def load_balancer_mode(service: Service, rules: Rules) -> tuple[LoadBalancerMode, str | None]:
    """Return the mode of a Service's external addresses, and what is wrong with the one that it asks for."""
    asked = service.metadata.annotations.load_balancer_mode
    if asked is None:
        return rules.default_mode, None
    where = f"metadata.annotations[{MODE_ANNOTATION}]: {asked!r}"
    if asked.lower() not in LoadBalancerMode.__members__.values():
        return rules.default_mode, f"{where}: must be nat or dsr; {rules.default_mode.value} applies"
    mode = LoadBalancerMode(asked.lower())
    if mode is LoadBalancerMode.DSR and not rules.direct_return:
        return LoadBalancerMode.NAT, f"{where}: the feature gate LoadBalancerModeDSR is off; nat applies"
    if mode is LoadBalancerMode.DSR and service.spec.type != "LoadBalancer" and not service.spec.external_ips:
        return LoadBalancerMode.NAT, f"{where}: is for load-balancer and external IPs, and the Service has none"
    return mode, None


def node_weights(candidates: Candidates, cluster: ClusterState, names: Sequence[str]) -> Mapping[str, int] | str:
    """Return how many usable endpoints each Node has, by its name, from all candidates of a load balancer.

    Every agent must come to the same: hints, which differ from Node to Node, do not count. Or return why the Service
    cannot do without translation: an endpoint that is no Pod of a known Node is not behind any Node's switch.
    """
    verdicts = candidates["verdict"]
    usable = [row for row, verdict in zip(candidates, verdicts.tolist(), strict=True) if verdict in _READY]
    if not usable:
        usable = [
            row
            for row, verdict in zip(candidates, verdicts.tolist(), strict=True)
            if verdict == Verdict.TERMINATING_BUT_SERVING
        ]
    weights: dict[str, int] = {}
    for row in usable:
        address, number = address_text(row["address"].tobytes()), int(row["node"])
        node = cluster.nodes.get(names[number]) if number >= 0 else None
        if node is None:
            return f"endpoint {address} is on no known Node"
        if any(item.address == address for item in node.status.addresses):
            return f"endpoint {address} is on the host network of Node {node.metadata.name}"
        weights[node.metadata.name] = weights.get(node.metadata.name, 0) + 1
    return weights
