"""The one error of this room: what a runtime is told when an operation fails."""

from __future__ import annotations

from antrea_proxy.cni.codes import ErrorCode


class CniError(Exception):
    """An operation failed; `code` and `message` are the error result's."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class TryAgainLaterError(CniError):
    """The operation cannot succeed now and may in a while; the runtime repeats it."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.TRY_AGAIN_LATER, message)


class NotAvailableError(CniError):
    """STATUS: no ADD can succeed at present."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NOT_AVAILABLE, message)


class WiringError(CniError):
    """A step of wiring a Pod, or of undoing it, failed in the switch or in the Node's network stack."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.WIRING_FAILED, message)
