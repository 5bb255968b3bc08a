"""Much traffic from one place of a lab, and what became of it: the clients of the end-to-end tests.

    tally = many(client, "tcp", (address, 80), count=3000)          # who answered how often, and what failed
    with steady(client, "tcp", (address, 80), rate=300) as load:    # new connections all the time
        ...
    assert not load.result().failed

Clients run in forked processes inside the place, each around one epoll, so a few thousand connections take a second.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import multiprocessing
import os
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

from antrea_proxy.lab import namespaces
from lab_cluster import PATIENCE, Place

Target = tuple[str, int]
"""An address of either family and a port."""
Exchange = Generator[int, None, str]
"""Yields the epoll events that it waits for; returns the answer; raises OSError."""

_REQUEST: Final = b"GET /hostname HTTP/1.0\r\n\r\n"
_QUESTION: Final = b"hostname\n"
_FORK: Final = multiprocessing.get_context("fork")
_SECONDS_TO_END: Final = 30.0
_udp_ports = itertools.cycle(range(10_000, 65_000))


@dataclass(slots=True, kw_only=True)
class Tally:
    """What many connections to one target came to: who answered how often, and why the others failed.

    A datagram is sent once: one that is lost, or its answer, is a connection that failed.
    """

    answers: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many connections there were."""
        return self.answers.total() + self.failed.total()


def many(place: Place, protocol: str, *targets: Target, count: int, at_once: int = 32) -> Tally:
    """Open `count` connections from a place, to the targets in turn; the result is that of all targets together."""
    joined = Tally()
    for tally in each(place, protocol, targets, count=count, at_once=at_once):
        joined.answers += tally.answers
        joined.failed += tally.failed
    return joined


def each(place: Place, protocol: str, targets: Sequence[Target], *, count: int, at_once: int = 32) -> Sequence[Tally]:
    """Open `count` connections from a place, to the targets in turn; gives one tally for each target."""
    return place.run(lambda: _generate(protocol, targets, count=count, at_once=at_once))


def outcome(place: Place, address: str, port: int = 80, *, timeout: float = 0.7) -> str:
    """Tell who answers one new TCP connection, or whether it is `refused`, `dropped` or `unreachable`."""
    try:
        return place.get(address, port, timeout=timeout)
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "dropped"
    except OSError as error:
        if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return "unreachable"
        raise


