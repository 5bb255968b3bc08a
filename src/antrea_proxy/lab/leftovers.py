"""Remove a lab whatever state it is in: alive, dead, half made. Finds everything by the lab's name.

Only what bears the name is touched: processes inside the lab's network namespaces, the daemon and its spawner by their
recorded process ids (checked by start time), namespaces by prefix, and the lab's folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.places import NETNS_ROOT, Places

_GRACEFUL_SECONDS: Final = 30.0
_KILLED_SECONDS: Final = 5.0
_NETNS_ROOT_IS_OURS: Final = ".netns-root-is-ours"


def record_processes(places: Places, pids: dict[str, int]) -> None:
    """Write down the lab's own processes outside of its namespaces, for `remove`."""
    recorded = {name: {"pid": pid, "started": start_time(pid)} for name, pid in pids.items()}
    temporary = places.daemon_pid.with_suffix(".new")
    temporary.write_text(json.dumps(recorded))
    temporary.replace(places.daemon_pid)


def start_time(pid: int) -> str:
    """Give a process's start time in clock ticks since boot (proc(5), field 22); empty where there is none."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def recorded_processes(places: Places) -> dict[str, int]:
    """Give the recorded processes that are still the same and alive."""
    try:
        recorded = json.loads(places.daemon_pid.read_text())
    except (OSError, ValueError):
        return {}
    return {
        name: entry["pid"]
        for name, entry in recorded.items()
        if entry["started"] and start_time(entry["pid"]) == entry["started"]
    }


def anything_left(places: Places) -> bool:
    """Whether something bears the lab's name."""
    return places.directory.exists() or bool(places.netns_present())


def remove(places: Places) -> None:
    """End the lab gracefully if its daemon lives, then remove all that bears its name.

    Raises LabError where a process does not die.
    """
    daemon = recorded_processes(places).get("daemon")
    if daemon is not None and daemon != os.getpid():
        _end(daemon, signal.SIGTERM, _GRACEFUL_SECONDS)
    sweep(places)


def sweep(places: Places) -> None:
    """Kill and remove what bears the lab's name, asking nobody.

    Raises LabError where a process does not die.
    """
    for pid in recorded_processes(places).values():
        if pid != os.getpid():
            _end(pid, signal.SIGKILL, _KILLED_SECONDS)
    present = places.netns_present()
    namespaces.kill_processes_in(NETNS_ROOT / name for name in present)
    namespaces.delete_netns(present)
    shutil.rmtree(places.directory, ignore_errors=True)
    _remove_common_folders(places.state_root)
    if places.directory.exists():
        raise LabError(f"{places.directory} cannot be removed: look at what is in it")


def note_netns_root(state_root: Path) -> None:
    """Note, before the first namespace is made, that there was no folder of named namespaces: it is then ours."""
    if not NETNS_ROOT.exists():
        (state_root / _NETNS_ROOT_IS_OURS).touch()


def _remove_common_folders(state_root: Path) -> None:
    """Let the last lab take along what all labs share."""
    try:
        present = {entry.name for entry in state_root.iterdir()}
        if present - {_NETNS_ROOT_IS_OURS}:
            return
        if present and not any(NETNS_ROOT.iterdir()):
            namespaces.unmount(NETNS_ROOT)  # ip-netns(8) mounts the folder on itself
            NETNS_ROOT.rmdir()
        (state_root / _NETNS_ROOT_IS_OURS).unlink(missing_ok=True)
        state_root.rmdir()
    except OSError:
        return  # another lab is just being made, or gone as well: it is the last one then


def _end(pid: int, number: int, patience: float) -> None:
    started = start_time(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    deadline = time.monotonic() + patience
    while started and start_time(pid) == started and time.monotonic() < deadline:
        time.sleep(0.01)
