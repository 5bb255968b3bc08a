"""A directory of manifests as the cluster: what a user does to its files, and what comes of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from antrea_proxy.kubernetes.events import Added, Deleted, Event, Listed, Modified
from antrea_proxy.kubernetes.kinds import NODES, SERVICES
from antrea_proxy.kubernetes.objects import Service
from antrea_proxy.sources import ManifestSource, SourceStatus

_INTERVAL_S = 0.02


def manifest(name: str, address: str = "10.96.0.10", kind: str = "Service") -> str:
    """Write one object."""
    return f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {address}}}\n"


@dataclass(slots=True)
class Directory:
    """A directory that is being watched."""

    path: Path
    watch: AsyncGenerator[list[Event[Service]], None]
    statuses: list[SourceStatus]
    _soon: int = field(default=0)

    def write(self, name: str, text: str) -> None:
        """Write a file as of some minutes ago, so that it counts as settled; each time is another."""
        path = self.path / name
        path.write_text(text)
        self._soon += 1
        then = time.time() - 300 + self._soon
        os.utime(path, (then, then))

    async def next(self) -> list[Event[Service]]:
        """Wait for the next batch."""
        async with asyncio.timeout(10):
            return await anext(self.watch)

    async def status(self, wanted: Callable[[SourceStatus], bool]) -> SourceStatus:
        """Let the watch go on, which must bring no event, until a status is as wanted."""
        async with asyncio.timeout(10):
            step = asyncio.ensure_future(anext(self.watch))
            while not (self.statuses and wanted(self.statuses[-1])):
                assert not step.done()
                await asyncio.sleep(_INTERVAL_S)
            step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await step
            return self.statuses[-1]


@contextlib.asynccontextmanager
async def watched(path: Path) -> AsyncIterator[Directory]:
    """Watch the Services of a directory."""
    statuses: list[SourceStatus] = []
    source = ManifestSource(directory=path, on_status=statuses.append, interval_s=_INTERVAL_S)
    async with contextlib.aclosing(source.watch(SERVICES)) as watch:
        yield Directory(path=path, watch=watch, statuses=statuses)


def run(path: Path, story: Callable[[Directory], Awaitable[None]]) -> None:
    """Play a story in a directory."""

    async def play() -> None:
        async with watched(path) as directory:
            await story(directory)

    asyncio.run(play())


def test_files_come_as_a_list_and_then_their_changes(tmp_path: Path) -> None:
    """Each change has a version of its own, and what is the same stays the same."""

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", manifest("a") + "---\n" + manifest("b"))
        (listed,) = await directory.next()
        assert isinstance(listed, Listed)
        assert [item.metadata.name for item in listed.objects] == ["a", "b"]
        directory.write("a.yaml", manifest("a") + "---\n" + manifest("b", "10.96.0.11"))
        (modified,) = await directory.next()
        assert isinstance(modified, Modified)
        assert modified.object.spec.cluster_ip == "10.96.0.11"
        assert modified.object.metadata.resource_version != listed.objects[1].metadata.resource_version
        directory.write("c.json", '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}}')
        (added,) = await directory.next()
        assert isinstance(added, Added)
        (directory.path / "a.yaml").unlink()
        gone = await directory.next()
        assert {event.name.name for event in gone if isinstance(event, Deleted)} == {"a", "b"}

    run(tmp_path, story)


def test_an_object_may_move_to_another_file(tmp_path: Path) -> None:
    """Nothing happened to it, so nothing is told."""

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", manifest("a"))
        await directory.next()
        directory.write("b.yaml", manifest("a"))
        (directory.path / "a.yaml").unlink()
        directory.write("c.yaml", manifest("c"))
        (added,) = await directory.next()
        assert isinstance(added, Added)
        assert added.object.metadata.name == "c"

    run(tmp_path, story)


def test_a_broken_file_keeps_its_last_good_objects_and_is_named(tmp_path: Path) -> None:
    """With file, line and reason, until it is mended."""

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", manifest("a"))
        await directory.next()
        directory.write("a.yaml", "kind: Service\n  metadata: oops\n")
        status = await directory.status(lambda status: bool(status.problems))
        assert status.problems[0].startswith("a.yaml, line 2, column 11: it is not YAML")
        assert "its 1 objects stay as they were" in status.problems[0]
        assert status.last_error == status.problems[0]

    run(tmp_path, story)


def test_a_mended_file_takes_effect_and_clears_its_problem(tmp_path: Path) -> None:
    """Without a restart."""

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", "{")
        (listed,) = await directory.next()
        assert isinstance(listed, Listed)
        assert directory.statuses[-1].problems
        directory.write("a.yaml", manifest("a"))
        (added,) = await directory.next()
        assert isinstance(added, Added)
        assert directory.statuses[-1].problems == ()

    run(tmp_path, story)


def test_an_object_of_the_wrong_shape_stays_as_it_was_and_is_named(tmp_path: Path) -> None:
    """The other objects of its file change as they should."""

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", manifest("a") + "---\n" + manifest("b"))
        await directory.next()
        directory.write("a.yaml", manifest("a", "[]") + "---\n" + manifest("b", "10.96.0.12"))
        (modified,) = await directory.next()
        assert isinstance(modified, Modified)
        assert modified.object.metadata.name == "b"
        (bad,) = directory.statuses[-1].undecodable
        assert str(bad) == "Service default/a (a.yaml, line 4): spec.clusterIP: Expected `str`, got `array`"

    run(tmp_path, story)


def test_an_object_in_two_files_is_named_and_the_first_file_counts(tmp_path: Path) -> None:
    """By name, so that it does not depend on the order of writing."""

    async def story(directory: Directory) -> None:
        directory.write("b.yaml", manifest("a", "10.96.0.2"))
        directory.write("a.yaml", manifest("a", "10.96.0.1"))
        (listed,) = await directory.next()
        assert isinstance(listed, Listed)
        assert [item.spec.cluster_ip for item in listed.objects] == ["10.96.0.1"]
        assert directory.statuses[-1].problems == (
            "b.yaml: Service default/a is in a.yaml already, which counts; remove one of the two",
        )

    run(tmp_path, story)


def test_other_kinds_are_named_and_other_files_are_left_alone(tmp_path: Path) -> None:
    """An editor's leftovers, a README and subdirectories are nobody's manifests."""

    async def story(directory: Directory) -> None:
        directory.write("a.yml", manifest("a") + "---\n" + manifest("x", kind="Ingress"))
        for name in ("notes.txt", ".a.yaml", "a.yaml~", "a.yaml.swp"):
            directory.write(name, "{")
        (directory.path / "more.yaml").mkdir()
        (listed,) = await directory.next()
        assert isinstance(listed, Listed)
        assert len(listed.objects) == 1
        assert directory.statuses[-1].ignored == ("Ingress (v1)",)
        assert directory.statuses[-1].problems == ()

    run(tmp_path, story)


def test_a_missing_directory_is_named_and_waited_for(tmp_path: Path) -> None:
    """Nothing is listed before it is there: an empty cluster would be torn down."""
    path = tmp_path / "manifests"

    async def story(directory: Directory) -> None:
        status = await directory.status(lambda status: bool(status.problems))
        assert status.problems == (f"{path}: No such file or directory; make the directory",)
        assert status.connected_since is None

    run(path, story)


def test_a_directory_that_vanishes_takes_nothing_with_it(tmp_path: Path) -> None:
    """As an unmounted volume; when it is back, so are the changes."""
    path = tmp_path / "manifests"
    path.mkdir()

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", manifest("a"))
        await directory.next()
        path.rename(tmp_path / "away")
        waiting = asyncio.ensure_future(directory.next())
        while not directory.statuses[-1].problems:  # noqa: ASYNC110  # statuses come by a plain callback
            await asyncio.sleep(_INTERVAL_S)
        assert not waiting.done()
        (tmp_path / "away").rename(path)
        while directory.statuses[-1].problems:  # noqa: ASYNC110  # statuses come by a plain callback
            await asyncio.sleep(_INTERVAL_S)
        directory.write("b.yaml", manifest("b"))
        (added,) = await waiting
        assert isinstance(added, Added)

    run(path, story)


def test_a_file_that_is_being_written_is_not_read_before_it_is_still(tmp_path: Path) -> None:
    """Half a file would delete the other half's Services."""

    async def story(directory: Directory) -> None:
        directory.write("a.yaml", manifest("a") + "---\n" + manifest("b"))
        await directory.next()
        waiting = asyncio.ensure_future(directory.next())
        path = directory.path / "a.yaml"
        path.write_text(manifest("a"))
        await asyncio.sleep(2 * _INTERVAL_S)
        path.write_text(manifest("a") + "---\n" + manifest("b") + "---\n" + manifest("c"))
        (added,) = await waiting
        assert isinstance(added, Added)
        assert added.object.metadata.name == "c"

    run(tmp_path, story)


