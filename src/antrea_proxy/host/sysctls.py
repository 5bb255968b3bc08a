"""Reads and writes kernel settings below /proc/sys: those of the calling thread's network namespace."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from antrea_proxy.host.errors import KernelRefused
from antrea_proxy.host.values import Sysctl

_ROOT = Path("/proc/sys")


def read_sysctls(keys: Iterable[str]) -> frozenset[Sysctl]:
    """Return the settings as they are; one that the kernel does not have is left out."""
    return frozenset(Sysctl(key=key, value=value) for key in keys if (value := _read(key)) is not None)


def write_sysctl(sysctl: Sysctl) -> None:
    """Change a setting.

    Raises KernelRefused.
    """
    try:
        (_ROOT / sysctl.key).write_text(f"{sysctl.value}\n")
    except OSError as error:
        raise KernelRefused(f"sysctl {sysctl.key} = {sysctl.value}: {error.strerror}") from error


def _read(key: str) -> str | None:
    try:
        return (_ROOT / key).read_text().strip()
    except OSError:
        return None
