"""What is wrong with Services, put together from all who find something."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.proxy.problems import Problem

Problems = tuple[Problem, ...]


class Finder(Enum):
    """Who finds problems; each speaks for itself alone."""

    RULES = "rules"
    """What the Service and its EndpointSlices say."""
    SWITCH = "switch"
    """What the switch would not take."""
    HOST = "host"
    """What the Node's own network stack would not take."""
    HEALTH_CHECKS = "health checks"
    """healthCheckNodePorts that cannot be answered."""


class ServiceProblems:
    """Problems by Service, in the order of their finders; `changed` is told whenever a Service's may be others.

    It is also told when they are the same again: the Service may be another of the same name by now.
    """

    def __init__(self, changed: Callable[[NamespacedName, Problems], None]) -> None:
        self.by_service: dict[NamespacedName, Problems] = {}
        self._changed = changed
        self._found: dict[Finder, dict[NamespacedName, Problems]] = {finder: {} for finder in Finder}

    def found(self, finder: Finder, service: NamespacedName, problems: Problems) -> None:
        """Take what a finder has found with one Service, in the place of what it found before."""
        before = self._found[finder].pop(service, ())
        if not before and not problems:
            return
        if problems:
            self._found[finder][service] = problems
        together = tuple(problem for known in self._found.values() for problem in known.get(service, ()))
        if together:
            self.by_service[service] = together
        else:
            del self.by_service[service]
        self._changed(service, together)

    def found_in_all(self, finder: Finder, problems: Mapping[NamespacedName, Problems]) -> None:
        """Take all that a finder has found with any Service."""
        known = self._found[finder]
        for service in known.keys() | problems.keys():
            if known.get(service, ()) != problems.get(service, ()):
                self.found(finder, service, problems.get(service, ()))
