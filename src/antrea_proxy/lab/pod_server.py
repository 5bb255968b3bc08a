"""The server that runs in a Pod without a command of its own; it answers as agnhost's netexec does.

One thread and one epoll: a Pod is forked from a process that has this loaded already, so its start costs next to
nothing, and the load of a benchmark goes into the network and not into the server. The standard library alone.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import select
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from antrea_proxy.lab.pod_answers import Answer, NotARequestError, answer, answer_line, read_head

DEFAULT_PORT: Final = 8080
DEFAULT_DRAIN_SECONDS: Final = 1.0
_CHUNK: Final = 256 << 10
_BACKLOG: Final = 4096
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_IP_PKTINFO: Final = 8  # linux/in.h; the socket module has no name for it before 3.12


@dataclass(frozen=True, slots=True, kw_only=True)
class PodServerOptions:
    """What to listen on; ports 1 to 65,535. `drain_seconds`: how long SIGTERM leaves the doors open."""

    hostname: str
    tcp_ports: tuple[int, ...] = (DEFAULT_PORT,)
    udp_ports: tuple[int, ...] = (DEFAULT_PORT,)
    sctp_ports: tuple[int, ...] = ()
    drain_seconds: float = DEFAULT_DRAIN_SECONDS


@dataclass(slots=True, kw_only=True, eq=False)
class _Connection:
    sock: socket.socket
    peer: str
    lines: bool
    received: bytearray = field(default_factory=bytearray)
    pending: bytes | memoryview = b""
    filler: int = 0
    waiting: bool = False
    last: bool = False
    interest: int = select.EPOLLIN

    @property
    def answering(self) -> bool:
        return self.waiting or self.filler > 0 or len(self.pending) > 0


class PodServer:
    """Serves until SIGTERM (then `drain_seconds` more, and what is being answered is finished) or GET /shutdown.

    Raises OSError from `open` where an address cannot be had.
    """

    def __init__(self, options: PodServerOptions) -> None:
        self._options = options
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], object]] = {}
        self._listeners: list[socket.socket] = []
        self._connections: dict[int, _Connection] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._draining = False
        self._stopped = False

    def open(self) -> None:
        """Listen on all addresses of both families, as far as the kernel has them."""
        options = self._options
        for family in _FAMILIES:
            try:
                for port in options.tcp_ports:
                    self._listen(family, socket.IPPROTO_TCP, port, lines=False)
                for port in options.sctp_ports:
                    self._listen(family, socket.IPPROTO_SCTP, port, lines=True)
                for port in options.udp_ports:
                    self._bind_udp(family, port)
            except OSError as error:
                if family == socket.AF_INET6 and error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                    continue  # a kernel or a namespace without IPv6
                raise

    def addresses(self) -> list[tuple[int, int]]:
        """(family, port) of each socket that is listened on: how a test learns of a port that the kernel chose."""
        return [(int(sock.family), sock.getsockname()[1]) for sock in self._listeners]

    def watch_for_signals(self, wake: socket.socket) -> None:
        """Return from waiting when a byte comes in here (signal.set_wakeup_fd)."""
        self._watch(wake, lambda: wake.recv(64))

    def drain(self) -> None:
        """Begin the graceful end: go on serving for the drain time, then finish what is being answered."""
        if not self._draining:
            self._draining = True
            self._after(self._options.drain_seconds, self._close_doors)

    def serve(self) -> None:
        """Answer until the end."""
        while not self._stopped:
            for fd, _ in self._epoll.poll(self._until_timer()):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler()
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()
        for connection in list(self._connections.values()):
            self._close(connection)
        self._close_listeners()

    # Timers

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), action))

    def _until_timer(self) -> float:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def _close_doors(self) -> None:
        self._close_listeners()
        for connection in list(self._connections.values()):
            if not connection.answering:
                self._close(connection)
        self._end_if_done()

    def _close_listeners(self) -> None:
        for sock in self._listeners:
            self._forget(sock)
        self._listeners.clear()

    def _end_if_done(self) -> None:
        if self._draining and not self._listeners and not self._connections:
            self._stopped = True

    # Sockets

    def _watch(self, sock: socket.socket, handler: Callable[[], object]) -> None:
        self._handlers[sock.fileno()] = handler
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _forget(self, sock: socket.socket) -> None:
        self._handlers.pop(sock.fileno(), None)
        sock.close()  # which takes it out of the epoll set, epoll(7)

    def _new_socket(self, family: int, kind: int, protocol: int, port: int) -> socket.socket:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))  # noqa: S104 - a server for everybody
        except OSError:
            sock.close()
            raise
        self._listeners.append(sock)
        return sock

    def _listen(self, family: int, protocol: int, port: int, *, lines: bool) -> None:
        sock = self._new_socket(family, socket.SOCK_STREAM, protocol, port)
        sock.listen(_BACKLOG)
        self._watch(sock, lambda: self._accept(sock, lines=lines))

    def _bind_udp(self, family: int, port: int) -> None:
        sock = self._new_socket(family, socket.SOCK_DGRAM, 0, port)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        self._watch(sock, lambda: self._datagrams(sock))

    def _datagrams(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                data, ancillary, _flags, peer = sock.recvmsg(65535, 128)
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            line = answer_line(data, hostname=self._options.hostname, peer=_peer_text(peer))
            try:
                sock.sendmsg([line], _reply_source(ancillary), 0, peer)
            except OSError:
                continue  # no way back to that sender: a datagram may be lost

    def _accept(self, listener: socket.socket, *, lines: bool) -> None:
        for _ in range(64):
            try:
                sock, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    time.sleep(0.01)  # level-triggered: it will be tried again
                return
            sock.settimeout(0)
            connection = _Connection(sock=sock, peer=_peer_text(peer), lines=lines)
            self._connections[sock.fileno()] = connection
            self._watch(sock, lambda connection=connection: self._ready(connection))  # type: ignore[misc]
            self._ready(connection)  # the request is often there with the connection

    def _close(self, connection: _Connection) -> None:
        if self._connections.pop(connection.sock.fileno(), None) is not None:
            self._forget(connection.sock)
            self._end_if_done()

    # One connection

    def _ready(self, connection: _Connection) -> None:
        if connection.sock.fileno() < 0:
            return
        try:
            if connection.pending or connection.filler:
                self._write(connection)
            else:
                self._read(connection)
        except (ConnectionError, TimeoutError):
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.sock.recv(_CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        if not data:
            self._close(connection)
            return
        connection.received += data
        self._proceed(connection)

    def _proceed(self, connection: _Connection) -> None:
        while not connection.answering and not connection.last and connection.sock.fileno() >= 0:
            if not (self._next_line(connection) if connection.lines else self._next_request(connection)):
                return

    def _next_line(self, connection: _Connection) -> bool:
        line, newline, rest = connection.received.partition(b"\n")
        if not newline:
            return False
        connection.received = rest
        self._send(connection, answer_line(bytes(line), hostname=self._options.hostname, peer=connection.peer))
        return True

    def _next_request(self, connection: _Connection) -> bool:
        received = connection.received
        try:
            request = read_head(received)
        except NotARequestError as error:
            connection.last = True
            self._begin(connection, Answer(status=error.status, body=str(error).encode()), head_only=False)
            return False
        if request is None:
            return False
        end = request.head_bytes + request.body_bytes
        if len(received) < end:
            if request.expects_continue and len(received) == request.head_bytes:
                connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            return False
        body = bytes(received[request.head_bytes : end])
        del received[:end]
        connection.last = request.last
        found = answer(request.target, body, hostname=self._options.hostname, peer=connection.peer)
        self._begin(connection, found, head_only=request.method == "HEAD")
        return True

    def _begin(self, connection: _Connection, found: Answer, *, head_only: bool) -> None:
        connection.last = connection.last or found.then_exit or (self._draining and not self._listeners)
        if found.then_exit:
            self._draining = True
            self._after(0, self._close_doors)
        data = found.head(last=connection.last) + (b"" if head_only else found.body)

        def send() -> None:
            connection.waiting = False
            connection.filler = 0 if head_only else found.filler
            self._send(connection, data)

        def send_later() -> None:
            send()
            self._proceed(connection)

        if found.delay > 0:
            connection.waiting = True
            self._turn(connection, 0)
            self._after(found.delay, send_later)
        else:
            send()

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection.sock.fileno() < 0:
            return
        connection.pending = data
        try:
            self._write(connection)
        except (ConnectionError, TimeoutError):
            self._close(connection)

    def _write(self, connection: _Connection) -> None:
        while connection.pending or connection.filler:
            if not connection.pending:
                size = min(connection.filler, _CHUNK)
                connection.pending = _FILLER[:size]
                connection.filler -= size
            try:
                sent = connection.sock.send(connection.pending)
            except (BlockingIOError, InterruptedError):
                self._turn(connection, select.EPOLLOUT)
                return
            connection.pending = memoryview(connection.pending)[sent:] if sent < len(connection.pending) else b""
        if connection.last or (self._draining and not self._listeners):
            self._close(connection)
        else:
            was_blocked = connection.interest == select.EPOLLOUT
            self._turn(connection, select.EPOLLIN)
            if was_blocked:
                self._proceed(connection)

    def _turn(self, connection: _Connection, interest: int) -> None:
        if connection.interest != interest:
            connection.interest = interest
            self._epoll.modify(connection.sock.fileno(), interest)


_FILLER: Final = memoryview(b"antrea-proxy pod-server filler..." * (_CHUNK // 32))


def _peer_text(peer: tuple[str, int] | tuple[str, int, int, int]) -> str:
    host, port = peer[0], peer[1]
    return f"[{host.partition('%')[0]}]:{port}" if ":" in host else f"{host}:{port}"


def _reply_source(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Turn the address that a datagram was sent to into the one that its answer leaves from (ip(7), ipv6(7))."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _index, local, _header_destination = struct.unpack("=I4s4s", data)
            return [(level, kind, struct.pack("=I4s4s", 0, local, b"\0\0\0\0"))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, data)]
    return []


def run(options: PodServerOptions, *, listening: Callable[[], None] = lambda: None) -> None:
    """Serve as a process: `listening` is called once all sockets are open; SIGTERM and SIGINT drain.

    Raises OSError where an address cannot be had.
    """
    server = PodServer(options)
    server.open()
    wake_reader, wake_writer = socket.socketpair()
    wake_reader.settimeout(0)
    wake_writer.settimeout(0)
    server.watch_for_signals(wake_reader)
    signal.set_wakeup_fd(wake_writer.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: server.drain())
    listening()
    server.serve()
