"""The lab's tests once more, on the kernel's own Open vSwitch datapath: in one virtual machine, one result each."""

import contextlib
from pathlib import Path

import pytest

from kernel_vm import machine

LAST_LINES = 12


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test here for each lab test that the machine runs."""
    if "lab_test" in metafunc.fixturenames:
        metafunc.parametrize("lab_test", machine.collect(full=metafunc.config.getoption("--full")), ids=str)


@pytest.fixture(scope="session")
def kernel_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> machine.Run:
    """Everything selected, run in one boot; its progress is shown as it comes, also where pytest captures output."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    share: Path = tmp_path_factory.mktemp("kernel-vm")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        reporter.write("\n")
        return machine.run(
            share, full=request.config.getoption("--full"), progress=lambda line: reporter.write(f"  vm: {line}")
        )


@pytest.mark.timeout(5400)
def test_a_lab_test_passes_on_the_kernel_datapath(lab_test: str, kernel_run: machine.Run) -> None:
    """What a user sees on the userspace datapath, he sees on the kernel's."""
    outcome = kernel_run.outcomes.get(lab_test)
    if outcome is None:
        last = "".join(kernel_run.output.splitlines(keepends=True)[-LAST_LINES:])
        pytest.fail(f"did not run: the machine ended with {kernel_run.status}; its last words:\n{last}", pytrace=False)
    if outcome.why:
        pytest.fail(outcome.why, pytrace=False)
