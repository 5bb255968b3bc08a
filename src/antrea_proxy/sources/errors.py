"""What can go wrong between this program and an API server."""

from __future__ import annotations


class SourceError(Exception):
    """The base of this room's errors; its text names the server or the file, what is wrong, and what to do."""


class AccessError(SourceError):
    """The kubeconfig, the ServiceAccount or the credential plugin does not give access: nothing was sent."""


class UnreachableError(SourceError):
    """No answer, or an answer that broke off: the network or the server is at fault. Worth trying again."""


class WrongCertificateError(UnreachableError):
    """The server's certificate is not to be trusted, or the server does not speak TLS."""


class RefusedError(SourceError):
    """The API server answered with an error.

    `code` is the HTTP status, `reason` the API's own word for it (metav1.Status), `retry_after_s` what it asked for in
    the header Retry-After, None where it did not.
    """

    def __init__(self, text: str, *, code: int, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s
