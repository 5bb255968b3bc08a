"""The lab's API server in a thread of the test, and the stock kubectl that talks to it over TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from antrea_proxy.lab.api_server import Store
from antrea_proxy.lab.api_server.server import ApiServer

T = TypeVar("T")


class KubectlCluster:
    """A cluster without controllers; tests play their part through `do`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = Store()
        self.server = ApiServer(self.store)
        self.kubeconfig = directory / "kubeconfig"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-server")

    def start(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen on a free port of the loopback, and on sockets bound wherever they are; write the kubeconfig."""
        self._thread.start()
        self.run(self.server.start(sockets=sockets))
        self.server.write_kubeconfig(self.kubeconfig)

    def stop(self) -> None:
        """End the server and its thread."""
        self.run(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run(self, awaitable: Awaitable[T]) -> T:
        """Run a coroutine where the server runs."""

        async def wait() -> T:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(10)

    def do(self, action: Callable[[Store], T]) -> T:
        """Call a function with the store, where the server runs."""

        async def call() -> T:
            return action(self.store)

        return self.run(call())

    def environment(self, **more: str) -> dict[str, str]:
        """Give the environment in which kubectl finds this cluster and nothing of the user's."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self.directory / "cache"),
            **more,
        }

    def try_kubectl(self, *arguments: str, manifest: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run kubectl with a manifest on its standard input, whatever comes of it."""
        return subprocess.run(
            ["kubectl", *arguments],
            input=manifest,
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def kubectl(self, *arguments: str, manifest: str = "", **environment: str) -> str:
        """Run kubectl and give what it prints; it must succeed and say nothing on standard error."""
        done = self.try_kubectl(*arguments, manifest=manifest, **environment)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        assert not done.stderr, done.stderr
        return done.stdout

    def refused(self, *arguments: str, manifest: str = "", **environment: str) -> str:
        """Run kubectl, which must fail, and give its complaint."""
        done = self.try_kubectl(*arguments, manifest=manifest, **environment)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} succeeded: {done.stdout}"
        return done.stderr

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run kubectl beside the test; it is ended with the block."""
        process = subprocess.Popen(
            ["kubectl", *arguments], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


@contextmanager
def kubectl_cluster(directory: Path, sockets: Sequence[socket.socket] = ()) -> Iterator[KubectlCluster]:
    """Start a cluster for the block; its API server listens on these sockets, too."""
    cluster = KubectlCluster(directory)
    cluster.start(sockets)
    try:
        yield cluster
    finally:
        cluster.stop()


def rows(printed: str) -> list[dict[str, str]]:
    """Read a table of kubectl's by the positions of its headings."""
    heading, *lines = printed.splitlines()
    names = heading.split("  ")
    titles = [name.strip() for name in names if name.strip()]
    starts = [heading.index(title) for title in titles]
    found: list[dict[str, str]] = []
    for line in lines:
        ends: list[int | None] = [*starts[1:], None]
        found.append({title: line[a:b].strip() for title, a, b in zip(titles, starts, ends, strict=True)})
    return found
