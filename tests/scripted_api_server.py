"""An API server that does what a test tells it, request by request: for the faults that a good one never has."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
import yaml
from aiohttp import web

Step = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class ScriptedApiServer:
    """Plays its steps in order, one a request; after the last, requests wait until the server is closed."""

    steps: list[Step]
    url: str = ""
    ca: trustme.CA = field(default_factory=trustme.CA)
    requests: list[dict[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request with the next step."""
        self.requests.append(dict(request.query))
        self.headers.append(dict(request.headers))
        self.paths.append(f"{request.method} {request.rel_url.raw_path}")
        body = await request.read()
        self.bodies.append(json.loads(body) if body else None)
        return await (self.steps.pop(0) if self.steps else self.wait)(request)

    async def wait(self, _: web.Request) -> web.StreamResponse:
        """Never answer."""
        await self.closing.wait()
        return web.Response(status=503)

    def kubeconfig(self, path: Path, *, ca: trustme.CA | None = None, **user: object) -> Path:
        """Write a kubeconfig for this server; `user` are keys with _ for -."""
        pem = (ca or self.ca).cert_pem.bytes()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority-data": base64.b64encode(pem).decode(),
                    },
                }
            ],
            "users": [{"name": "test", "user": {key.replace("_", "-"): value for key, value in user.items()}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path


@contextlib.asynccontextmanager
async def scripted(*steps: Step, clients: trustme.CA | None = None) -> AsyncIterator[ScriptedApiServer]:
    """Run a server with these steps on a free port; `clients` is the CA that clients must have a certificate of."""
    server = ScriptedApiServer(steps=list(steps))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.ca.issue_cert("127.0.0.1").configure_cert(tls)
    if clients is not None:
        tls.verify_mode = ssl.CERT_REQUIRED
        clients.configure_trust(tls)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    server.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.closing.set()
        await runner.cleanup()


def service(name: str, version: int, **spec: object) -> dict[str, Any]:
    """Make a Service of the namespace default."""
    return {
        "metadata": {"name": name, "namespace": "default", "resourceVersion": str(version)},
        "spec": {"clusterIP": "10.96.0.10", **spec},
    }


def listing(*items: object, version: int, more: str = "") -> Step:
    """Answer with a complete list, or with a chunk that has a continue token."""
    metadata = {"resourceVersion": str(version), "continue": more}
    return answer(200, {"kind": "ServiceList", "apiVersion": "v1", "metadata": metadata, "items": list(items)})


def answer(status: int, body: object, **headers: str) -> Step:
    """Answer with JSON, or with text as it is; header names have _ for -."""

    async def step(request: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        return web.Response(status=status, text=text, content_type="application/json", headers=given)

    return step


def event(kind: str, item: object) -> bytes:
    """Make a line of a watch."""
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def end_of_list(version: int) -> bytes:
    """Write the bookmark behind the objects that a watch begins with."""
    metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
    return event("BOOKMARK", {"metadata": metadata})


def bookmark(version: int) -> bytes:
    """Make a bookmark."""
    return event("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": str(version)}})


def gone() -> bytes:
    """Make the event that ends a watch from too old a version."""
    return event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"})


def watching(*pieces: bytes, then: str = "end", pause_s: float = 0.0) -> Step:
    """Send pieces of a watch, then end it in good order, `drop` the connection, or `hold` it open."""

    async def step(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(pause_s)
        if then == "drop":
            assert request.transport is not None
            request.transport.abort()
        elif then == "hold":
            await asyncio.sleep(3600)
        return response

    return step


def split(data: bytes, size: int) -> Iterable[bytes]:
    """Cut bytes into pieces of a size."""
    return (data[start : start + size] for start in range(0, len(data), size))
