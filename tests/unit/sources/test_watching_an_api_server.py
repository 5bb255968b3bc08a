"""Following a kind through whatever an API server and the network to it may do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from antrea_proxy.kubernetes.events import Listed
from antrea_proxy.kubernetes.kinds import SERVICES
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.sources import ApiClient, ApiServerSource, SourceStatus, cluster_access
from antrea_proxy.sources.api_server import Timings
from antrea_proxy.sources.errors import UnreachableError
from antrea_proxy.sources.lines import LONGEST_LINE, Lines
from scripted_api_server import (
    Step,
    answer,
    bookmark,
    event,
    gone,
    listing,
    scripted,
    service,
    split,
    watching,
)
from unit.sources.followed import PATIENCE_S, follow

A, B = service("a", 1), service("b", 2)


def test_a_list_comes_first_and_then_what_happens(tmp_path: Path) -> None:
    """The watch goes on from the list's version, with bookmarks, and bookmarks are nobody's business."""
    events = [event("ADDED", B), bookmark(5), event("MODIFIED", service("a", 6)), event("DELETED", service("b", 7))]
    seen, server = follow(
        tmp_path, listing(A, version=3), watching(*events, pause_s=0.05, then="hold"), until="deleted b"
    )
    assert seen.story == ["listed a", "added b", "modified a", "deleted b"]
    assert server.paths == ["GET /api/v1/services"] * 2
    assert server.requests[1].items() >= {"watch": "1", "resourceVersion": "3", "allowWatchBookmarks": "true"}.items()
    assert 300 <= int(server.requests[1]["timeoutSeconds"]) <= 600
    assert seen.statuses[-1].connected_since is not None
    assert (seen.statuses[-1].lists, seen.statuses[-1].relists) == (1, 0)


def test_a_watch_that_ends_is_resumed_from_the_last_version_that_it_told(tmp_path: Path) -> None:
    """A bookmark counts: nothing is listed again and nothing is reported as a fault."""
    seen, server = follow(
        tmp_path,
        listing(A, version=3),
        watching(event("ADDED", B), bookmark(9)),
        watching(event("DELETED", service("a", 12)), then="hold"),
        until="deleted a",
    )
    assert seen.story == ["listed a", "added b", "deleted a"]
    assert [request.get("resourceVersion") for request in server.requests] == [None, "3", "9"]
    assert seen.errors == []


def test_a_dropped_connection_loses_no_event(tmp_path: Path) -> None:
    """The fault is told, and the watch goes on where it was."""
    seen, server = follow(
        tmp_path,
        listing(A, version=3),
        watching(event("ADDED", B), then="drop"),
        watching(event("MODIFIED", service("b", 8)), then="hold"),
        until="modified b",
    )
    assert seen.story == ["listed a", "added b", "modified b"]
    assert server.requests[2]["resourceVersion"] == "2"
    assert len(seen.errors) == 1
    assert server.url in seen.errors[0]
    connected = [status.connected_since is not None for status in seen.statuses]
    assert connected == [False, True, False, True]


def test_a_connection_closed_in_mid_object_gives_no_half_object(tmp_path: Path) -> None:
    """The half of a line is thrown away and asked for again."""
    seen, _ = follow(
        tmp_path,
        listing(version=1),
        watching(event("ADDED", A) + event("ADDED", B)[:30]),
        watching(event("ADDED", B), then="hold"),
        until="added b",
    )
    assert seen.story == ["listed", "added a", "added b"]
    assert "ended in mid-object" in seen.errors[0]


@pytest.mark.parametrize("refusal", [watching(gone()), answer(410, {"code": 410, "reason": "Expired"})])
def test_a_version_that_is_gone_leads_to_a_new_list(tmp_path: Path, refusal: Step) -> None:
    """Told as an event or as the answer itself."""
    seen, _ = follow(
        tmp_path,
        listing(A, version=3),
        refusal,
        listing(B, version=20),
        watching(event("DELETED", service("b", 21)), then="hold"),
        until="deleted b",
    )
    assert seen.story == ["listed a", "listed b", "deleted b"]
    assert (seen.statuses[-1].lists, seen.statuses[-1].relists) == (2, 1)


def test_versions_that_are_gone_every_time_do_not_make_a_busy_loop_of_lists(tmp_path: Path) -> None:
    """Pauses grow although each list is answered, and each watch tells something before its end."""
    rounds = [step for _ in range(9) for step in (listing(A, version=3), watching(event("ADDED", B) + gone()))]
    started = time.monotonic()
    seen, _ = follow(tmp_path, *rounds, listing(version=9), until="listed")
    assert seen.statuses[-1].relists == 9
    assert time.monotonic() - started > 0.9


def test_events_before_the_end_of_a_watch_are_not_lost(tmp_path: Path) -> None:
    """They may come in the same bytes as the 410."""
    seen, _ = follow(
        tmp_path, listing(version=1), watching(event("ADDED", A) + gone()), listing(A, version=9), until="listed a"
    )
    assert seen.story == ["listed", "added a", "listed a"]


def test_garbage_in_a_watch_leads_to_a_new_list(tmp_path: Path) -> None:
    """What was meant cannot be known, so the truth is asked for."""
    seen, _ = follow(tmp_path, listing(A, version=3), watching(b"<html>\n"), listing(B, version=4), until="listed b")
    assert seen.story == ["listed a", "listed b"]
    assert "no watch event" in seen.errors[0]


def test_an_answer_that_is_no_list_is_told_and_asked_for_again(tmp_path: Path) -> None:
    """As from a proxy between us and the API server."""
    seen, _ = follow(tmp_path, answer(200, "<html>welcome</html>"), listing(A, version=3), until="listed a")
    assert seen.story == ["listed a"]
    assert "no list of services" in seen.errors[0]


def test_a_busy_server_is_given_the_time_that_it_asks_for(tmp_path: Path) -> None:
    """429 with Retry-After: not sooner, and the reason is told."""
    started = time.monotonic()
    seen, _ = follow(
        tmp_path,
        answer(429, {"message": "too many requests"}, Retry_After="1"),
        listing(A, version=3),
        until="listed a",
    )
    assert time.monotonic() - started >= 1.0
    assert "429" in seen.errors[0]
    assert "too many requests" in seen.errors[0]


@pytest.mark.parametrize(
    ("status", "word"),
    [(401, "renew the credentials"), (403, "resources: [services], verbs: [list, watch]"), (500, "no reason given")],
)
def test_a_refusal_is_told_with_its_remedy_and_tried_again(tmp_path: Path, status: int, word: str) -> None:
    """The rights may be granted while we wait."""
    refusals = [answer(status, {"kind": "Status"})] * (2 if status == 401 else 1)
    seen, _ = follow(tmp_path, *refusals, listing(A, version=3), until="listed a")
    assert seen.story == ["listed a"]
    assert f"GET /api/v1/services with {status}" in seen.errors[0]
    assert word in seen.errors[0]


def test_a_server_that_does_not_answer_is_told_and_asked_again(tmp_path: Path) -> None:
    """For the list as for the watch."""

    async def stall(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        return web.Response()

    timings = Timings(answer_s=0.3)
    seen, _ = follow(
        tmp_path,
        stall,
        listing(A, version=3),
        stall,
        watching(event("ADDED", B), then="hold"),
        timings=timings,
        until="added b",
    )
    assert seen.story == ["listed a", "added b"]
    assert "no answer in time" in seen.errors[0]
    assert "no answer to a watch of services" in seen.errors[1]


def test_a_watch_that_outlives_its_time_without_a_word_is_made_anew(tmp_path: Path) -> None:
    """A server that froze with the connection open."""
    timings = Timings(shortest_watch_s=0.2, longest_watch_s=0.2, grace_s=0.1, too_short_s=0.0)
    seen, server = follow(
        tmp_path,
        listing(A, version=3),
        watching(then="hold"),
        watching(event("ADDED", B), then="hold"),
        timings=timings,
        until="added b",
    )
    assert seen.story == ["listed a", "added b"]
    assert server.requests[2]["resourceVersion"] == "3"


def test_watches_that_are_ended_as_they_begin_do_not_make_a_busy_loop(tmp_path: Path) -> None:
    """Each counts as a failure, and after a few the list is asked for again."""
    seen, server = follow(tmp_path, listing(A, version=3), *[watching()] * 5, listing(B, version=9), until="listed b")
    assert seen.story == ["listed a", "listed b"]
    assert len(seen.errors) == 5
    assert [request.get("resourceVersion") for request in server.requests] == [None, *["3"] * 5, None]


def test_what_is_there_already_is_handed_over_together(tmp_path: Path) -> None:
    """So that the consumer can take 100 changes as one."""
    burst = b"".join(event("ADDED", service(f"s{number}", number)) for number in range(100))
    seen, _ = follow(tmp_path, listing(version=1), watching(burst, then="hold"), until="added s99")
    assert len(seen.batches[1]) == 100


@pytest.mark.parametrize("size", [1, 7, 64])
def test_events_come_whole_however_the_network_cuts_them(tmp_path: Path, size: int) -> None:
    """Also in the middle of a character."""
    data = event("ADDED", A) + bookmark(4) + event("ADDED", service("ü", 5)) + event("DELETED", service("a", 6))
    seen, _ = follow(tmp_path, listing(version=1), watching(*split(data, size), then="hold"), until="deleted a")
    assert seen.story == ["listed", "added a", "added ü", "deleted a"]


def test_lines_are_the_same_at_every_cut_of_their_bytes() -> None:
    """Empty lines are nobody's, and the beginning of a line waits for its end."""
    data = b'{"a": 1}\n\n{"b": "x"}\r\n{"c": 3}\n{"d'
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            lines = Lines()
            pieces = (data[:first], data[first:second], data[second:])
            assert [line.strip() for piece in pieces for line in lines.split(piece)] == [
                b'{"a": 1}',
                b'{"b": "x"}',
                b'{"c": 3}',
            ]
            assert lines.incomplete


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    """A stream of zeroes is no watch."""
    lines = Lines()
    with pytest.raises(UnreachableError, match="no API server"):
        _feed(lines, LONGEST_LINE + 1)


