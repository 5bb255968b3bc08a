"""Lists that a watch begins with (KEP 3157), and servers that have none of these."""

from __future__ import annotations

from pathlib import Path

import pytest

from antrea_proxy.sources import streaming_lists
from antrea_proxy.sources.api_server import Timings
from scripted_api_server import (
    ScriptedApiServer,
    Step,
    answer,
    bookmark,
    end_of_list,
    event,
    gone,
    listing,
    service,
    watching,
)
from unit.sources.followed import Followed, follow

A, B, C = (service(name, version) for version, name in enumerate("abc", start=1))
REFUSED = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "sendInitialEvents: Forbidden"}


def stream(tmp_path: Path, *steps: Step, until: str) -> tuple[Followed, ScriptedApiServer]:
    return follow(tmp_path, *steps, until=until, streaming_lists=True, timings=Timings(answer_s=0.5))


def test_a_watch_that_begins_with_the_list_is_one_request(tmp_path: Path) -> None:
    pieces = [event("ADDED", A), event("ADDED", B) + end_of_list(7), event("DELETED", service("a", 8))]
    seen, server = stream(tmp_path, watching(*pieces, pause_s=0.02, then="hold"), until="deleted a")
    assert seen.story == ["listing a", "listing b", "listed", "deleted a"]
    (query,) = server.requests
    asked = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    assert query.items() >= {"watch": "1", "resourceVersion": "", **asked}.items()
    assert (seen.statuses[-1].lists, seen.statuses[-1].relists) == (1, 0)


def test_it_is_resumed_from_the_version_at_which_the_list_ended(tmp_path: Path) -> None:
    seen, server = stream(
        tmp_path,
        watching(event("ADDED", A), end_of_list(7)),
        watching(event("ADDED", B), then="hold"),
        until="added b",
    )
    assert seen.story == ["listing a", "listed", "added b"]
    assert [request.get("resourceVersion") for request in server.requests] == ["", "7"]
    assert "sendInitialEvents" not in server.requests[1]


@pytest.mark.parametrize("code", [400, 422])
def test_a_server_without_them_is_asked_once_and_listed_without_a_fault(tmp_path: Path, code: int) -> None:
    """Also when everything has to be listed once more."""
    seen, server = stream(
        tmp_path,
        answer(code, REFUSED | {"code": code}),
        listing(A, version=3),
        watching(gone()),
        listing(B, version=9),
        watching(event("ADDED", C), then="hold"),
        until="added c",
    )
    assert seen.story == ["listed a", "listed b", "added c"]
    assert [request.get("sendInitialEvents") for request in server.requests] == ["true", None, None, None, None]
    assert not any("422" in error or "400" in error for error in seen.errors)


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (watching(event("ADDED", A)), "ended in mid-list"),
        (watching(event("ADDED", A), then="hold"), "nothing more of the list"),
        (watching(event("ADDED", A), gone()), "410"),
        (watching(event("ADDED", A), bookmark(5)), "ended in mid-list"),
    ],
    ids=["ended", "silent", "refused", "a bookmark that is not the list's"],
)
def test_after_half_a_list_everything_is_listed_the_old_way(tmp_path: Path, first: Step, told: str) -> None:
    """What the half told is no list: nothing may be taken for gone that it did not come to."""
    seen, server = stream(
        tmp_path, first, listing(A, B, version=5), watching(event("ADDED", C), then="hold"), until="added c"
    )
    assert seen.story == ["listing a", "listed a b", "added c"]
    assert told in seen.errors[0]
    assert [request.get("sendInitialEvents") for request in server.requests] == ["true", None, None]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_in_trouble_is_asked_for_the_same_again(tmp_path: Path, code: int) -> None:
    """Plain lists of all agents at once are what would keep it in trouble."""
    seen, server = stream(
        tmp_path,
        answer(code, {"kind": "Status", "code": code}),
        watching(event("ADDED", A) + end_of_list(7), then="hold"),
        until="listed",
    )
    assert seen.story == ["listing a", "listed"]
    assert [request["sendInitialEvents"] for request in server.requests] == ["true", "true"]


def test_a_server_that_cannot_tell_the_version_is_listed(tmp_path: Path) -> None:
    gone_at_once = answer(410, {"kind": "Status", "code": 410})
    seen, _ = stream(tmp_path, gone_at_once, listing(A, version=3), until="listed a")
    assert seen.story == ["listed a"]


def test_what_changes_while_the_list_arrives_is_told_in_order(tmp_path: Path) -> None:
    pieces = (event("ADDED", A), event("ADDED", B), event("MODIFIED", A), event("DELETED", B), event("ADDED", C))
    seen, _ = stream(tmp_path, watching(b"".join(pieces) + end_of_list(9), then="hold"), until="listed")
    assert seen.story == ["listing a b a", "deleted b", "listing c", "listed"]


def test_an_object_that_cannot_be_decoded_is_named_and_the_list_is_whole(tmp_path: Path) -> None:
    bad = service("bad", 4, clusterIPs="10.0.0.1")
    many = [event("ADDED", service(f"s{number}", number)) for number in range(20)]
    seen, _ = stream(
        tmp_path, watching(b"".join((*many, event("ADDED", bad))) + end_of_list(9), then="hold"), until="listed"
    )
    assert seen.story[0].split() == ["listing", *(f"s{number}" for number in range(20))]
    (item,) = seen.statuses[-1].undecodable
    assert item.name.name == "bad"


@pytest.mark.parametrize(("kind", "story"), [("MODIFIED", "listing a"), ("DELETED", "deleted a")])
def test_an_object_that_is_put_right_while_the_list_arrives_is_no_problem_any_more(
    tmp_path: Path, kind: str, story: str
) -> None:
    bad, good = service("a", 4, clusterIPs="10.0.0.1"), service("a", 5)
    seen, _ = stream(
        tmp_path, watching(event("ADDED", bad), event(kind, good), end_of_list(9), then="hold"), until="listed"
    )
    assert seen.story == [story, "listed"]
    assert not seen.statuses[-1].undecodable


@pytest.mark.parametrize(
    ("value", "wanted"), [(None, True), ("true", True), ("", True), ("false", False), ("0", False)]
)
def test_the_environment_switches_them_off_as_it_does_for_client_go(value: str | None, *, wanted: bool) -> None:
    assert streaming_lists({} if value is None else {"KUBE_FEATURE_WatchListClient": value}) is wanted
