"""How to reach an API server and as whom: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token that stays the same."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """A bearer token in a file that somebody renews, as the kubelet does for ServiceAccounts."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """A user name and a password."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecPlugin:
    """A program that prints an ExecCredential (client.authentication.k8s.io); `environment` is added to our own."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str
    install_hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PemFile:
    """PEM text in a file; a file that changes is read again."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PemText:
    """PEM text that the configuration itself holds, under the key that `origin` names."""

    text: str = field(repr=False)
    origin: str

    def __str__(self) -> str:
        return self.origin


Pem = PemFile | PemText


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """A certificate (with its chain) and its key."""

    certificate: Pem
    key: Pem


Login = Token | TokenFile | BasicAuth | ExecPlugin


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """One API server and one user of it.

    `ca` None means the machine's own trusted CAs. `tls_server_name` is the name that the certificate must have, None
    for the name in the URL. `origin` is where all of this was read, for messages. `kubeconfig` is the file, where
    it was one, and `context` the context that was asked for in it, None for the file's current one.
    """

    server: str
    origin: str
    ca: Pem | None = None
    verify: Literal["certificate", "nothing"] = "certificate"
    tls_server_name: str | None = None
    login: Login | None = None
    client_certificate: ClientCertificate | None = None
    kubeconfig: Path | None = None
    context: str | None = None
