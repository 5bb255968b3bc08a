"""The process that starts all other processes of a lab: small, single-threaded, and their parent.

Why a process of its own: it has the pod-server loaded, so a Pod costs a fork and no interpreter start; forking a
process of 10 MB takes a millisecond, forking the daemon would take tens; and when the daemon is gone, however it went,
the end of the socket tells this one to kill everything that it started. The standard library alone.

One JSON object a message over a SOCK_SEQPACKET socket, file descriptors beside it (SCM_RIGHTS).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.pod_server import PodServerOptions
from antrea_proxy.lab.pod_server import run as run_pod_server

MAX_MESSAGE: Final = 128 << 10
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What to start: `argv`, or with `pod_server` the built-in server.

    `netns` is a path, or empty for the spawner's own; `hostname` empty leaves the machine's. `niceness` is from -20
    (the most of a processor) to 19.
    """

    argv: tuple[str, ...] = ()
    pod_server: PodServerOptions | None = None
    netns: str = ""
    hostname: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    niceness: int = 0

    def as_json(self) -> dict[str, Any]:
        """The value as the spawner reads it back with `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Start:
        """The value that `as_json` gave, after JSON made lists of its tuples."""
        server = value["pod_server"]
        if server is not None:
            ports = {name: tuple(server[name]) for name in ("tcp_ports", "udp_ports", "sctp_ports")}
            server = PodServerOptions(**{**server, **ports})
        return cls(**{**value, "argv": tuple(value["argv"]), "pod_server": server})


def run(channel: socket.socket) -> None:
    """Serve the daemon until it closes the channel; then kill and reap every child."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_NAME, b"lab-spawner")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the daemon decides; its end is ours
    _Spawner(channel).serve()


class _Spawner:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, int] = {}
        self._selector = selectors.DefaultSelector()
        self._starting: dict[int, tuple[int, int]] = {}

    def serve(self) -> None:
        wake_reader, wake_writer = socket.socketpair()
        wake_reader.settimeout(0)
        wake_writer.settimeout(0)
        signal.set_wakeup_fd(wake_writer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._selector.register(self._channel, selectors.EVENT_READ)
        self._selector.register(wake_reader, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._channel:
                    if not self._receive():
                        self._end()
                        return
                elif key.fileobj is wake_reader:
                    with contextlib.suppress(BlockingIOError):
                        wake_reader.recv(4096)
                else:
                    self._started(key.fd)
            self._reap()

    def _receive(self) -> bool:
        try:
            data, fds, _flags, _address = socket.recv_fds(self._channel, MAX_MESSAGE, 3)
        except ConnectionError:
            return False
        if not data:
            return False
        request = json.loads(data)
        if "signal" in request:
            self._signal(request["id"], request["signal"])
        else:
            self._start(request["id"], Start.from_json(request["start"]), fds)
        for fd in fds:
            os.close(fd)
        return True

    def _say(self, **message: object) -> None:
        with contextlib.suppress(ConnectionError):
            self._channel.send(json.dumps(message).encode())

    def _start(self, key: int, start: Start, fds: list[int]) -> None:
        report_reader, report_writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(report_reader)
            _become(start, fds, report_writer)
        os.close(report_writer)
        self._children[pid] = key
        self._starting[report_reader] = (key, pid)
        self._selector.register(report_reader, selectors.EVENT_READ)

    def _started(self, report: int) -> None:
        # Closed without a word: the program runs (exec closed it) or the built-in server listens.
        key, pid = self._starting.pop(report)
        self._selector.unregister(report)
        complaint = os.read(report, 4096).decode(errors="replace")
        os.close(report)
        if complaint:
            self._say(id=key, error=complaint)
        else:
            self._say(id=key, pid=pid)

    def _signal(self, key: int, number: int) -> None:
        for pid, child in self._children.items():
            if child == key:
                # The whole session; before its leader has called setsid, the leader alone.
                with contextlib.suppress(ProcessLookupError):
                    try:
                        os.killpg(pid, number)
                    except ProcessLookupError:
                        os.kill(pid, number)

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._children:
                # As with a container: what the first process started does not outlive it. Its number is still its own.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            key = self._children.pop(pid, None)
            if key is not None:
                for report, (child, _) in list(self._starting.items()):
                    if child == key:
                        self._started(report)
                self._say(id=key, exited=os.waitstatus_to_exitcode(status))

    def _end(self) -> None:
        while self._children:
            for pid in self._children:
                for kill in (os.killpg, os.kill):
                    with contextlib.suppress(ProcessLookupError):
                        kill(pid, signal.SIGKILL)
            pid, _ = os.waitpid(-1, 0)
            self._children.pop(pid, None)


def _become(start: Start, fds: list[int], report: int) -> NoReturn:
    """Turn the forked child into what was asked for; never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if start.niceness:
            be_nice(start.niceness)
        if start.netns:
            namespaces.setns(start.netns, namespaces.CLONE_NEWNET)
        if start.hostname:
            namespaces.unshare(namespaces.CLONE_NEWUTS)
            namespaces.set_hostname(start.hostname)
        report = _take_descriptors(fds, report)
        os.chdir(start.directory)
        if start.pod_server is not None:
            _prctl(_PR_SET_NAME, b"pod-server")
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            run_pod_server(start.pod_server, listening=lambda: os.close(report))
            os._exit(0)
        os.execvpe(start.argv[0], start.argv, dict(start.environment))  # noqa: S606 - no shell is meant
    except BaseException as error:  # noqa: BLE001 - nothing may escape into the spawner's own loop
        with contextlib.suppress(OSError):
            os.write(report, f"{type(error).__name__}: {error}".encode()[:4000])
        os._exit(127)


def be_nice(niceness: int) -> None:
    """Take a niceness, and give it to the session, too: where a scheduler groups by session, that counts (sched(7))."""
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), "ascii")


def _take_descriptors(fds: list[int], report: int) -> int:
    """Make `fds` 0, 1 and 2 (or /dev/null), close all others but `report`, which may move; returns it."""
    null = os.open(os.devnull, os.O_RDWR)
    wanted = [*fds, null, null, null][:3]
    lifted = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in [*wanted, report]]
    for target, source in enumerate(lifted[:3]):
        os.dup2(source, target)
    os.dup2(lifted[3], 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return 3


def _prctl(option: int, value: int | bytes) -> None:
    _libc.prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    run(socket.socket(fileno=int(sys.argv[1])))
