"""What every test folder shares: the big counts run only when they are asked for."""

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
    """Leave the tests marked `full` out, unless `--full` is given."""
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
