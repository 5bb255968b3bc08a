"""Who we are, at the moment of a request: bearer tokens that get renewed, and credential plugins."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from antrea_proxy.sources.access import (
    BasicAuth,
    ClientCertificate,
    ClusterAccess,
    ExecPlugin,
    PemText,
    Token,
    TokenFile,
)
from antrea_proxy.sources.errors import AccessError

PLUGIN_TIMEOUT_S: Final = 60.0
TOKEN_FILE_AGE_S: Final = 60.0
"""How long a token file's content is used unread; client-go's period. A 401 reads it at once."""


class _CredentialStatus(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: dt.datetime | None = None


class _ExecCredential(msgspec.Struct, frozen=True):
    status: _CredentialStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a request carries: the Authorization header (empty for none) and a plugin's certificate."""

    authorization: str = field(default="", repr=False)
    certificate: ClientCertificate | None = None


@dataclass(slots=True, kw_only=True)
class Credentials:
    """The login of one access, renewed when its time is over or the server refused it. `clock` counts seconds."""

    access: ClusterAccess
    clock: Callable[[], float] = time.time
    _known: Credential | None = field(default=None, init=False)
    _valid_until: float = field(default=0.0, init=False)
    _renewing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def current(self) -> Credential:
        """Give the credential to use now.

        Raises AccessError where it cannot be had: a token file is missing, a plugin fails.
        """
        async with self._renewing:
            if self._known is None or self.clock() >= self._valid_until:
                self._known, self._valid_until = await self._renewed()
            return self._known

    def reject(self, refused: Credential) -> None:
        """Take note that the server answered 401, so that the next request renews the credential."""
        if self._known is refused:
            self._known = None

    async def _renewed(self) -> tuple[Credential, float]:
        match self.access.login:
            case None:
                return Credential(), float("inf")
            case Token(token=token):
                return Credential(authorization=f"Bearer {token}"), float("inf")
            case BasicAuth(username=username, password=password):
                pair = base64.b64encode(f"{username}:{password}".encode()).decode()
                return Credential(authorization=f"Basic {pair}"), float("inf")
            case TokenFile(path=path):
                try:
                    token = path.read_text().strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise AccessError(f"{self.access.origin}: token file {path} cannot be read: {error}") from error
                return Credential(authorization=f"Bearer {token}"), self.clock() + TOKEN_FILE_AGE_S
            case ExecPlugin() as plugin:
                return _of_plugin(await _run(plugin, self.access.origin))


async def _run(plugin: ExecPlugin, origin: str) -> _CredentialStatus:
    information = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(information)}
    failed = f"{origin}: credential plugin {plugin.command}"
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        hint = f"; {plugin.install_hint}" if plugin.install_hint else ""
        raise AccessError(f"{failed} cannot be run: {error}{hint}") from error
    try:
        async with asyncio.timeout(PLUGIN_TIMEOUT_S):
            printed, complaint = await process.communicate()
    except TimeoutError as error:
        raise AccessError(f"{failed} did not end within {PLUGIN_TIMEOUT_S:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise AccessError(f"{failed} ended with {process.returncode}: {complaint.decode(errors='replace').strip()}")
    try:
        status = msgspec.json.decode(printed, type=_ExecCredential).status
    except msgspec.DecodeError as error:
        raise AccessError(f"{failed} printed no ExecCredential: {error}") from error
    if not (status.token or (status.client_certificate_data and status.client_key_data)):
        raise AccessError(f"{failed} printed neither a token nor a certificate with its key")
    return status


def _of_plugin(status: _CredentialStatus) -> tuple[Credential, float]:
    certificate = None
    if status.client_certificate_data and status.client_key_data:
        certificate = ClientCertificate(
            certificate=PemText(text=status.client_certificate_data, origin="of the credential plugin"),
            key=PemText(text=status.client_key_data, origin="of the credential plugin"),
        )
    expires = status.expiration_timestamp
    return (
        Credential(authorization=f"Bearer {status.token}" if status.token else "", certificate=certificate),
        float("inf") if expires is None else expires.timestamp(),
    )
