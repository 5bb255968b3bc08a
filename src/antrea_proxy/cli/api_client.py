"""Asks an agent's API over its Unix socket. The standard library alone: a command must start at once."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode

DEFAULT_SOCKET: Final = Path("/var/run/antrea/api.sock")
SOCKET_VARIABLE: Final = "ANTREA_PROXY_SOCKET"
TIMEOUT_SECONDS: Final = 30.0
_OK: Final = 200


class AgentUnreachableError(Exception):
    """No agent answers; names the socket that was tried and what to do."""


class AgentRefusedError(Exception):
    """The agent answered with an error, in its own words; `status` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentApi:
    """The API of the agent that listens on `socket_path`."""

    socket_path: Path

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Return what the API answers with.

        Raises AgentUnreachableError, AgentRefusedError.
        """
        return self._whole("GET", path, parameters)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """Send a JSON object and return what the API answers with. Raises as `get` does."""
        return self._whole("POST", path, body=body)

    def lines(self, path: str, parameters: Mapping[str, str]) -> Iterator[Any]:
        """Yield what the API writes line by line, for as long as the agent lives. Raises as `get` does."""
        try:
            with self._request("GET", path, parameters, endless=True) as answer:
                for line in answer:
                    yield json.loads(line)
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error
        raise AgentUnreachableError(f"the agent at {self.socket_path} ended")

    def _whole(
        self, method: str, path: str, parameters: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:  # noqa: ANN401 - JSON
        try:
            with self._request(method, path, parameters, body=body) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise self._unreachable(error) from error

    def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        endless: bool = False,
    ) -> BinaryIO:
        """Send a request and return the body of the answer, to be read until its end.

        It speaks HTTP/1.0 (RFC 1945), whose answers end with the connection; http.client would take longer to import
        than all the rest takes.
        """
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        content = b"" if body is None else json.dumps(body).encode()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT_SECONDS)
            connection.connect(str(self.socket_path))
            head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
            connection.sendall(head.encode() + content)
            answer = connection.makefile("rb")
            try:
                _read_head(answer)
            except BaseException:
                answer.close()
                raise
            if endless:
                connection.settimeout(None)
            return answer

    def _unreachable(self, error: Exception) -> AgentUnreachableError:
        path = self.socket_path
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return AgentUnreachableError(
                f"no agent answers at {path}: is `antrea-proxy agent` running on this Node? Its socket lies beside the "
                f"CNI socket (cniSocket); give another path by --socket or {SOCKET_VARIABLE}"
            )
        if isinstance(error, PermissionError):
            return AgentUnreachableError(f"{path} may be read by root alone: use sudo")
        if isinstance(error, TimeoutError):
            return AgentUnreachableError(f"{path}: no answer within {TIMEOUT_SECONDS:g} s; see the agent's log")
        return AgentUnreachableError(f"{path}: the agent stopped answering: {str(error) or type(error).__name__}")


def socket_path(given: Path | None) -> Path:
    """Return the socket to ask: the one given, that of the environment, or where an agent has it by default."""
    return given or Path(os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET)


def _read_head(answer: BinaryIO) -> None:
    """Read the head of an answer. Raises AgentRefusedError for any status but 200."""
    first = answer.readline().decode("latin-1").split(" ", 2)
    if len(first) < 2:  # noqa: PLR2004 - the version and the status
        raise ConnectionResetError("the connection ended before an answer")
    status = first[1]
    while answer.readline().strip():
        pass
    if int(status) != _OK:
        raise AgentRefusedError(int(status), _error_text(answer.read()))


def _error_text(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return body.decode(errors="replace").strip()
    return str(found.get("error", found)) if isinstance(found, dict) else str(found)
