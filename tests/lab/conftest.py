"""The lab that tests share; tests/lab_cluster.py tells how to use it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from lab_cluster import Cluster, remove_stale_labs, running_cluster
from lab_direct import Direct, direct_lab
from lab_entry import Entry, entry_lab
from lab_stage import Stage

_NAMESPACES = itertools.count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One lab for the whole session: 3 Nodes, dual stack, encap with Geneve, one client."""
    remove_stale_labs()
    with running_cluster("--nodes", "3") as made:
        yield made


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A Kubernetes namespace of the test's own; what the test made in it goes away after the test."""
    name = f"test-{next(_NAMESPACES)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def stage(cluster: Cluster) -> Stage:
    """A client and a server on each Node, for the tests that need no Pods of their own; it lives as long as the lab."""
    return Stage(cluster, "stage")


@pytest.fixture(scope="session")
def proxy_all() -> Iterator[Entry]:
    """One lab with proxyAll for the whole session: 2 Nodes, dual stack, encap with Geneve, one client."""
    with entry_lab("encap") as made:
        yield made


@pytest.fixture(scope="session")
def direct() -> Iterator[Direct]:
    """One lab with direct server return for the whole session: 3 Nodes, dual stack, encap with Geneve, one client."""
    with direct_lab() as made:
        yield made
