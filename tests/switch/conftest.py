"""A real switch for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from switch import ovs


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ovs.Switch]:
    """A switch for the tests of one module: the bridge br-int in a network namespace of its own, without a flow."""
    with ovs.running(tmp_path_factory.mktemp("switch")) as running:
        yield running
