"""The CNI plugin: hands a runtime's request to the agent on this Node and prints its answer.

Imports the standard library and `codes` alone: it is started for every Pod. VERSION is answered without the agent.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from antrea_proxy.cni.codes import DEFAULT_SOCKET, ENVIRONMENT, NEWEST_VERSION, SUPPORTED_VERSIONS, ErrorCode

CONNECT_TIMEOUT = 5.0
"""Seconds; the agent accepts at once, unless its backlog is full."""

ANSWER_TIMEOUT = 90.0
"""Seconds; above the agent's own limits (flows: 30 s, port: 10 s), below the kubelet's 2 minutes."""


class _PluginError(Exception):
    """What is printed as an error result."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def main() -> int:
    """Serve one request from the environment and standard input; returns the exit code."""
    version = NEWEST_VERSION
    try:
        command = _command()
        text = _read_input()
        configuration = _decode(text)
        named = configuration.get("cniVersion")
        if named in SUPPORTED_VERSIONS:
            version = str(named)
        if command == "VERSION":
            _print(json.dumps({"cniVersion": version, "supportedVersions": SUPPORTED_VERSIONS}))
            return 0
        return _ask_agent(_socket_path(configuration), command, text)
    except _PluginError as error:
        _print(json.dumps({"cniVersion": version, "code": int(error.code), "msg": error.message}))
        return 1


def _command() -> str:
    command = os.environ.get("CNI_COMMAND", "")
    if not command:
        sys.stderr.write("antrea-proxy-cni is a CNI plugin: a container runtime starts it, with CNI_COMMAND set\n")
        raise _PluginError(ErrorCode.INVALID_ENVIRONMENT, "the environment variable CNI_COMMAND is not set")
    return command


def _read_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except OSError as error:
        raise _PluginError(
            ErrorCode.IO_FAILURE, f"the network configuration on standard input cannot be read: {error}"
        ) from error
    except UnicodeDecodeError as error:
        raise _PluginError(
            ErrorCode.DECODING_FAILURE, f"the network configuration on standard input is not UTF-8: {error}"
        ) from error


def _decode(text: str) -> dict[str, object]:
    if not text.strip():
        return {}
    try:
        configuration = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _PluginError(
            ErrorCode.DECODING_FAILURE, f"the network configuration on standard input is not JSON: {error}"
        ) from error
    if not isinstance(configuration, dict):
        raise _PluginError(
            ErrorCode.DECODING_FAILURE, "the network configuration on standard input is not a JSON object"
        )
    return configuration


def _socket_path(configuration: dict[str, object]) -> str:
    path = configuration.get("cniSocket", DEFAULT_SOCKET)
    if not isinstance(path, str) or not path.startswith("/"):
        raise _PluginError(
            ErrorCode.INVALID_CONFIGURATION,
            f"cniSocket of the network configuration is {path!r}: give the absolute path of the agent's socket",
        )
    return path


def _ask_agent(path: str, command: str, configuration: str) -> int:
    """Send the request, print the answer and return its exit code.

    Raises _PluginError when there is no agent, or none that answers in time.
    """
    absent = ErrorCode.NOT_AVAILABLE if command == "STATUS" else ErrorCode.TRY_AGAIN_LATER
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    request = json.dumps({"environment": environment, "configuration": configuration}).encode()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            answer = _exchange(agent, path, request)
    except TimeoutError as error:
        raise _PluginError(
            absent, f"the antrea-proxy agent at {path} did not answer {command} in time: see its log, or restart it"
        ) from error
    except OSError as error:
        raise _PluginError(
            absent,
            f"the antrea-proxy agent cannot be reached at {path}: {error.strerror or error}; is it running here?",
        ) from error
    try:
        decoded = json.loads(answer)
        status, output = int(decoded["status"]), str(decoded["output"])
    except (ValueError, KeyError, TypeError) as error:
        raise _PluginError(
            absent, f"the antrea-proxy agent at {path} broke off before it answered {command}: is it restarting?"
        ) from error
    if output:
        _print(output)
    return status


def _exchange(agent: socket.socket, path: str, request: bytes) -> bytes:
    agent.settimeout(CONNECT_TIMEOUT)
    agent.connect(path)
    agent.sendall(request)
    agent.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + ANSWER_TIMEOUT
    parts: list[bytes] = []
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        agent.settimeout(left)
        part = agent.recv(65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
