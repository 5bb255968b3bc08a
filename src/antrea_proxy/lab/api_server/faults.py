"""Faults that the API server can be told to have, for the agents alone: kubectl goes on as if nothing were wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from antrea_proxy.lab.api_server.errors import ApiError, expired, internal_error, invalid_options
from antrea_proxy.lab.api_server.replies import Reply, refusal_reply
from antrea_proxy.lab.api_server.requests import Request, parse_target
from antrea_proxy.lab.fault import FORBIDDEN_KIND, RETRY_AFTER_SECONDS, WATCH_SECONDS, Fault

AGENT = "antrea-proxy"
"""How the agents' requests begin their User-Agent."""


class Faults:
    """The fault of the moment, and the agents' watches that it acts on."""

    def __init__(self) -> None:
        self.current: Fault | None = None
        self._forbidden_kind = FORBIDDEN_KIND
        self._changed = asyncio.Event()
        self._watches: dict[int, web.Request] = {}

    def switch(self, fault: Fault | None, *, kind: str = FORBIDDEN_KIND) -> None:
        """Have a fault from now on, or none; `kind` is the plural of what is forbidden.

        Watches that are open are reset, but those that a stall keeps silent.
        """
        self.current = fault
        self._forbidden_kind = kind
        self._changed.set()
        self._changed = asyncio.Event()
        if fault not in {Fault.STALL, Fault.CUT}:
            for http in list(self._watches.values()):
                reset(http)

    def concerns(self, http: web.Request) -> bool:
        """Whether a request is an agent's."""
        return http.headers.get("User-Agent", "").startswith(AGENT)

    def refusal(self, request: Request, *, user: str) -> Reply | None:
        """Give what an agent is answered in place of the truth, None where it is answered."""
        watch = request.flag("watch")
        match self.current:
            case Fault.BUSY:
                error = ApiError(429, "TooManyRequests", "the server has received too many requests")
                return refusal_reply(error, retry_after=RETRY_AFTER_SECONDS)
            case Fault.BROKEN:
                return refusal_reply(internal_error())
            case Fault.GONE if watch:
                return refusal_reply(expired("too old resource version: the lab has this fault switched on"))
            case Fault.FORBID if request.method == "GET":
                return self._forbidden(request, "watch" if watch else "list", user)
            case Fault.NO_WATCH_LIST if watch and "sendInitialEvents" in request.query:
                detail = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
                return refusal_reply(invalid_options("sendInitialEvents", detail))
            case _:
                return None

    def _forbidden(self, request: Request, verb: str, user: str) -> Reply | None:
        """Answer as the RBAC authorizer does; Source: kubernetes `apiserver/pkg/endpoints/handlers/responsewriters`."""
        try:
            target = parse_target(request.path)
        except ApiError:
            return None
        resource = target.resource
        if resource.plural != self._forbidden_kind or target.name is not None:
            return None
        where = f'in the namespace "{target.namespace}"' if target.namespace else "at the cluster scope"
        why = (
            f'User "{user}" cannot {verb} resource "{resource.plural}" in API group "{resource.group}" {where}: '
            "the lab has this fault switched on"
        )
        text = f"{resource.qualified} is forbidden: {why}"
        details = {"group": resource.group, "kind": resource.plural}
        return refusal_reply(ApiError(403, "Forbidden", text, details))

    async def stalled(self) -> None:
        """Wait while the server stalls."""
        while self.current is Fault.STALL:
            await self._changed.wait()

    async def through(self, http: web.Request, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Give a watch's bytes as far as the fault of the moment lets them through, then reset the connection."""
        self._watches[id(http)] = http
        if self.current is Fault.DROP_WATCHES:
            asyncio.get_running_loop().call_later(WATCH_SECONDS, reset, http)
        try:
            async for chunk in chunks:
                if self.current is Fault.STALL:
                    await self.stalled()
                    reset(http)
                    return
                if self.current is Fault.CUT:
                    yield chunk[: len(chunk) // 2]
                    reset(http)
                    return
                yield chunk
        finally:
            self._watches.pop(id(http), None)


def reset(http: web.Request) -> None:
    """Reset a client's connection, whatever was under way."""
    if http.transport is not None:
        http.transport.abort()
