"""Whoever asks, at whichever address, from wherever: who answers, and as whom the endpoint sees the client."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from lab_entry import TARGET_PORTS, Entry, entry_lab, questions

AFFINITY = {"sessionAffinity": "ClientIP"}
LABS = [
    pytest.param(("encap", False, {}), id="encap"),
    pytest.param(("noEncap", False, {}), id="noEncap"),
    *(
        pytest.param((mode, True, spec), id=f"{mode}, DSR{with_affinity}", marks=pytest.mark.full)
        for mode in ("encap", "noEncap")
        for with_affinity, spec in (("", {}), (" with session affinity", AFFINITY))
    ),
]


@pytest.fixture(scope="module", params=LABS)
def entry(request: pytest.FixtureRequest) -> Iterator[Entry]:
    """A lab in each mode."""
    mode, direct, spec = request.param
    if (mode, direct) == ("encap", False):
        yield request.getfixturevalue("proxy_all")
    else:
        with entry_lab(mode, direct=direct, **spec) as made:
            yield made


CASES = [
    pytest.param(
        service,
        policy,
        client,
        ingress,
        id=f"{service}, {policy}, {client}, by way of {ingress}",
        # On an emulated machine, those that take every way through the host and every translation.
        marks=[pytest.mark.kernel] if (client, policy) == ("host outside", "Cluster") else [],
    )
    for service, policy, client, ingress in itertools.product(
        TARGET_PORTS, ("Cluster", "Local"), ("Pod", "Node", "host outside"), ("node-1", "node-2")
    )
]
"""The endpoint is on node-1."""


@pytest.mark.parametrize(("service", "policy", "client", "ingress"), CASES)
def test_at_every_kind_of_address_the_endpoint_answers_and_sees_whom_it_should(
    entry: Entry, service: str, policy: str, client: str, ingress: str
) -> None:
    kinds = ["load-balancer IP", "external IP", "NodePort"] + ([] if client == "host outside" else ["ClusterIP"])
    entry.cluster.lab("route", "client-1", "--via", ingress)
    entry.assert_answered(questions([service], kinds, policy=policy, client=client, ingress=ingress))
