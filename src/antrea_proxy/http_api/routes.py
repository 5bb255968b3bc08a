"""The API's paths. Answers are JSON but for /metrics and /healthz; an error is `{"error": "what, and what to do"}`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from antrea_proxy.agent.status import AgentStatus, Phase
from antrea_proxy.http_api import metrics, tracing
from antrea_proxy.http_api.listing import RESOURCES, Resource, Watcher, list_parts
from antrea_proxy.http_api.settings_view import settings_view
from antrea_proxy.http_api.view_types import TraceRequest
from antrea_proxy.http_api.views import Selection, status_view
from antrea_proxy.settings import Settings

MAX_REQUEST: Final = 65536
"""Bytes of a request's body; a trace request has some hundred."""

WATCH_PAUSE: Final = 0.1
"""Seconds between two answers to a watch, at least: changes in between come together."""

WATCH_SHARE: Final = 5
"""A watch rests so many times as long as its last answer took to make."""

_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSources:
    """What the API is made of. `changed` returns when a status is published after its call.

    `trace_in_switch` is None where no switch can be asked.
    """

    status: Callable[[], AgentStatus]
    changed: Callable[[], Awaitable[object]]
    settings: Settings
    trace_in_switch: tracing.TraceInSwitch | None = None


def application(sources: ApiSources, *, may_trace: bool) -> web.Application:
    """Make the application. Without `may_trace` it only reads: for sockets that every user of the Node can reach."""
    api = _Api(sources, may_trace=may_trace)
    app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_REQUEST)
    app.on_shutdown.append(api.end_watches)
    app.router.add_get("/healthz", api.healthz)
    app.router.add_get("/v1/status", api.status)
    app.router.add_get("/v1/config", api.config)
    app.router.add_post("/v1/trace", api.trace)
    for path, resource in RESOURCES.items():
        app.router.add_get(f"/v1/{path}", api.lister(resource))
    if sources.settings.enable_prometheus_metrics:
        app.router.add_get("/metrics", api.metrics)
    return app


class _Api:
    def __init__(self, sources: ApiSources, *, may_trace: bool) -> None:
        self._sources = sources
        self._may_trace = may_trace
        self._exposition = metrics.exposition(sources.status)
        self._ended = asyncio.Event()

    async def end_watches(self, _app: web.Application) -> None:
        """Let no watch keep the agent from ending."""
        self._ended.set()

    async def healthz(self, _request: web.Request) -> web.Response:
        status = self._sources.status()
        if status.phase is Phase.RUNNING and status.switch.connected:
            return web.Response(text="ok\n")
        reason = status.problem or ("the switch is not reached" if not status.switch.connected else status.phase.value)
        return web.Response(status=503, text=f"{status.phase.value}: {reason}\n")

    async def status(self, _request: web.Request) -> web.Response:
        return _json(status_view(self._sources.status()))

    async def config(self, _request: web.Request) -> web.Response:
        settings = self._sources.settings
        return _json({"settings": settings_view(settings), "notUsed": settings.not_used})

    async def metrics(self, _request: web.Request) -> web.Response:
        body = await asyncio.to_thread(self._exposition)
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def trace(self, request: web.Request) -> web.Response:
        if not self._may_trace:
            raise web.HTTPForbidden(text="traces are for the Unix socket: this address only reads")
        try:
            wanted = msgspec.json.decode(await request.read(), type=TraceRequest)
        except msgspec.MsgspecError as error:
            raise web.HTTPBadRequest(text=f"the body is no trace request: {error}") from error
        try:
            return _json(await tracing.answer(self._sources.status(), wanted, self._sources.trace_in_switch))
        except tracing.UnknownError as error:
            raise web.HTTPNotFound(text=str(error)) from error
        except tracing.RequestError as error:
            raise web.HTTPBadRequest(text=str(error)) from error

    def lister(self, resource: Resource) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            selection, watch = _asked(request.query)
            if watch:
                return await self._watch(request, Watcher(resource, selection))
            response = web.StreamResponse(headers={"Content-Type": _JSON})
            await response.prepare(request)
            for part in list_parts(resource, self._sources.status(), selection):
                await response.write(part)
                await asyncio.sleep(0)
            await response.write_eof()
            return response

        return answer

    async def _watch(self, request: web.Request, watcher: Watcher) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        while not self._ended.is_set():
            status, began = self._sources.status(), loop.time()
            for part in watcher.parts(status):
                if part:  # an empty one would end the answer (RFC 9112 section 7.1)
                    await response.write(part)
                await asyncio.sleep(0)
            await self._unless_ended(asyncio.sleep(max(WATCH_PAUSE, WATCH_SHARE * (loop.time() - began))))
            if self._sources.status() is status:
                await self._unless_ended(self._sources.changed())
        return response

    async def _unless_ended(self, waiting: Awaitable[object]) -> None:
        """Wait for something, or for the API's end."""
        tasks = {asyncio.ensure_future(waiting), asyncio.ensure_future(self._ended.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()


def _asked(query: Mapping[str, str]) -> tuple[Selection, bool]:
    """Read `namespace`, `name` and `watch` (0 or 1) of a query."""
    unknown = query.keys() - {"namespace", "name", "watch"}
    if unknown:
        raise web.HTTPBadRequest(text=f"{min(unknown)}: no such parameter; there are namespace, name and watch")
    watch = query.get("watch", "0")
    if watch not in {"0", "1"}:
        raise web.HTTPBadRequest(text=f"watch: {watch!r}: must be 0 or 1")
    return Selection(namespace=query.get("namespace", ""), name=query.get("name", "")), watch == "1"


def _json(value: Any) -> web.Response:  # noqa: ANN401 - what msgspec encodes
    return web.Response(body=msgspec.json.encode(value) + b"\n", content_type=_JSON)


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        text = error.text or error.reason
        if error.status == web.HTTPNotFound.status_code and request.match_info.http_exception is not None:
            text = (
                f"{request.path}: no such path; there are /v1/status, /v1/config, /healthz, /metrics and "
                + ", ".join(f"/v1/{path}" for path in RESOURCES)
            )
        body = msgspec.json.encode({"error": text}) + b"\n"
        return web.Response(status=error.status, body=body, content_type=_JSON)
