"""What every test folder shares: which tests run when."""

import os

import hypothesis
import pytest

# A deadline for each example measures how busy the machine is, not what is tested.
hypothesis.settings.register_profile("usual", deadline=None, max_examples=40)
hypothesis.settings.register_profile("full", deadline=None, max_examples=400)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--full`, as script/test has it."""
    parser.addoption("--full", action="store_true", help="also run the tests marked `full`")


def pytest_configure(config: pytest.Config) -> None:
    """Search longer for counterexamples where everything is asked for."""
    hypothesis.settings.load_profile("full" if config.getoption("--full") else "usual")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `full` without `--full`, and those marked `kernel_only` on the userspace datapath."""
    unasked = set() if config.getoption("--full") else {"full"}
    if os.environ.get("ANTREA_PROXY_TEST_DATAPATH") != "system":
        unasked.add("kernel_only")
    left_out = [item for item in items if any(map(item.get_closest_marker, unasked))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
