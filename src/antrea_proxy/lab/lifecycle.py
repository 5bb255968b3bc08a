"""`lab up` and `lab down` as seen from the command line: the daemon is started, watched while it builds, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from antrea_proxy.lab import agent_config, control_socket, leftovers
from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.options import LabOptions
from antrea_proxy.lab.places import DEFAULT_NAME, Places
from antrea_proxy.lab.switch import locate_programs

Progress = Callable[[str], None]
_PACKAGES: Final = {"ip": "iproute2", "nft": "nftables"}
_LOG_LINES: Final = 15
_END_SECONDS: Final = 30.0


def check_machine() -> None:
    """Make sure that a lab can be made here.

    Raises LabError naming what is missing and how to get it.
    """
    if os.geteuid() != 0:
        raise LabError("a lab is made of network namespaces, which needs root: run it with sudo")
    missing = {program: package for program, package in _PACKAGES.items() if shutil.which(program) is None}
    if missing:
        raise LabError(
            f"{', '.join(missing)} cannot be found in PATH: on Debian, `apt-get install {' '.join(missing.values())}`"
        )
    locate_programs()


def up(places: Places, asked: Mapping[str, Any], progress: Progress) -> bool:
    """Make the lab, with the options that were `asked` for; False where it is up already.

    Whatever goes wrong, KeyboardInterrupt too, nothing stays behind.

    Raises LabError with the reason.
    """
    check_machine()
    options = LabOptions(**{**agent_config.modes_of(asked.get("config", "")), **asked})
    if leftovers.anything_left(places):
        _require_same(places, asked)
        return False
    try:
        places.directory.mkdir(parents=True)
    except FileExistsError:
        raise LabError(f"another `lab up` is making the lab {places.name!r} right now") from None
    try:
        _start_daemon(places, options, progress)
    except BaseException as error:
        # A second Ctrl-C must not leave half a lab.
        former = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            if isinstance(error, KeyboardInterrupt):
                progress("interrupted: removing what was made")
            leftovers.remove(places)
        finally:
            signal.signal(signal.SIGINT, former)
        raise
    return True


def down(places: Places) -> bool:
    """Remove the lab, running or not; False where there was none.

    Raises LabError where something cannot be removed.
    """
    if os.geteuid() != 0:
        raise LabError("removing a lab needs root: run it with sudo")
    if not leftovers.anything_left(places):
        return False
    leftovers.remove(places)
    return True


def _require_same(places: Places, asked: Mapping[str, Any]) -> None:
    status = control_socket.ask(places, "options")
    running = status["options"]
    other = {key: value for key, value in asked.items() if str(running.get(key)) != str(value)}
    if other:
        words = ", ".join(
            f"--{key.replace('_', '-')} is {running.get(key)}, not {value}" for key, value in other.items()
        )
        if "config" in other:
            words = "its antrea-agent.conf is another (edit the ConfigMap kube-system/antrea-config instead)"
        option = "" if places.name == DEFAULT_NAME else f" --name {places.name}"
        raise LabError(
            f"the lab {places.name!r} is up with other options: {words}; `antrea-proxy lab down{option}` first"
        )


def _start_daemon(places: Places, options: LabOptions, progress: Progress) -> None:
    reader, writer = os.pipe()
    # The daemon must not get the terminal's Ctrl-C: it is told to end by this process, which waits for it.
    with places.daemon_log.open("ab") as log, os.fdopen(writer, "wb"):
        daemon = subprocess.Popen(
            [sys.executable, "-m", "antrea_proxy.lab.daemon", places.name, str(places.state_root), str(writer)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[writer],
            start_new_session=True,
            cwd="/",
        )
    leftovers.record_processes(places, {"daemon": daemon.pid})
    try:
        _watch_building(daemon, reader, options, progress)
    except EOFError:
        raise LabError(_why_building_ended(places)) from None
    except BaseException:
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(_END_SECONDS)
        raise


def _why_building_ended(places: Places) -> str:
    try:
        words = places.daemon_log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except FileNotFoundError:
        return f"the lab {places.name!r} was taken down while it was made"
    return "the lab's daemon ended while it was building; the end of its log:\n" + "\n".join(words)


def _watch_building(daemon: subprocess.Popen[bytes], reports: int, options: LabOptions, progress: Progress) -> None:
    """Hand over the options and pass progress on until the lab is up.

    Raises LabError with the daemon's words, EOFError where it ends without a word.
    """
    with os.fdopen(reports, "rb") as lines:
        if daemon.stdin is not None:
            with contextlib.suppress(BrokenPipeError), daemon.stdin as stdin:
                stdin.write(json.dumps(options.as_json()).encode())
        for line in lines:
            report = json.loads(line)
            if "error" in report:
                raise LabError(report["error"])
            if report.get("ready"):
                return
            progress(report["step"])
    raise EOFError
