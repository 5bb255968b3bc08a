"""The lab's own certificate authority: one certificate for the server, one for its administrator."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trustme

SERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
"""Names and addresses for which the server's certificate always holds."""


class _TellingObject(ssl.SSLObject):
    """A TLS connection that lets the client read why its certificate is refused.

    asyncio closes the connection as soon as a handshake fails, with OpenSSL's alert unsent; the client then sees an
    EOF, which kubectl takes for a passing fault and tries again for a minute. So the failure is held back by one step:
    asyncio sends what is due when a handshake waits for more, and the client that has read the alert hangs up.
    """

    _refusal: ssl.SSLCertVerificationError | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        if self._refusal is not None:
            raise self._refusal
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as refusal:
            self._refusal = refusal
            raise ssl.SSLWantReadError("the alert is to be sent first") from refusal


class _ServerContext(ssl.SSLContext):
    sslobject_class = _TellingObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Certificates and keys as PEM."""

    authority: bytes
    server: bytes
    """Key and chain in one."""
    client_certificate: bytes
    client_key: bytes = field(repr=False)

    def server_context(self) -> ssl.SSLContext:
        """Make the server's side of TLS: a client may show a certificate, and it must then be of this authority."""
        context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="antrea-proxy-api-") as directory:
            chain = Path(directory, "server.pem")  # load_cert_chain reads files only
            chain.touch(mode=0o600)
            chain.write_bytes(self.server)
            context.load_cert_chain(chain)
        context.load_verify_locations(cadata=self.authority.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def make_certificates(*, names: Iterable[str] = (), user: str = "admin") -> Certificates:
    """Make a new authority and its certificates, valid for `SERVER_NAMES` and these further names and addresses."""
    authority = trustme.CA(organization_name="antrea-proxy lab")
    server = authority.issue_cert(*dict.fromkeys((*SERVER_NAMES, *names)), common_name="kube-apiserver")
    client = authority.issue_cert(common_name=user, organization_name="system:masters")
    return Certificates(
        authority=authority.cert_pem.bytes(),
        server=server.private_key_and_cert_chain_pem.bytes(),
        client_certificate=client.cert_chain_pems[0].bytes(),
        client_key=client.private_key_pem.bytes(),
    )
