"""Linux namespaces: make, enter, find who is inside, remove.

Python 3.11 has no os.setns, so libc is asked. The standard library alone: `lab exec` imports this.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from antrea_proxy.lab.errors import LabError

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000
_MS_REC = 0x4000
_MS_SLAVE = 1 << 19
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, doing: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")


def setns(path: Path | str, kind: int) -> None:
    """Move the calling thread into the namespace behind `path`; `kind` is one of CLONE_NEW… (setns(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, kind), f"setns {path}")
    finally:
        os.close(fd)


def unshare(kinds: int) -> None:
    """Give the calling process new namespaces (unshare(2))."""
    _check(_libc.unshare(kinds), "unshare")


def set_hostname(name: str) -> None:
    """Name the host of the current UTS namespace; over 64 bytes are cut (HOST_NAME_MAX)."""
    raw = name.encode()[:64]
    _check(_libc.sethostname(raw, len(raw)), f"sethostname {name}")


def remount_sys() -> None:
    """Show the current network namespace in /sys, in a mount namespace of the caller's own, as `ip netns exec` does."""
    unshare(CLONE_NEWNS)
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount --make-rslave /")
    _libc.umount2(b"/sys", _MNT_DETACH)
    _check(_libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None), "mount /sys")


@contextlib.contextmanager
def inside(netns: Path | str) -> Iterator[None]:
    """Run the block, which must not wait, in a network namespace: sockets made there stay of there.

    Only the calling thread moves, and it comes back at the end.
    """
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        setns(netns, CLONE_NEWNET)
        try:
            yield
        finally:
            _check(_libc.setns(home.fileno(), CLONE_NEWNET), "setns back")


def write_sysctls(netns: Path | str, values: dict[str, str]) -> None:
    """Set sysctls of a network namespace; keys are paths below /proc/sys/net.

    Raises LabError naming the first that the kernel refuses.
    """
    with inside(netns):
        for key, value in values.items():
            try:
                Path("/proc/sys/net", key).write_text(value)
            except OSError as error:
                raise LabError(f"sysctl net/{key}={value} in {netns}: {error.strerror}") from error


def _run_ip(arguments: list[str], lines: Iterable[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    done = subprocess.run(["ip", *arguments, "-batch", "-"], input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"ip {' '.join(arguments)}: {done.stderr.strip() or 'failed'}; asked for: {text.strip()!r}")


def create_netns(names: Iterable[str]) -> None:
    """Make named network namespaces, as `ip netns add`.

    Raises LabError with the words of ip(8).
    """
    _run_ip([], (f"netns add {name}" for name in names))


def ip_in(netns_name: str, lines: Iterable[str]) -> None:
    """Run lines of ip(8) in a named network namespace, in one process; stops at the first that fails.

    Raises LabError with the words of ip(8).
    """
    _run_ip(["-n", netns_name], lines)


def unmount(path: Path) -> None:
    """Take a mount away, at once for new users; a path that is none is left as it is (umount2(2), MNT_DETACH)."""
    _libc.umount2(str(path).encode(), _MNT_DETACH)


def delete_netns(names: Iterable[str]) -> None:
    """Remove named network namespaces; those that are gone already are fine."""
    for name in names:
        path = Path("/run/netns", name)
        unmount(path)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def processes_in(netns_paths: Iterable[Path]) -> list[int]:
    """Ids of the processes whose network namespace is one of these; never those of the caller's own."""
    wanted = set()
    for path in netns_paths:
        with contextlib.suppress(FileNotFoundError):
            wanted.add(_identity(path))
    wanted.discard(_identity(Path("/proc/self/ns/net")))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if _identity(entry / "ns" / "net") in wanted:
                    found.append(int(entry.name))
    return found


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def kill_processes_in(netns_paths: Iterable[Path], *, patience: float = 5.0) -> None:
    """SIGKILL whoever is inside, until nobody is, for at most `patience` seconds.

    Raises LabError naming those that do not go (in uninterruptible sleep).
    """
    paths = list(netns_paths)
    deadline = time.monotonic() + patience
    while remaining := processes_in(paths):
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(f"processes {remaining} do not end although killed; see /proc/PID/wchan")
        time.sleep(0.01)
