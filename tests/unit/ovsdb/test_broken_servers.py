"""A server that does not behave is told from one that is not there, and never waited for without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from antrea_proxy.ovsdb import Database, OvsdbError, OvsdbRefused, OvsdbUnavailable, control

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
EMPTY: dict[str, Any] = {"Open_vSwitch": {"u": {"new": {"next_cfg": 0, "cur_cfg": 0, "other_config": ["map", []]}}}}


async def against(path: Path, serve: Serve, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` while a server is there that serves as told."""
    server = await asyncio.start_unix_server(serve, path)
    try:
        await asyncio.wait_for(work(), 10)
    finally:
        server.close()


async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, results: dict[str, Any]) -> None:
    """Answer each request by its method; end the connection at a method that is not known."""
    decoder, text = json.JSONDecoder(), ""
    while data := await reader.read(4096):
        text += data.decode()
        while text:
            request, end = decoder.raw_decode(text)
            text = text[end:]
            if request["method"] not in results:
                writer.close()
                return
            writer.write(json.dumps({"id": request["id"]} | results[request["method"]]).encode())
    writer.close()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """Somebody listens, and that is all."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def work() -> None:
        database = Database(tmp_path / "s", timeout_s=0.2)
        with pytest.raises(OvsdbUnavailable):
            await database.connect()
        await database.close()

    asyncio.run(against(tmp_path / "s", silent, work))


def test_what_is_no_json_is_said_to_be_none(tmp_path: Path) -> None:
    """A web server, for instance."""

    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request {}")
        writer.close()

    async def work() -> None:
        database = Database(tmp_path / "s", timeout_s=0.3)
        with pytest.raises(OvsdbError, match="not JSON"):
            await database.connect()
        await database.close()

    asyncio.run(against(tmp_path / "s", web, work))


def test_a_refused_transaction_comes_with_the_servers_words(tmp_path: Path) -> None:
    """As when the disk is full."""
    results = {
        "monitor": {"result": EMPTY, "error": None},
        "echo": {"result": [], "error": None},
        "transact": {"result": [{}, {"error": "I/O error", "details": "No space left on device"}], "error": None},
    }

    async def work() -> None:
        async with Database(tmp_path / "s") as database:
            with pytest.raises(OvsdbRefused, match="I/O error: No space left on device"):
                await database.set_other_config({"a": "1"})

    asyncio.run(against(tmp_path / "s", lambda reader, writer: answers(reader, writer, results), work))


def test_a_connection_that_ends_in_the_middle_of_a_transaction_is_told_and_made_again(tmp_path: Path) -> None:
    """Whether it happened is not known, so the caller must ask again."""
    results = {"monitor": {"result": EMPTY, "error": None}, "echo": {"result": [], "error": None}}

    async def work() -> None:
        async with Database(tmp_path / "s") as database:
            with pytest.raises(OvsdbUnavailable, match="closed"):
                await database.set_other_config({"a": "1"})
            assert await database.other_config() == {}

    asyncio.run(against(tmp_path / "s", lambda reader, writer: answers(reader, writer, results), work))


def test_a_command_that_is_refused_comes_with_the_switchs_words(tmp_path: Path) -> None:
    """The control socket leaves out what is null."""
    (tmp_path / "ovs-vswitchd.pid").write_text("7\n")

    async def work() -> None:
        with pytest.raises(OvsdbRefused, match='"nonsense" is not a valid command'):
            await control(tmp_path, "nonsense")

    results = {"nonsense": {"error": '"nonsense" is not a valid command\n'}}
    serve = against(tmp_path / "ovs-vswitchd.7.ctl", lambda reader, writer: answers(reader, writer, results), work)
    asyncio.run(serve)


def test_the_answer_to_a_command_is_what_ovs_appctl_prints(tmp_path: Path) -> None:
    """With nothing around it."""
    (tmp_path / "ovs-vswitchd.pid").write_text("7\n")

    async def work() -> None:
        assert await control(tmp_path, "version") == "ovs-vswitchd (Open vSwitch) 3.1.0\n"

    results = {"version": {"result": "ovs-vswitchd (Open vSwitch) 3.1.0\n"}}
    serve = against(tmp_path / "ovs-vswitchd.7.ctl", lambda reader, writer: answers(reader, writer, results), work)
    asyncio.run(serve)


@pytest.mark.parametrize("turns", range(12))
def test_who_is_cancelled_while_asking_ends_whenever_that_is(tmp_path: Path, turns: int) -> None:
    """Also while the connection is being ended: an agent that is told to end must not go on instead."""
    answered = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answered.set()
        await answers(reader, writer, {"version": {"result": "ovs-vswitchd 3.1.0", "error": None}})

    async def work() -> None:
        async def asking() -> None:
            while True:
                await control(tmp_path, "version")

        task = asyncio.create_task(asking())
        await answered.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=1)
        assert task.cancelled()

    asyncio.run(against(tmp_path / "ovs-vswitchd.1.ctl", serve, work))
