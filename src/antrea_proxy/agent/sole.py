"""One agent a Node: a lock in its run directory, which the kernel lets go when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from antrea_proxy.agent.errors import AnotherAgent, RunDirectoryUnusable

LOCK_NAME: Final = "agent.lock"


@contextlib.contextmanager
def sole_agent(run_dir: Path) -> Iterator[None]:
    """Hold the lock of this directory.

    Raises AnotherAgent, which names its process, while another process holds it, and RunDirectoryUnusable.
    """
    path = run_dir / LOCK_NAME
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AnotherAgent(
                f"{path}: the agent with process id {file.read().strip() or 'unknown'} runs on this Node: end it "
                "first, or set another cniSocket, ovsBridge and hostGateway for this one"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+")
    except OSError as error:
        raise RunDirectoryUnusable(
            f"{path}: {error.strerror}; the agent's files go where cniSocket is, which must be writable"
        ) from error
