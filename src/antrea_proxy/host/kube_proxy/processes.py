"""Whether kube-proxy runs: it would lay down again what is removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

_PROC: Final = Path("/proc")
_NAME: Final = "kube-proxy"
_FIRST_PID_NAMESPACE: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO of linux/proc_ns.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process by its id, and how it was called."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def is_kube_proxy(words: Sequence[str]) -> bool:
    """Whether a command line is kube-proxy's: its program, or the one that hyperkube runs."""
    return any(PurePath(word).name == _NAME for word in words[:2] if not word.startswith("-"))


def running_kube_proxies(proc: Path = _PROC) -> tuple[Process, ...]:
    """Return every kube-proxy that works on the network namespace of this process."""
    return tuple(_kube_proxies(proc))


def sees_all_processes(proc: Path = _PROC) -> bool:
    """Whether this process is in the machine's first PID namespace, from which all processes are seen."""
    return _inode(proc / "self/ns/pid") == _FIRST_PID_NAMESPACE


def _kube_proxies(proc: Path) -> Iterator[Process]:
    ours = _inode(proc / "self/ns/net")
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        if is_kube_proxy(words) and _inode(folder / "ns/net") in {ours, None}:
            yield Process(pid=int(folder.name), command=" ".join(words))


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
