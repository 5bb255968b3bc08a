"""An agent whose client certificate expires, at an API server that checks it: what it says, and what traffic sees."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from antrea_proxy.lab import namespaces
from antrea_proxy.lab.api_server.certificates import SERVER_NAMES, Certificates
from antrea_proxy.lab.api_server.kubeconfig import kubeconfig, write_private
from antrea_proxy.lab.api_server.server import listening_socket
from lab_cluster import PROGRAM, Cluster, service_object, wait_until
from lab_stage import BOTH_PROTOCOLS, DUAL, Stage, ask_agent, ask_service, await_service

LIVES_S = (5.0, 20.0, 60.0)
"""How long a certificate holds that expires in a run: the first of these in which an agent connects with it."""
RECOVERY_S = 60.0
"""An agent waits up to 30 s between two tries."""


class Gate:
    """A TLS server in a Node's network namespace: it checks the agent's certificate and passes the rest on.

    Its authority is the test's own, so that it can make certificates of any dates.
    """

    def __init__(self, cluster: Cluster, node: str) -> None:
        self._authority = trustme.CA(organization_name="test")
        issued = self._authority.issue_cert(*SERVER_NAMES)
        self._server = issued.private_key_and_cert_chain_pem.bytes()
        self._target = urlsplit(cluster.status()["apiServer"])
        self._upstream = _upstream_context(json.loads(cluster.places.kubeconfig.read_text()))
        with namespaces.inside(cluster.node(node).netns):
            self._listener = listening_socket("127.0.0.1")
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))
        self._stopped = asyncio.Event()

    def kubeconfig(self, *, ends: dt.datetime) -> bytes:
        """Give a kubeconfig that leads here, with a client certificate that ends then."""
        return kubeconfig(
            server_url=f"https://127.0.0.1:{self._listener.getsockname()[1]}",
            certificates=self._certificates(ends),
            user="tester",
        )

    def _certificates(self, ends: dt.datetime) -> Certificates:
        issued = self._authority.issue_cert(
            common_name="tester", not_before=ends - dt.timedelta(days=1), not_after=ends
        )
        return Certificates(
            authority=self._authority.cert_pem.bytes(),
            server=self._server,
            client_certificate=issued.cert_chain_pems[0].bytes(),
            client_key=issued.private_key_pem.bytes(),
        )

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Serve for the block."""
        self._thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)
            self._loop.close()

    def reset(self) -> None:
        """Break off all connections."""
        self._loop.call_soon_threadsafe(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self) -> None:
        context = self._certificates(dt.datetime.now(dt.UTC)).server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        async with await asyncio.start_server(self._pass_on, sock=self._listener, ssl=context):
            await self._stopped.wait()
            self._abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target.hostname, self._target.port
        there, here = await asyncio.open_connection(host, port, ssl=self._upstream)
        self._writers |= {writer, here}
        await asyncio.gather(_copy(reader, here), _copy(there, writer))
        self._writers -= {writer, here}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


def _upstream_context(config: dict[str, list[dict[str, dict[str, str]]]]) -> ssl.SSLContext:
    """Give the TLS of the lab's own kubeconfig."""
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=_pem(cluster["certificate-authority-data"]))
    trusted = trustme.Blob(_pem(user["client-key-data"]).encode() + _pem(user["client-certificate-data"]).encode())
    with trusted.tempfile() as chain:
        context.load_cert_chain(chain)
    return context


def _pem(data: str) -> str:
    return base64.b64decode(data).decode()


@pytest.fixture
def gate(stage: Stage) -> Iterator[Gate]:
    """The gate of node-1, whose agent is put back to its own kubeconfig in the end."""
    cluster, node = stage.cluster, stage.nodes[0]
    path = cluster.places.node(node).kubeconfig
    before = path.read_bytes()
    made = Gate(cluster, node)
    with made.open():
        try:
            yield made
        finally:
            write_private(path, before)
            cluster.lab("restart", "agent", node)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _complaint(path: Path, ends: dt.datetime) -> str:
    """What the agent is to say: the file, the field, the date and the remedy."""
    return (
        f"the certificate in client-certificate-data of kubeconfig {path}, context antrea-proxy-lab "
        f"expired on {ends:%Y-%m-%d %H:%M:%S} UTC; put a new one there"
    )


