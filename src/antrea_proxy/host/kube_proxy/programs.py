"""Runs the programs that look at, and change, what kube-proxy uses: iptables-legacy, ipvsadm and ipset."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE

from antrea_proxy.host.errors import HostError

_SYSTEM_FOLDERS = "/usr/sbin:/sbin"  # where administrators' programs are, which a user's PATH may lack


class ProgramFailed(HostError):  # noqa: N818 - names what happened, as the message does
    """A program is missing, or ended with an error; the message holds its own words."""


def find(program: str) -> str | None:
    """Return the path of a program, None where it is not installed."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_FOLDERS}")


async def output_of(program: str, *arguments: str, text: str | None = None) -> str:
    """Run a program, with `text` as its input, and return what it printed.

    Raises ProgramFailed.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            program, *arguments, stdin=DEVNULL if text is None else PIPE, stdout=PIPE, stderr=PIPE
        )
    except OSError as error:
        raise ProgramFailed(f"{program}: {error.strerror}") from error
    output, errors = await process.communicate(None if text is None else text.encode())
    if process.returncode != 0:
        words = errors.decode(errors="replace").strip()
        raise ProgramFailed(f"{program} {' '.join(arguments)}: {words or f'ended with {process.returncode}'}")
    return output.decode(errors="replace")
