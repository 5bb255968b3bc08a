"""Settings that are valid and that this version's agent does not do yet; the agent refuses to start with them."""

from __future__ import annotations

from antrea_proxy.settings.choices import TrafficEncapMode
from antrea_proxy.settings.problems import Problem
from antrea_proxy.settings.values import Settings


def not_built(settings: Settings) -> tuple[Problem, ...]:
    """List what of these settings has no effect to offer yet; empty where the agent can start."""
    if settings.traffic_encap_mode is not TrafficEncapMode.HYBRID:
        return ()
    return (Problem(path="trafficEncapMode", value="hybrid", reason="not built yet", remedy="write encap or noEncap"),)
