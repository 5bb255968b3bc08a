"""Settings that are valid and that this version's agent does not do yet; the agent refuses to start with them."""

from __future__ import annotations

from antrea_proxy.settings.choices import TrafficEncapMode, TunnelType
from antrea_proxy.settings.problems import Problem
from antrea_proxy.settings.values import Settings


def not_built(settings: Settings) -> tuple[Problem, ...]:
    """List what of these settings has no effect to offer yet; empty where the agent can start."""
    wanted = {
        "trafficEncapMode": (
            settings.traffic_encap_mode is TrafficEncapMode.HYBRID,
            "hybrid",
            "write encap or noEncap",
        ),
        "tunnelType": (settings.tunnel_type is TunnelType.GRE, "gre", "write geneve or vxlan"),
    }
    return tuple(
        Problem(path=path, value=value, reason="not built yet", remedy=remedy)
        for path, (asked_for, value, remedy) in wanted.items()
        if asked_for
    )