class Load:
    """A client in a process of its own, which goes on until its result is asked for."""

    def __init__(self, place: Place, work: Callable[[Callable[[], bool]], object]) -> None:
        self._ours, theirs = _FORK.Pipe()
        self._result: object = None
        self._process: multiprocessing.process.BaseProcess | None = _FORK.Process(
            target=_be_client, args=(place, work, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def end(self) -> object:
        """Let what has begun come to its end, stop, and give what came of it. Raises AssertionError if it does not."""
        if self._process is not None:
            self._ours.send("end")
            assert self._ours.poll(_SECONDS_TO_END * PATIENCE), "the client does not end"
            self._result = self._ours.recv()
            self.abandon()
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result

    def abandon(self) -> None:
        """Kill the client, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._ours.close()
            self._process = None


def _be_client(place: Place, work: Callable[[Callable[[], bool]], object], parent: Connection) -> None:
    namespaces.setns(place.netns, namespaces.CLONE_NEWNET)
    try:
        outcome = work(parent.poll)
    except BaseException as error:  # noqa: BLE001 - it is handed to the parent
        outcome = error
    parent.send(outcome)


class SteadyLoad(Load):
    """New connections all the time."""

    def result(self) -> Tally:
        """Stop, and give what came of it."""
        tallies = self.end()
        assert isinstance(tallies, list)
        assert isinstance(tallies[0], Tally)
        return tallies[0]


@contextlib.contextmanager
def steady(place: Place, protocol: str, target: Target, *, rate: float = 200.0) -> Iterator[SteadyLoad]:
    """Open `rate` new connections a second from a place until the result is asked for."""
    load = SteadyLoad(place, lambda stopped: _generate(protocol, [target], rate=rate, stopped=stopped))
    try:
        yield load
    finally:
        load.abandon()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One long connection: with whom, how many times each side spoke, and what ended it before its time."""

    server: str
    turns: int
    broken: str = ""


class TalkingLoad(Load):
    """Long connections with data in both directions all the time."""

    def result(self) -> Sequence[Conversation]:
        """Hang up, and tell how each conversation went."""
        found = self.end()
        assert isinstance(found, list)
        return found


@contextlib.contextmanager
def talking(place: Place, target: Target, *, connections: int) -> Iterator[TalkingLoad]:
    """Keep TCP connections open from a place, and send and receive over each, until the result is asked for."""
    load = TalkingLoad(place, lambda stopped: _talk(target, connections, stopped))
    try:
        yield load
    finally:
        load.abandon()


@contextlib.contextmanager
def unharmed(client: Place, addresses: Sequence[str], servers: Sequence[str], *, rate: float = 100.0) -> Iterator[None]:
    """Hold connections from a Pod to a Service and open new ones, TCP and UDP, while the block runs: none may fail.

    `rate` is that of new ones, a second and for each address and protocol. All `servers` must have answered.
    """
    with contextlib.ExitStack() as stack:
        talks = [stack.enter_context(talking(client, (address, 80), connections=6)) for address in addresses]
        loads = [
            stack.enter_context(steady(client, protocol, (address, 80), rate=rate / PATIENCE))
            for protocol in ("tcp", "udp")
            for address in addresses
        ]
        time.sleep(0.3 * PATIENCE)
        yield
        tallies = [load.result() for load in loads]
        conversations = [each for talk in talks for each in talk.result()]
    for tally in tallies:
        assert not tally.failed
        assert set(tally.answers) == set(servers)
    assert [each for each in conversations if each.broken] == []


def converse(sock: socket.socket, path: str) -> str:
    """Ask one more question over an open connection to a pod-server. Raises OSError."""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    received = bytearray()
    while b"\r\n\r\n" not in received:
        received += _some(sock)
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(sock)
    return body.decode()


def even(answers: Counter[str], servers: Sequence[str], *, deviations: float = 4.0, every: bool = True) -> bool:
    """Tell whether the servers, all of them and none else, had shares as even as chance would have them.

    All shares together are judged, by their chi-square: of 30 fair shares, one lies outside of three standard
    deviations in every thirteenth experiment. The limit is the value that a chi-square passes as rarely as a normal
    variable passes so many standard deviations (4: once in 30,000; Wilson and Hilferty, 1931). With fewer than some
    twenty connections for each server, chance leaves some without any, and `every` one need not have answered.
    """
    if not set(answers) <= set(servers) or (every and len(answers) < len(servers)):
        return False
    fair = answers.total() / len(servers)
    chi_square = sum((answers[server] - fair) ** 2 / fair for server in servers)
    freedom = len(servers) - 1
    part = 2 / (9 * freedom)
    limit: float = freedom * (1 - part + deviations * math.sqrt(part)) ** 3
    return chi_square <= limit


# Inside of the client's process


def _some(sock: socket.socket) -> bytes:
    part = sock.recv(65536)
    if not part:
        raise ConnectionResetError("the server closed the connection")
    return part


def _talk(target: Target, connections: int, stopped: Callable[[], bool]) -> list[Conversation]:
    socks, servers, turns, broken = [], [], [0] * connections, [""] * connections
    for _ in range(connections):
        sock = socket.create_connection(target, timeout=3 * PATIENCE)
        socks.append(sock)
        servers.append(converse(sock, "/hostname"))
    while not stopped():
        for index, sock in enumerate(socks):
            if broken[index]:
                continue
            try:
                said = converse(sock, f"/echo?msg=turn-{turns[index]}")
            except OSError as error:
                broken[index] = f"{type(error).__name__}: {error}"
            else:
                if said != f"turn-{turns[index]}":
                    broken[index] = f"to turn {turns[index]} the answer was {said!r}"
                turns[index] += 1
        time.sleep(0.01)
    return [
        Conversation(server=server, turns=number, broken=why)
        for server, number, why in zip(servers, turns, broken, strict=True)
    ]


def _bind_new_port(sock: socket.socket) -> None:
    """Take a port that this process has not used yet, so that every datagram begins a connection.

    The kernel chooses at random, and soon one that it gave before: to a switch, a client that goes on talking.
    """
    for _ in range(100):
        try:
            sock.bind(("", next(_udp_ports)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return


def _tcp(sock: socket.socket, target: Target) -> Exchange:
    code = sock.connect_ex(target)
    if code not in {0, errno.EINPROGRESS}:
        raise OSError(code, os.strerror(code))
    yield select.EPOLLOUT
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    sock.send(_REQUEST)
    received = b""
    while True:
        yield select.EPOLLIN
        part = sock.recv(65536)
        if not part:
            break
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"no answer 200 but {head[:80]!r}")
    return body.decode()


def _udp(sock: socket.socket, target: Target) -> Exchange:
    _bind_new_port(sock)
    sock.connect(target)
    sock.send(_QUESTION)
    yield select.EPOLLIN
    return sock.recv(65536).decode().strip()


def _tcp_from_new_port(sock: socket.socket, target: Target) -> Exchange:
    _bind_new_port(sock)
    return (yield from _tcp(sock, target))


FROM_NEW_PORTS: Final = "tcp from new ports"
"""TCP from ports that follow each other. The kernel's own choice comes back soon, and then meets the same endpoint."""

_KINDS: Final = {
    FROM_NEW_PORTS: (socket.SOCK_STREAM, _tcp_from_new_port),
    "tcp": (socket.SOCK_STREAM, _tcp),
    "udp": (socket.SOCK_DGRAM, _udp),
}


@dataclass(slots=True, kw_only=True)
class _Live:
    sock: socket.socket
    exchange: Exchange
    tally: Tally
    began: float


def _generate(  # noqa: C901 - one loop that starts, steps and gives up; split, its state would have to be carried
    protocol: str,
    targets: Sequence[Target],
    *,
    count: float = math.inf,
    at_once: int = 64,
    rate: float = math.inf,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Tally]:
    """Keep up to `at_once` exchanges going, `rate` new ones a second at most, until `count` are done or `stopped`."""
    kind, exchange = _KINDS[protocol]
    for _ in range(random.randrange(55_000)):
        next(_udp_ports)
    tallies = [Tally() for _ in targets]
    live: dict[int, _Live] = {}
    patience = 5.0 * PATIENCE
    first = time.monotonic()
    started = 0
    with contextlib.closing(select.epoll()) as poll:

        def step(one: _Live, *, new: bool = False) -> None:
            try:
                events = next(one.exchange)
            except StopIteration as end:
                one.tally.answers[end.value] += 1
            except OSError as error:
                one.tally.failed[f"{type(error).__name__}: {error.strerror or error}"] += 1
            else:
                if new:
                    live[one.sock.fileno()] = one
                    poll.register(one.sock.fileno(), events)
                else:
                    poll.modify(one.sock.fileno(), events)
                return
            live.pop(one.sock.fileno(), None)
            one.sock.close()

        while live or not (started >= count or stopped()):
            now = time.monotonic()
            while (
                len(live) < at_once
                and started < count
                and started <= (now - first) * rate
                and not (rate < math.inf and stopped())
            ):
                number = started % len(targets)
                target = targets[number]
                sock = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET, kind)
                sock.settimeout(0)
                one = _Live(sock=sock, exchange=exchange(sock, target), tally=tallies[number], began=now)
                step(one, new=True)
                started += 1
            for fd, _ in poll.poll(0.1 if rate == math.inf else 0.002):
                step(live[fd])
            while live and now - (oldest := next(iter(live.values()))).began > patience:
                oldest.tally.failed[f"no answer within {patience:g} s"] += 1
                live.pop(oldest.sock.fileno())
                oldest.sock.close()
    return tallies
