"""The functional core against the plain model of the Service API's rules."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given

from antrea_proxy.kubernetes.objects import EndpointSlice, Service
from properties import clusters
from properties.decisions import Core
from properties.service_rules import Place, promise

Json = dict[str, Any]


@given(services=clusters.services(), slices=clusters.slices(), place=clusters.places)
def test_every_address_and_port_is_answered_as_the_service_api_promises(
    services: list[Json], slices: list[Json], place: Place
) -> None:
    """And whoever cannot be served wholly says so, and nobody else."""
    core = Core(place)
    core.cluster.list_services(msgspec.convert(services, list[Service]))
    core.cluster.list_slices(msgspec.convert(slices, list[EndpointSlice]))
    core.decide(set(core.cluster.services))
    promised = promise(services, slices, place)
    assert core.answers() == promised.answers
    assert core.complaining() == promised.complaining