def _feed(lines: Lines, amount: int) -> None:
    for start in range(0, amount, 2**20):
        lines.split(bytes(min(2**20, amount - start)))


def test_an_object_of_the_wrong_shape_is_named_and_stops_nothing(tmp_path: Path) -> None:
    """In the list and in the watch; the status names it for as long as it is so."""
    bad = service("bad", 2, ports=[{"port": "http"}])
    seen, _ = follow(
        tmp_path,
        listing(A, bad, version=3),
        watching(
            event("MODIFIED", service("worse", 4, ports=5)),
            event("MODIFIED", service("bad", 5)),
            event("DELETED", service("worse", 6, ports=5)),
            pause_s=0.05,
            then="hold",
        ),
        until="deleted worse",
    )
    assert seen.story == ["listed a", "undecodable worse", "modified bad", "deleted worse"]
    listed = seen.batches[0][0]
    assert isinstance(listed, Listed)
    assert [str(item) for item in listed.undecodable] == [
        "Service default/bad: spec.ports[0].port: Expected `int`, got `str`"
    ]
    named = [sorted(item.name.name for item in status.undecodable) for status in seen.statuses]
    assert ["bad", "worse"] in named
    assert named[-1] == []


def test_a_list_may_come_in_chunks(tmp_path: Path) -> None:
    """Limit and continue; the version is the last chunk's."""
    seen, server = follow(
        tmp_path, listing(A, version=3, more="m1"), listing(B, version=3), page_size=1, until="listed b"
    )
    assert seen.story == ["listing a", "listed b"]
    assert [event.told_before for event in seen.batches[-1] if isinstance(event, Listed)] == [
        {NamespacedName("default", "a")}
    ]
    assert server.requests == [{"limit": "1"}, {"limit": "1", "continue": "m1"}]


