"""ClusterAccess -> the TLS context for it, made anew when one of its files changes (certificates get renewed)."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

from antrea_proxy.sources.access import ClientCertificate, ClusterAccess, Pem, PemFile
from antrea_proxy.sources.errors import AccessError

_Versions = tuple[tuple[str, int], ...]


@dataclass(slots=True, kw_only=True)
class TlsContexts:
    """The newest context for one access; file contents are told apart by their time of change."""

    access: ClusterAccess
    _made: dict[tuple[ClientCertificate | None, _Versions], ssl.SSLContext] = field(default_factory=dict, init=False)

    def current(self, plugin_certificate: ClientCertificate | None = None) -> ssl.SSLContext:
        """Give the context to connect with now; a credential plugin's certificate comes before the configured one.

        Raises AccessError for a certificate, key or CA that cannot be used.
        """
        client = plugin_certificate or self.access.client_certificate
        pems = [self.access.ca, *((client.certificate, client.key) if client else ())]
        versions = tuple((str(pem), _changed_at(pem)) for pem in pems if isinstance(pem, PemFile))
        context = self._made.get((client, versions))
        if context is None:
            context = _make(self.access, client)
            self._made = {(client, versions): context}
        return context


def _make(access: ClusterAccess, client: ClientCertificate | None) -> ssl.SSLContext:
    # Not create_default_context: from Python 3.13 that asks for RFC 5280's key identifiers, which clusters' CAs lack.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if access.verify == "nothing":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cadata=_text(access, access.ca))
        except (ssl.SSLError, ValueError) as error:
            raise AccessError(f"{access.origin}: the CA {access.ca} holds no certificate in PEM ({error})") from error
    if client is not None:
        _load_client(access, client, context)
    return context


def _load_client(access: ClusterAccess, client: ClientCertificate, context: ssl.SSLContext) -> None:
    # OpenSSL reads a key from a path alone; a memory file keeps it off the disk.
    with _memory_file(_text(access, client.certificate)) as certificate, _memory_file(_text(access, client.key)) as key:
        try:
            context.load_cert_chain(certificate, key)
        except (ssl.SSLError, ValueError) as error:
            raise AccessError(
                f"{access.origin}: client certificate {client.certificate} and key {client.key} "
                f"cannot be used together ({error}); renew the kubeconfig"
            ) from error


def _text(access: ClusterAccess, pem: Pem) -> str:
    if not isinstance(pem, PemFile):
        return pem.text
    try:
        return pem.path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise AccessError(f"{access.origin}: {pem.path} cannot be read: {error}") from error


def _changed_at(pem: PemFile) -> int:
    try:
        return pem.path.stat().st_mtime_ns
    except OSError:
        return 0


@contextlib.contextmanager
def _memory_file(text: str) -> Iterator[str]:
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
