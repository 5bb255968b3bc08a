"""How the lab's daemon answers verbs: one JSON line there, one back, over a Unix socket (control_socket.py asks)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from antrea_proxy.lab.errors import LabError

JsonObject = dict[str, Any]
Handler = Callable[[JsonObject], Awaitable[JsonObject]]
_LINE_LIMIT: Final = 1 << 20


async def serve(path: Path, handlers: dict[str, Handler]) -> asyncio.Server:
    """Answer verbs; a LabError becomes the answer's `error`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request: JsonObject = json.loads(await reader.readline())
            handler = handlers.get(str(request.get("verb")))
            if handler is None:
                reply: JsonObject = {"error": f"this lab's daemon knows no verb {request.get('verb')!r}: is it older?"}
            else:
                reply = await handler(request)
        except (LabError, ValueError) as error:
            reply = {"error": str(error)}
        try:
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except ConnectionError:
            pass  # whoever asked has gone
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, path=path, limit=_LINE_LIMIT)
