"""The API over HTTPS: listeners, who the client is, and sending what `Api` has answered."""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from antrea_proxy.lab.api_server.api import PUBLIC_PATHS, Api
from antrea_proxy.lab.api_server.certificates import Certificates, make_certificates
from antrea_proxy.lab.api_server.errors import ApiError, internal_error, unauthorized
from antrea_proxy.lab.api_server.faults import Faults, reset
from antrea_proxy.lab.api_server.kubeconfig import kubeconfig, write_private
from antrea_proxy.lab.api_server.replies import Reply, WatchReply, refusal_reply
from antrea_proxy.lab.api_server.requests import Request
from antrea_proxy.lab.api_server.store import Store
from antrea_proxy.lab.api_server.watching import WatchLines
from antrea_proxy.lab.fault import Fault

_LOG = structlog.get_logger(__name__)
LARGEST_BODY = 3 * 1024 * 1024
"""Bytes of a request's body, as in the real server."""
_SHUTDOWN_SECONDS = 1.0
_ANONYMOUS = "system:anonymous"
_TOKENS_USER = "admin"


def listening_socket(host: str, port: int = 0) -> socket.socket:
    """Bind a listening TCP socket, in the network namespace in which the calling thread is now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)  # noqa: FBT003 - the library's own signature
    return bound


class ApiServer:
    """Serves a store. Start it within the event loop in which the store is used."""

    def __init__(
        self,
        store: Store,
        *,
        names: Iterable[str] = (),
        certificates: Certificates | None = None,
        faults: Faults | None = None,
    ) -> None:
        """Prepare a server whose certificate holds for these names and addresses, besides the usual ones."""
        self.store = store
        self.certificates = certificates or make_certificates(names=names)
        self.token = secrets.token_urlsafe(24)
        """A bearer token that is as good as the administrator's certificate."""
        self.faults = faults or Faults()
        self._api = Api(store)
        self._runner: web.AppRunner | None = None
        self._addresses: list[tuple[str, int]] = []
        self._watches: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0, *, sockets: Sequence[socket.socket] = ()) -> None:
        """Listen on an address (port 0: a free one) and on these listening sockets, bound wherever they are bound.

        Raises OSError where the address cannot be listened on.
        """
        if self._runner is not None:
            raise RuntimeError("this API server has been started already")
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            application, access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await runner.setup()
        self._runner = runner
        context = self.certificates.server_context()
        try:
            for bound in (listening_socket(host, port), *sockets):
                await web.SockSite(runner, bound, ssl_context=context).start()
                self._addresses.append(bound.getsockname()[:2])
        except BaseException:
            await self.stop()
            raise

    @property
    def url(self) -> str:
        """Where the first listener is reached. Raises RuntimeError before `start`."""
        if not self._addresses:
            raise RuntimeError("this API server has not been started")
        host, port = self._addresses[0]
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def write_kubeconfig(self, path: Path, server_url: str | None = None, user: str = "admin") -> None:
        """Write a kubeconfig for clients that reach the server by this URL (by default the first listener's)."""
        content = kubeconfig(server_url=server_url or self.url, certificates=self.certificates, user=user)
        write_private(Path(path), content)

    async def stop(self) -> None:
        """End all connections, watches too, and close the listeners."""
        for task in self._watches:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._addresses.clear()

    async def _handle(self, http: web.Request) -> web.StreamResponse:
        try:
            user = self._authenticate(http)
            request = await _read(http)
        except ApiError as error:
            return _whole(refusal_reply(error))
        faulty = self.faults.concerns(http)
        if faulty:
            await self.faults.stalled()
            if (refusal := self.faults.refusal(request, user=user)) is not None:
                return _whole(refusal)
        try:
            answer = self._api.answer(request)
        except Exception:  # noqa: BLE001 - the client must get a Status, whatever a hook of the control plane does
            _LOG.exception("request failed", method=request.method, path=request.path)
            return _whole(refusal_reply(internal_error()))
        if isinstance(answer, WatchReply):
            return await self._send_watch(http, answer)
        if faulty and self.faults.current is Fault.CUT:
            return await _send_half(http, answer)
        return _whole(answer)

    def _authenticate(self, http: web.Request) -> str:
        """Accept a certificate of our authority or the token, and give the user's name.

        Raises ApiError: 401 for an unknown token, 403 for anybody else who wants more than to know whether we live.
        """
        header = http.headers.get("Authorization", "")
        if header:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not secrets.compare_digest(token.strip(), self.token):
                raise unauthorized()
            return _TOKENS_USER
        tls = http.transport.get_extra_info("ssl_object") if http.transport else None
        if isinstance(tls, ssl.SSLObject) and (certificate := tls.getpeercert()):
            return _common_name(certificate)
        if http.path not in PUBLIC_PATHS:
            verb = http.method.lower()
            text = f'forbidden: User "{_ANONYMOUS}" cannot {verb} path "{http.path}"'
            raise ApiError(403, "Forbidden", text)
        return _ANONYMOUS

    async def _send_watch(self, http: web.Request, reply: WatchReply) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        task = asyncio.current_task()
        if task is not None:
            self._watches.add(task)
        try:
            await response.prepare(http)
            chunks = WatchLines(self.store, reply).chunks()
            async for chunk in self.faults.through(http, chunks) if self.faults.concerns(http) else chunks:
                await response.write(chunk)
        except ConnectionError:
            pass  # the client has left; there is nobody to tell
        finally:
            if task is not None:
                self._watches.discard(task)
        return response


def _common_name(certificate: Mapping[str, Any]) -> str:
    """Give the name of a certificate's subject (of `SSLObject.getpeercert`): to the API server, the user's."""
    names = dict(pair for attributes in certificate["subject"] for pair in attributes)
    return str(names.get("commonName", ""))


async def _read(http: web.Request) -> Request:
    try:
        body = await http.read()
    except web.HTTPRequestEntityTooLarge as cause:
        text = f"Request entity too large: limit is {LARGEST_BODY}"
        raise ApiError(413, "RequestEntityTooLarge", text) from cause
    return Request(
        method=http.method,
        path=http.path,
        query={name: http.query[name] for name in http.query},
        accept=http.headers.get("Accept", ""),
        content_type=http.headers.get("Content-Type", ""),
        user_agent=http.headers.get("User-Agent", ""),
        body=body,
    )


async def _send_half(http: web.Request, reply: Reply) -> web.StreamResponse:
    """Begin an answer and close the connection in the middle of it."""
    response = web.StreamResponse(status=reply.status, headers=dict(reply.headers()))
    response.content_length = len(reply.content)
    await response.prepare(http)
    await response.write(reply.content[: len(reply.content) // 2])
    reset(http)
    return response


def _whole(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.content, headers=reply.headers())
