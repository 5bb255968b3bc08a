"""How a verb asks the lab's daemon: one JSON line there, one back, over a Unix socket (control_server.py answers).

The standard library alone, and no asyncio: it starts fast.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

from antrea_proxy.lab.errors import LabError
from antrea_proxy.lab.leftovers import recorded_processes
from antrea_proxy.lab.places import DEFAULT_NAME, Places

JsonObject = dict[str, Any]
_SECONDS: Final = 180.0


class NoLabError(LabError):
    """No daemon answers for this lab."""


def ask(places: Places, verb: str, **arguments: object) -> JsonObject:
    """Ask the daemon and wait for its answer.

    Raises NoLabError where none answers, LabError with the daemon's words where it refuses.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(_SECONDS)
        try:
            sock.connect(str(places.control_socket))
            sock.sendall(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
            with sock.makefile("rb") as reader:
                line = reader.readline()
        except (FileNotFoundError, ConnectionError) as error:
            raise NoLabError(no_lab_message(places)) from error
        except TimeoutError as error:
            raise LabError(f"the lab's daemon did not answer within {_SECONDS:g} s; see {places.daemon_log}") from error
    if not line:
        raise LabError(f"the lab's daemon ended before it answered; see {places.daemon_log}")
    answer: JsonObject = json.loads(line)
    if "error" in answer:
        raise LabError(str(answer["error"]))
    return answer


def no_lab_message(places: Places) -> str:
    """Say what is there instead of a running lab, and what to do."""
    option = "" if places.name == DEFAULT_NAME else f" --name {places.name}"
    if "daemon" in recorded_processes(places):
        return (
            f"the lab {places.name!r} is still being made; wait for its `lab up`, "
            f"or `antrea-proxy lab down{option}` ends it"
        )
    if places.directory.exists() or places.netns_present():
        return (
            f"the lab {places.name!r} does not answer: it died or is half made; "
            f"`antrea-proxy lab down{option}` removes what is left"
        )
    return f"there is no lab {places.name!r}; `antrea-proxy lab up{option}` makes one"