def test_the_first_list_waits_for_files_that_are_being_written(tmp_path: Path) -> None:
    """Without them it would say that their Services are gone."""

    async def story(directory: Directory) -> None:
        (directory.path / "a.yaml").write_text(manifest("a"))
        (listed,) = await directory.next()
        assert isinstance(listed, Listed)
        assert [item.metadata.name for item in listed.objects] == ["a"]

    run(tmp_path, story)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    """Bytes that are no text, for one."""
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    os.utime(tmp_path / "a.yaml", (1, 1))

    async def story(directory: Directory) -> None:
        await directory.next()
        assert directory.statuses[-1].problems[0].startswith("a.yaml: it cannot be read: 'utf-8'")

    run(tmp_path, story)


@pytest.mark.parametrize("first", [SERVICES, NODES], ids=str)
def test_every_kind_gets_its_own(tmp_path: Path, first: object) -> None:
    """Whichever is asked for first."""
    (tmp_path / "a.yaml").write_text(manifest("a") + "---\napiVersion: v1\nkind: Node\nmetadata: {name: n}\n")
    os.utime(tmp_path / "a.yaml", (1, 1))

    async def play() -> None:
        source = ManifestSource(directory=tmp_path, on_status=lambda _: None)
        kinds = (SERVICES, NODES) if first == SERVICES else (NODES, SERVICES)
        found = {}
        for kind in kinds:
            async with contextlib.aclosing(source.watch(kind)) as watch:
                (listed,) = await anext(watch)
                assert isinstance(listed, Listed)
                found[kind.name] = [item.metadata.name for item in listed.objects]
        assert found == {"Service": ["a"], "Node": ["n"]}

    asyncio.run(play())