def _connect_with_a_short_life(cluster: Cluster, node: str, gate: Gate) -> dt.datetime:
    """Have an agent connect with a certificate that ends soon, and give the moment."""
    for life_s in LIVES_S:
        ends = (_now() + dt.timedelta(seconds=life_s)).replace(microsecond=0)
        write_private(cluster.places.node(node).kubeconfig, gate.kubeconfig(ends=ends))
        since = time.time()
        gate.reset()
        wait_until(lambda since=since: _connected(cluster, node) > since, "connected again", seconds=RECOVERY_S)  # type: ignore[misc]
        if _now() < ends:
            return ends
    raise AssertionError(f"the agent does not connect within {LIVES_S[-1]:g} s")


def _connected(cluster: Cluster, node: str) -> float:
    """Tell since when an agent has followed every kind, in seconds since the epoch; 0 where it does not."""
    sources = ask_agent(cluster, node, "/v1/status")["sources"]
    return min(source["connectedSince"] or 0.0 for source in sources)


def _make(stage: Stage, name: str) -> None:
    stage.cluster.apply(
        service_object(stage.namespace, name, port=80, selector={"app": "server"}, ports=BOTH_PROTOCOLS, **DUAL)
    )


def test_a_certificate_that_expires_in_a_run_stops_no_traffic_and_a_new_one_is_taken_up(
    stage: Stage, gate: Gate
) -> None:
    """The agent is not restarted: a kubeconfig that is written anew is read anew."""
    cluster, node = stage.cluster, stage.nodes[0]
    path, log = cluster.places.node(node).kubeconfig, cluster.places.node(node).agent_log
    client = stage.clients[node]
    address = stage.service("lasting", endpoints=3)[0]
    write_private(path, gate.kubeconfig(ends=_now() + dt.timedelta(days=1)))
    cluster.lab("restart", "agent", node)
    started = ask_agent(cluster, node, "/v1/status")["startedAt"]
    ends = _connect_with_a_short_life(cluster, node, gate)
    with client.connect(address, 80, timeout=30) as connection:
        connection.sendall(b"GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200" in connection.recv(65536)
        time.sleep(max(0.0, (ends - _now()).total_seconds() + 1.5))
        assert _complaint(path, ends) not in log.read_text()
        _make(stage, "meanwhile")  # told over the connection of before
        await_service(cluster, stage.namespace, "meanwhile", endpoints=3)
        gate.reset()
        wait_until(lambda: _complaint(path, ends) in log.read_text(), "the expired certificate is told")
        _make(stage, "later")
        assert not client.connect_many(address, 80, count=50).failed
        connection.sendall(b"GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200" in connection.recv(65536)
        assert ask_service(cluster, node, stage.namespace, "later") is None
        write_private(path, gate.kubeconfig(ends=_now() + dt.timedelta(days=1)))
        await_service(cluster, stage.namespace, "later", endpoints=3, seconds=RECOVERY_S)
        connection.sendall(b"GET /hostname HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200" in connection.recv(65536)
    assert ask_agent(cluster, node, "/v1/status")["startedAt"] == started
    stage.remove("lasting", "meanwhile", "later")


def test_an_agent_that_starts_with_an_expired_certificate_says_so_and_waits_for_a_new_one(
    stage: Stage, gate: Gate
) -> None:
    """What an agent of before has programmed goes on."""
    cluster, node = stage.cluster, stage.nodes[0]
    path, log = cluster.places.node(node).kubeconfig, cluster.places.node(node).agent_log
    address = stage.service("kept", endpoints=3)[0]
    ends = (_now() - dt.timedelta(days=2)).replace(microsecond=0)
    write_private(path, gate.kubeconfig(ends=ends))
    words = [PROGRAM, "lab", "--name", cluster.name, "restart", "agent", node]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as restart:  # ends when the agent is ready
        wait_until(lambda: _complaint(path, ends) in log.read_text(), "the expired certificate is told", seconds=30)
        assert not stage.clients[node].connect_many(address, 80, count=50).failed
        assert restart.poll() is None
        write_private(path, gate.kubeconfig(ends=_now() + dt.timedelta(days=1)))
        assert restart.wait(RECOVERY_S) == 0
    sources = ask_agent(cluster, node, "/v1/status")["sources"]
    assert all(source["synced"] for source in sources)
    assert not stage.clients[node].connect_many(address, 80, count=50).failed
    stage.remove("kept")