def test_a_list_whose_next_chunk_is_gone_is_begun_anew(tmp_path: Path) -> None:
    """What came before does not count as listed any more: etcd was compacted between two chunks."""
    seen, server = follow(
        tmp_path,
        listing(A, version=3, more="m1"),
        answer(410, {"code": 410, "reason": "Expired"}),
        listing(B, version=9),
        page_size=1,
        until="listed b",
    )
    assert seen.story == ["listing a", "listed b"]
    assert [event.told_before for event in seen.batches[-1] if isinstance(event, Listed)] == [frozenset()]
    assert server.requests == [{"limit": "1"}, {"limit": "1", "continue": "m1"}, {"limit": "1"}]


def test_a_watch_that_is_refused_for_being_too_many_goes_on_where_it_was(tmp_path: Path) -> None:
    """429 says nothing of the version: nothing is listed anew, and the pause is kept."""
    started = time.monotonic()
    seen, server = follow(
        tmp_path,
        listing(A, version=3),
        answer(429, {"message": "too many requests"}, Retry_After="1"),
        watching(event("ADDED", B), then="hold"),
        until="added b",
    )
    assert time.monotonic() - started >= 1.0
    assert seen.story == ["listed a", "added b"]
    assert [request.get("resourceVersion") for request in server.requests] == [None, "3", "3"]


