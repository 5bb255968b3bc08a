"""The feature gates that Antrea knows: stages, defaults, and which of them decide something here.

Source: Antrea's pkg/features; defaults differ from it only where a gate's comment says so.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Stage(enum.StrEnum):
    """How mature a feature is, in the words of Kubernetes' component-base/featuregate."""

    ALPHA = "Alpha"
    BETA = "Beta"
    GA = "GA"
    DEPRECATED = "Deprecated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A feature gate. A locked one can only be set to its default; one that is not `used` decides nothing here."""

    default: bool
    stage: Stage
    locked: bool = False
    used: bool = False


def _unused(stage: Stage, *, default: bool) -> Gate:
    return Gate(default=default, stage=stage)


ALL_ALPHA = "AllAlpha"
ALL_BETA = "AllBeta"
GROUPS: Mapping[str, Stage] = {ALL_ALPHA: Stage.ALPHA, ALL_BETA: Stage.BETA}
"""Names that set every gate of one stage that the file does not set by name."""

GATES: Mapping[str, Gate] = {
    "AntreaProxy": Gate(default=True, stage=Stage.GA, used=True),
    "EndpointSlice": Gate(default=True, stage=Stage.GA, locked=True, used=True),
    "TopologyAwareHints": Gate(default=True, stage=Stage.GA, locked=True, used=True),
    "ServiceTrafficDistribution": Gate(default=True, stage=Stage.GA, locked=True, used=True),
    # Off in Antrea; on here, since hints for Nodes are followed whenever the slices carry them (KEP 3015).
    "PreferSameTrafficDistribution": Gate(default=True, stage=Stage.ALPHA, used=True),
    "CleanupStaleUDPSvcConntrack": Gate(default=True, stage=Stage.BETA, used=True),
    "LoadBalancerModeDSR": Gate(default=False, stage=Stage.ALPHA, used=True),
    "AntreaPolicy": _unused(Stage.BETA, default=True),
    "BGPPolicy": _unused(Stage.ALPHA, default=False),
    "Egress": _unused(Stage.BETA, default=True),
    "Traceflow": _unused(Stage.BETA, default=True),
    "PacketCapture": _unused(Stage.ALPHA, default=False),
    "AntreaIPAM": _unused(Stage.ALPHA, default=False),
    "FlowExporter": _unused(Stage.ALPHA, default=False),
    "NFTablesHostNetworkMode": _unused(Stage.ALPHA, default=False),
    "NetworkPolicyStats": _unused(Stage.BETA, default=True),
    "NodePortLocal": _unused(Stage.GA, default=True),
    "NodeIPAM": _unused(Stage.BETA, default=True),
    "Multicast": _unused(Stage.BETA, default=True),
    "Multicluster": _unused(Stage.ALPHA, default=False),
    "SecondaryNetwork": _unused(Stage.ALPHA, default=False),
    "ServiceExternalIP": _unused(Stage.BETA, default=True),
    "TrafficControl": _unused(Stage.ALPHA, default=False),
    "IPsecCertAuth": _unused(Stage.ALPHA, default=False),
    "ExternalNode": _unused(Stage.ALPHA, default=False),
    "SupportBundleCollection": _unused(Stage.ALPHA, default=False),
    "L7NetworkPolicy": _unused(Stage.ALPHA, default=False),
    "AdminNetworkPolicy": _unused(Stage.DEPRECATED, default=False),
    "ClusterNetworkPolicy": _unused(Stage.ALPHA, default=False),
    "EgressTrafficShaping": _unused(Stage.ALPHA, default=False),
    "EgressSeparateSubnet": _unused(Stage.BETA, default=True),
    "NodeNetworkPolicy": _unused(Stage.ALPHA, default=False),
    "NodeLatencyMonitor": _unused(Stage.ALPHA, default=False),
    "AntreaNodeConfig": _unused(Stage.BETA, default=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGates:
    """Which gates are on. Make one with `resolve`; `FeatureGates()` is all defaults."""

    on: frozenset[str] = frozenset(name for name, gate in GATES.items() if gate.default)

    def enabled(self, name: str) -> bool:
        """Say whether a gate is on.

        Raises KeyError for a name that is no gate.
        """
        if name not in GATES:
            raise KeyError(name)
        return name in self.on


def resolve(chosen: Mapping[str, bool]) -> FeatureGates:
    """Apply what a file chose to the defaults; a gate's own name beats AllAlpha and AllBeta, in any order.

    The caller has refused unknown names, and locked gates set otherwise than they are locked.
    """
    of_stage = {stage: chosen[group] for group, stage in GROUPS.items() if group in chosen}
    return FeatureGates(
        on=frozenset(name for name, gate in GATES.items() if chosen.get(name, of_stage.get(gate.stage, gate.default)))
    )
