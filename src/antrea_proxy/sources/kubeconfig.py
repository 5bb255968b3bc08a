"""kubeconfig files and the ServiceAccount that a Pod finds in its file system -> ClusterAccess.

Own structs instead of lightkube's KubeConfig: measured, importing that takes 5 MB on top of aiohttp and msgspec (it
brings httpx along), and it knows neither tls-server-name nor the credential plugins' v1, which is what is written
today. Source of the shapes: client-go's tools/clientcmd/api/v1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import yaml

from antrea_proxy.sources.access import (
    BasicAuth,
    ClientCertificate,
    ClusterAccess,
    ExecPlugin,
    Login,
    Pem,
    PemFile,
    PemText,
    Token,
    TokenFile,
)
from antrea_proxy.sources.errors import AccessError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
EXEC_VERSIONS: Final = frozenset({"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"})


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""


class _EnvironmentVariable(msgspec.Struct, frozen=True):
    name: str
    value: str


class _Exec(msgspec.Struct, frozen=True, rename="camel"):
    command: str
    api_version: str
    args: tuple[str, ...] | None = ()
    env: tuple[_EnvironmentVariable, ...] | None = ()
    install_hint: str = ""


class _User(msgspec.Struct, frozen=True, rename="kebab"):
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    exec: _Exec | None = None


class _Context(msgspec.Struct, frozen=True):
    cluster: str = ""
    user: str = ""


class _NamedCluster(msgspec.Struct, frozen=True):
    name: str
    cluster: _Cluster


class _NamedUser(msgspec.Struct, frozen=True):
    name: str
    user: _User


class _NamedContext(msgspec.Struct, frozen=True):
    name: str
    context: _Context


class _Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    clusters: tuple[_NamedCluster, ...] | None = ()
    users: tuple[_NamedUser, ...] | None = ()
    contexts: tuple[_NamedContext, ...] | None = ()
    current_context: str = ""


_Value = TypeVar("_Value")


def read_kubeconfig(path: Path, context: str | None = None) -> ClusterAccess:
    """Read the given context of a kubeconfig, or its current one.

    Raises AccessError for a file that cannot be read or used, naming the key.
    """
    try:
        text = path.read_text()
        config = msgspec.convert(yaml.safe_load(text), _Kubeconfig)
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"kubeconfig {path}: it cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise AccessError(f"kubeconfig {path}: it is not YAML: {error}") from error
    except msgspec.ValidationError as error:
        raise AccessError(f"kubeconfig {path}: it has not the shape of a kubeconfig: {error}") from error
    wanted = context or config.current_context
    if not wanted:
        raise AccessError(f"kubeconfig {path}: it has no current-context; run kubectl config use-context NAME")
    contexts = {item.name: item.context for item in config.contexts or ()}
    clusters = {item.name: item.cluster for item in config.clusters or ()}
    users = {item.name: item.user for item in config.users or ()}
    chosen = _find(path, "context", wanted, contexts)
    cluster = _find(path, "cluster", chosen.cluster, clusters)
    user = _find(path, "user", chosen.user, users) if chosen.user else _User()
    access = _Reader(path=path, origin=f"kubeconfig {path}, context {wanted}").access(cluster, user)
    return replace(access, kubeconfig=path, context=context)


def read_service_account(environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> ClusterAccess:
    """Read what the kubelet gives to every Pod.

    Raises AccessError outside of a Pod.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    token, ca = directory / "token", directory / "ca.crt"
    if not (host and port and token.is_file()):
        raise AccessError(
            f"this is no Pod with a ServiceAccount (no KUBERNETES_SERVICE_HOST, or no {token}); "
            "give --kubeconfig FILE or --manifests DIRECTORY"
        )
    return ClusterAccess(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        origin=f"the ServiceAccount in {directory}",
        ca=PemFile(path=ca),
        login=TokenFile(path=token),
    )


def cluster_access(kubeconfig: Path | None, environment: Mapping[str, str]) -> ClusterAccess:
    """Read the kubeconfig where one is given, else the Pod's ServiceAccount.

    Raises AccessError.
    """
    return read_kubeconfig(kubeconfig) if kubeconfig is not None else read_service_account(environment)


class _Reader:
    """Turns the structs of one kubeconfig into values; relative paths start at the file's own directory."""

    def __init__(self, *, path: Path, origin: str) -> None:
        self._path = path
        self._origin = origin

    def access(self, cluster: _Cluster, user: _User) -> ClusterAccess:
        if not cluster.server.startswith(("https://", "http://")):
            raise AccessError(f"{self._origin}: server: {cluster.server!r} is no URL; write https://ADDRESS:PORT")
        ca = self._pem("certificate-authority", cluster.certificate_authority, cluster.certificate_authority_data)
        return ClusterAccess(
            server=cluster.server.rstrip("/"),
            origin=self._origin,
            ca=ca,
            verify="nothing" if cluster.insecure_skip_tls_verify else "certificate",
            tls_server_name=cluster.tls_server_name or None,
            login=self._login(user),
            client_certificate=self._client_certificate(user),
        )

    def _login(self, user: _User) -> Login | None:
        if user.token_file:
            return TokenFile(path=self._path.parent / user.token_file)
        if user.token:
            return Token(token=user.token)
        if user.exec is not None:
            return self._exec(user.exec)
        return BasicAuth(username=user.username, password=user.password) if user.username else None

    def _exec(self, plugin: _Exec) -> ExecPlugin:
        if plugin.api_version not in EXEC_VERSIONS:
            known = ", ".join(sorted(EXEC_VERSIONS))
            raise AccessError(f"{self._origin}: user.exec.apiVersion: {plugin.api_version!r}: must be one of {known}")
        command = plugin.command
        return ExecPlugin(
            command=str(self._path.parent / command) if "/" in command else command,
            arguments=plugin.args or (),
            environment={variable.name: variable.value for variable in plugin.env or ()},
            api_version=plugin.api_version,
            install_hint=plugin.install_hint,
        )

    def _client_certificate(self, user: _User) -> ClientCertificate | None:
        certificate = self._pem("client-certificate", user.client_certificate, user.client_certificate_data)
        key = self._pem("client-key", user.client_key, user.client_key_data)
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            missing = "client-certificate" if certificate is None else "client-key"
            raise AccessError(f"{self._origin}: user: {missing} is missing; certificate and key belong together")
        return ClientCertificate(certificate=certificate, key=key)

    def _pem(self, key: str, path: str, data: str) -> Pem | None:
        if data:
            try:
                return PemText(text=base64.b64decode(data, validate=False).decode(), origin=f"{key}-data")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise AccessError(f"{self._origin}: {key}-data: it is not PEM text in base64 ({error})") from error
        return PemFile(path=self._path.parent / path) if path else None


def _find(path: Path, what: str, name: str, known: Mapping[str, _Value]) -> _Value:
    if name not in known:
        names = ", ".join(known) or "none"
        raise AccessError(f"kubeconfig {path}: there is no {what} {name!r} in it (there are: {names})")
    return known[name]
