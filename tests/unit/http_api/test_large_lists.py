"""A list of thousands never holds the agent's loop up: it is made in parts."""

from __future__ import annotations

import json

import pytest

from antrea_proxy.http_api import listing
from antrea_proxy.http_api.listing import RESOURCES, Watcher, list_parts
from antrea_proxy.http_api.views import Selection
from worlds import endpoint_slice, service, world

COUNT = 600
MANY = world(
    [service(f"s{number:04}", f"10.97.{number >> 8}.{number & 255}") for number in range(COUNT)],
    [
        endpoint_slice(f"s{number:04}", ("10.10.2.7", "a", "node-2"), ("10.10.2.8", "b", "node-2"))
        for number in range(COUNT)
    ],
)


@pytest.mark.parametrize("path", ["services", "endpoints", "flows", "groups"])
def test_a_long_list_comes_in_parts_that_make_one_json_object(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PART_SECONDS", 0.0)
    parts = list(list_parts(RESOURCES[path], MANY.status(), Selection()))
    items = json.loads(b"".join(parts))["items"]
    assert len(items) >= COUNT
    assert len(parts) == len(items) + 1


def test_a_watch_of_many_tells_one_change_in_one_line() -> None:
    watcher = Watcher(RESOURCES["services"], Selection())
    first = b"".join(watcher.parts(MANY.status())).splitlines()
    assert len(first) == COUNT + 1
    assert json.loads(first[-1])["type"] == "BOOKMARK"
    assert b"".join(watcher.parts(MANY.status())) == b""
    changed = dict(MANY.units)
    owner = next(owner for owner in changed if owner.name == "default/s0300")
    del changed[owner]
    (line,) = b"".join(watcher.parts(MANY.status(installed=changed))).splitlines()
    assert json.loads(line)["type"] == "MODIFIED"
    assert json.loads(line)["object"]["name"] == "s0300"


def test_the_same_endpoint_out_of_two_slices_is_two_items_of_a_watch() -> None:
    twice = [
        endpoint_slice("web", ("10.10.2.7", "a", "node-2")),
        endpoint_slice("web", ("10.10.2.7", "a", "node-2"))
        | {
            "metadata": {
                "name": "web-other",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            }
        },
    ]
    here = world([service("web", "10.96.0.10")], twice)
    watcher = Watcher(RESOURCES["endpoints"], Selection())
    lines = [json.loads(line) for line in b"".join(watcher.parts(here.status())).splitlines()]
    assert sorted(line["object"]["inUse"] for line in lines[:-1]) == [False, True]
    assert b"".join(watcher.parts(here.status())) == b""
