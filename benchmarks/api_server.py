"""An API server that does nothing but answer lists and watches with bytes made beforehand, over TLS.

So the time that a real one takes to make its answers is not measured; the agent's client is the ordinary one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from aiohttp import web

from antrea_proxy.lab.api_server.certificates import make_certificates
from antrea_proxy.lab.api_server.kubeconfig import kubeconfig, write_private


class StaticApiServer:
    """Lists by path, and watches that say what `publish` is given. Times are Unix times in seconds."""

    def __init__(self, lists: Mapping[str, bytes]) -> None:
        self.at_first_request: Callable[[], None] = lambda: None
        self._lists = lists
        self._watches: dict[str, web.StreamResponse] = {}
        self.first_request_at = 0.0
        """When the first list began to be sent."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        body = self._lists.get(request.path)
        if body is None:
            raise web.HTTPNotFound
        if "sendInitialEvents" in request.query:
            raise web.HTTPUnprocessableEntity
        if "watch" in request.query:
            return await self._watch(request)
        if not self.first_request_at:
            self.at_first_request()
            self.first_request_at = time.time()
        return web.Response(body=body, content_type="application/json")

    async def publish(self, path: str, line: bytes) -> float:
        """Send a line on the watch of that path; return when its sending began."""
        watch = self._watches[path]
        began = time.time()
        await watch.write(line)
        return began

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._watches[request.path] = response
        await asyncio.Event().wait()
        return response


@contextlib.asynccontextmanager
async def running_api_server(lists: Mapping[str, bytes], kubeconfig_out: Path) -> AsyncIterator[StaticApiServer]:
    """Serve while the block runs, on a free port of 127.0.0.1 in this process's network namespace."""
    server = StaticApiServer(lists)
    application = web.Application()
    application.router.add_get("/{path:.*}", server.answer)
    certificates = make_certificates()
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates.server_context())
        await site.start()
        port = runner.addresses[0][1]
        url = f"https://127.0.0.1:{port}"
        write_private(kubeconfig_out, kubeconfig(server_url=url, certificates=certificates, user="benchmark"))
        yield server
    finally:
        await runner.cleanup()
