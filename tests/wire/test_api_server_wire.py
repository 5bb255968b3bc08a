"""The lab's API server over real sockets: watches, who is let in, start and stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from antrea_proxy.lab.api_server import Store, watching
from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.server import ApiServer, listening_socket
from api_samples import config_map, service

_CONFIG_MAPS = "/api/v1/configmaps"


class _Session:
    """A running server and a client that trusts it."""

    def __init__(self, server: ApiServer, http: aiohttp.ClientSession) -> None:
        self.server = server
        self.store = server.store
        self.http = http

    @asynccontextmanager
    async def watch(self, query: str) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any] | None]]]:
        async with self.http.get(f"{self.server.url}{_CONFIG_MAPS}?watch=1&{query}") as response:

            async def next_event() -> dict[str, Any] | None:
                line = await asyncio.wait_for(response.content.readline(), 5)
                return json.loads(line) if line else None

            yield next_event


@asynccontextmanager
async def _session() -> AsyncIterator[_Session]:
    server = ApiServer(Store())
    await server.start()
    trusted = ssl.create_default_context(cadata=server.certificates.authority.decode())
    headers = {"Authorization": f"Bearer {server.token}"}
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted), headers=headers) as http:
            yield _Session(server, http)
    finally:
        await server.stop()


def test_a_watch_streams_events_and_ends_at_its_time_out() -> None:
    """Lines of JSON as they happen; timeoutSeconds ends the stream properly."""

    async def scenario() -> list[Any]:
        async with _session() as session, session.watch("timeoutSeconds=1") as next_event:
            session.store.create(kinds.CONFIG_MAPS, config_map(a="1"))
            added = await next_event()
            session.store.delete(kinds.CONFIG_MAPS, "default", "settings")
            return [added, await next_event(), await next_event()]

    added, deleted, end = asyncio.run(scenario())
    assert (added["type"], added["object"]["data"]) == ("ADDED", {"a": "1"})
    assert (deleted["type"], end) == ("DELETED", None)


def test_a_watch_of_a_forgotten_version_is_an_error_event_410() -> None:
    """As the real server answers: an ERROR event with the Status."""

    async def scenario() -> Any:  # noqa: ANN401 - JSON
        async with _session() as session:
            session.store.create(kinds.CONFIG_MAPS, config_map())
            session.store.compact()
            async with session.watch("resourceVersion=1") as next_event:
                return await next_event()

    event = asyncio.run(scenario())
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_bookmarks_move_a_quiet_watch_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch of a quiet kind learns how far the cluster has come."""
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.05)

    async def scenario() -> tuple[Any, int]:
        async with _session() as session:
            since = session.store.resource_version
            async with session.watch(f"resourceVersion={since}&allowWatchBookmarks=true") as next_event:
                for number in range(3):
                    session.store.create(kinds.SECRETS, config_map(f"s{number}"))
                wanted = session.store.resource_version
                while (event := await next_event()) and event["object"]["metadata"]["resourceVersion"] != str(wanted):
                    pass
                return event, wanted

    event, wanted = asyncio.run(scenario())
    assert event == {
        "type": "BOOKMARK",
        "object": {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(wanted), "creationTimestamp": None},
        },
    }


def test_a_stopped_server_ends_its_watches_at_once() -> None:
    """Ending a lab does not wait for watchers."""

    async def scenario() -> float:
        async with _session() as session:
            begun = asyncio.get_running_loop().time()
            async with session.watch("") as next_event:
                stopping = asyncio.create_task(session.server.stop())
                with suppress(aiohttp.ClientError):
                    while await next_event() is not None:
                        pass
                await stopping
            return asyncio.get_running_loop().time() - begun

    assert asyncio.run(scenario()) < 3


def test_who_shows_neither_certificate_nor_token_learns_only_that_the_server_lives() -> None:
    """Probes are answered to anybody; everything else is forbidden, and a wrong token is unauthorized."""

    async def scenario() -> list[Any]:
        async with _session() as session:
            found: list[Any] = []
            for path, headers in (
                ("/readyz", {}),
                ("/api/v1/services", {}),
                ("/readyz", {"Authorization": "Bearer wrong"}),
                ("/readyz", {"Authorization": "Basic YTpi"}),
            ):
                trusted = ssl.create_default_context(cadata=session.server.certificates.authority.decode())
                async with (
                    aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as stranger,
                    stranger.get(session.server.url + path, headers=headers) as response,
                ):
                    body = await response.read()
                    found.append(json.loads(body)["reason"] if response.status != 200 else body)
            return found

    assert asyncio.run(scenario()) == [b"ok", "Forbidden", "Unauthorized", "Unauthorized"]


def test_one_server_answers_on_several_sockets_with_one_certificate() -> None:
    """Nodes reach the server through sockets bound elsewhere, by names that the certificate holds."""

    async def scenario() -> list[int]:
        server = ApiServer(Store(), names=["api.example.com"])
        second = listening_socket("::1")
        await server.start(sockets=[second])
        trusted = ssl.create_default_context(cadata=server.certificates.authority.decode())
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as http:
                urls = [server.url, f"https://[::1]:{second.getsockname()[1]}"]
                found = []
                for url, name in zip(urls, ("api.example.com", "kubernetes.default"), strict=True):
                    async with http.get(f"{url}/livez", server_hostname=name) as response:
                        found.append(response.status)
                return found
        finally:
            await server.stop()

    assert asyncio.run(scenario()) == [200, 200]


def test_ten_thousand_services_are_listed_in_about_a_second() -> None:
    """The cold start of an agent does not wait for the lab."""

    async def scenario() -> tuple[int, float]:
        async with _session() as session:
            for number in range(10_000):
                session.store.create(kinds.SERVICES, service(f"s{number}"))
            begun = time.perf_counter()
            async with session.http.get(f"{session.server.url}/api/v1/services") as response:
                found = json.loads(await response.read())
            return len(found["items"]), time.perf_counter() - begun

    count, seconds = asyncio.run(scenario())
    assert count == 10_000
    assert seconds < 5, "usually 0.2 s; a machine under load gets some room"


def test_the_server_runs_alone_and_ends_on_sigterm(tmp_path: Path) -> None:
    """The command of the README: a ready line, a private kubeconfig, exit code 0."""
    path = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "antrea_proxy.lab.api_server", "--kubeconfig-out", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready: https://127.0.0.1:")
            assert json.loads(path.read_text())["current-context"] == "antrea-proxy-lab"
            assert path.stat().st_mode & 0o777 == 0o600
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
