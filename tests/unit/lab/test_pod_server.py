"""The server in a Pod answers as agnhost's netexec does."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from antrea_proxy.lab.pod_server import PodServer, PodServerOptions, run
from antrea_proxy.lab.pod_server_arguments import parse_arguments

BOTH = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server in a thread of the test, on a port of both families."""

    server: PodServer
    port: int

    def get(self, path: str, host: str = "127.0.0.1") -> str:
        connection = http.client.HTTPConnection(host, self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def running() -> Iterator[Running]:
    port = _free_port()
    server = PodServer(
        PodServerOptions(hostname="pod-1", tcp_ports=(port,), udp_ports=(port,), sctp_ports=(), drain_seconds=0.2)
    )
    server.open()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield Running(server=server, port=port)
    finally:
        Running(server=server, port=port).get("/shutdown")
        thread.join(timeout=5)
        assert not thread.is_alive()


@BOTH
def test_it_tells_its_name_and_the_clients_address_and_port(running: Running, host: str) -> None:
    assert running.get("/hostname", host) == "pod-1"
    address, _, port = running.get("/clientip", host).rpartition(":")
    assert address == (f"[{host}]" if ":" in host else host)
    assert 1 <= int(port) <= 65535


def test_it_echoes_a_message_or_a_body(running: Running) -> None:
    assert running.get("/echo?msg=a%20b+c") == "a b c"
    body = os.urandom(300_000)
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
    connection.request("POST", "/echo", body)
    assert connection.getresponse().read() == body
    connection.close()


def test_several_requests_go_over_one_connection_also_all_at_once(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b""
        while part := sock.recv(65536):
            received += part
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(b"HTTP/1.1 404 Not Found") == 1


def test_a_request_may_come_in_single_bytes(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /hostname HTTP/1.0\r\n\r\n":
            sock.sendall(bytes([byte]))
        assert sock.makefile("rb").read().endswith(b"\r\n\r\npod-1")


def test_it_sends_as_many_bytes_as_asked_to_a_slow_reader(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
        sock.sendall(b"GET /bytes?n=9000000 HTTP/1.0\r\n\r\n")
        time.sleep(0.05)
        count = 0
        while part := sock.recv(65536):
            count += len(part)
    assert 9_000_000 < count < 9_000_300


def test_a_sleeping_request_does_not_hold_up_others(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
        began = time.monotonic()
        sock.sendall(b"GET /sleep?s=0.3 HTTP/1.0\r\n\r\n")
        assert running.get("/healthz") == "ok"
        assert time.monotonic() - began < 0.25
        assert sock.makefile("rb").read().endswith(b"slept")
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /bytes?n=-1 HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /sleep?s=nan HTTP/1.0\r\n\r\n", b"400"),
        (b"GET /sleep?s=much HTTP/1.0\r\n\r\n", b"400"),
        (b"POST /echo HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"GET /" + b"x" * 70000, b"413"),
    ],
)
def test_what_it_cannot_answer_is_refused_and_it_goes_on(running: Running, request_bytes: bytes, status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=5) as sock:
        sock.sendall(request_bytes)
        assert sock.recv(65536).split(b" ")[1] == status
    assert running.get("/healthz") == "ok"


@BOTH
def test_udp_takes_one_line_and_answers_one_from_the_address_asked(running: Running, host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        # Connected: the kernel takes answers from that address only. 127.0.0.2 is not the one it would choose itself.
        sock.connect(("127.0.0.2" if family == socket.AF_INET else host, running.port))
        for line, answer in ((b"hostname\n", b"pod-1\n"), (b"echo some text", b"some text\n")):
            sock.send(line)
            assert sock.recv(100) == answer
        sock.send(b"clientip")
        address, port = sock.getsockname()[:2]
        assert sock.recv(100).decode() == (f"[{address}]:{port}\n" if ":" in address else f"{address}:{port}\n")


def test_a_thousand_connections_are_served_at_once(running: Running) -> None:
    socks = [socket.create_connection(("127.0.0.1", running.port), timeout=5) for _ in range(1000)]
    for sock in socks:
        sock.sendall(b"GET /hostname HTTP/1.1\r\n\r\n")
    for sock in socks:
        assert sock.recv(1000).endswith(b"pod-1")
        sock.close()


def test_after_sigterm_it_serves_for_the_drain_time_and_finishes_what_it_answers() -> None:
    port = _free_port()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        options = PodServerOptions(hostname="p", tcp_ports=(port,), udp_ports=(port,), drain_seconds=0.3)
        os.close(reader)
        run(options, listening=lambda: os.close(writer))
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as busy:
        busy.sendall(b"GET /sleep?s=0.6 HTTP/1.1\r\n\r\n")
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port), timeout=5) as new:
            new.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
            assert new.makefile("rb").read().endswith(b"p")
        time.sleep(0.3)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        assert busy.makefile("rb").read().endswith(b"slept")
    assert os.waitpid(pid, 0) == (pid, 0)


def test_its_arguments_name_ports_and_time() -> None:
    words = ["--port", "80", "--port", "81", "--sctp", "--drain", "30"]
    assert parse_arguments(words, hostname="h") == PodServerOptions(
        hostname="h", tcp_ports=(80, 81), udp_ports=(80, 81), sctp_ports=(80, 81), drain_seconds=30.0
    )


@pytest.mark.parametrize("words", [["--port", "0"], ["--port", "70000"], ["--drain", "-1"], ["--what"], ["word"]])
def test_wrong_arguments_are_refused_with_the_word(words: list[str]) -> None:
    with pytest.raises(ValueError, match=words[-1]):
        parse_arguments(words, hostname="h")