def test_a_certificate_of_another_ca_is_told_with_server_ca_and_remedy(tmp_path: Path) -> None:
    """It is refused, not accepted, and tried again: the kubeconfig may be written anew."""

    async def run() -> str:
        statuses: list[SourceStatus] = []
        async with scripted(listing(A, version=1)) as server, asyncio.timeout(PATIENCE_S):
            access = cluster_access(server.kubeconfig(tmp_path / "kubeconfig", ca=trustme.CA()), {})
            async with ApiClient(access) as client:
                source = ApiServerSource(
                    client=client, on_status=statuses.append, first_backoff_s=0.01, streaming_lists=False
                )
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5), contextlib.aclosing(source.watch(SERVICES)) as watch:
                        await anext(watch)
            assert server.paths == []
            assert len(statuses) > 1
            return statuses[0].last_error.replace(server.url, "URL")

    told = asyncio.run(run())
    assert told.startswith("URL: its certificate is not trusted: ")
    assert f"the CA certificate-authority-data of kubeconfig {tmp_path / 'kubeconfig'}, context test" in told
    assert "Correct certificate-authority" in told


def test_the_first_byte_becomes_an_event_at_once(tmp_path: Path) -> None:
    """No timer, no gathering: within milliseconds of its arrival (the quickest of five; the machine may be busy)."""

    async def run() -> list[float]:
        sent: list[float] = []
        received: list[float] = []

        async def late(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            for number in range(5):
                await asyncio.sleep(0.05)
                sent.append(time.monotonic())
                await response.write(event("ADDED", service("b", number + 2)))
            return response

        async with scripted(listing(A, version=1), late) as server, asyncio.timeout(PATIENCE_S):
            access = cluster_access(server.kubeconfig(tmp_path / "kubeconfig"), {})
            async with ApiClient(access) as client:
                source = ApiServerSource(client=client, on_status=lambda _: None, streaming_lists=False)
                async with contextlib.aclosing(source.watch(SERVICES)) as watch:
                    await anext(watch)
                    for _ in range(5):
                        await anext(watch)
                        received.append(time.monotonic())
        return [after - before for before, after in zip(sent, received, strict=True)]

    assert min(asyncio.run(run())) < 0.02
