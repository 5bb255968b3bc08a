"""One agent a Node: a lock in its run directory, which the kernel lets go when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from antrea_proxy.agent.errors import AnotherAgent

LOCK_NAME: Final = "agent.lock"


@contextlib.contextmanager
def sole_agent(run_dir: Path) -> Iterator[None]:
    """Hold the lock of this directory.

    Raises AnotherAgent, which names its process, while another process holds it.
    """
    path = run_dir / LOCK_NAME
    with path.open("a+") as file:
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
