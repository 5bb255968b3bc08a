"""The rules of each kind: what is filled in, what is reset, what is refused. Plain functions of plain objects."""

from __future__ import annotations

from antrea_proxy.lab.api_server import resources
from antrea_proxy.lab.api_server.kinds.strategy import Strategy
from antrea_proxy.lab.api_server.resources import Resource

_STRATEGIES: dict[Resource, Strategy] = {resource: Strategy() for resource in resources.RESOURCES}


def strategy_of(resource: Resource) -> Strategy:
    """Give the rules of a kind."""
    return _STRATEGIES[resource]
