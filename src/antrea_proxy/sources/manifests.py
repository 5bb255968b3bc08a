"""A directory of YAML and JSON manifests as the cluster, for a host without one.

Changes are found by looking at the files' times and sizes twice a second, since the standard library has no inotify.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec

from antrea_proxy.kubernetes.decoding import DecodingError
from antrea_proxy.kubernetes.events import Added, Change, Deleted, Event, Listed, Modified, Undecodable
from antrea_proxy.kubernetes.kinds import AnyKind, Kind, KubernetesObject, ObjectT
from antrea_proxy.kubernetes.manifests import Manifest, decode_manifest
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.sources.status import SourceStatus, StatusListener

INTERVAL_S: Final = 0.5
SETTLED_S: Final = 0.1
"""A file changed less than this ago may be half written: it is read at the next look, this much later."""
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})

_Key = tuple[AnyKind, NamespacedName]
_Stamp = tuple[int, int, int]
_NOTHING: Final = NamespacedName("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file as last read: its objects (kept from before where they cannot be read now) and what is wrong with it."""

    stamp: _Stamp
    objects: Mapping[_Key, KubernetesObject] = field(default_factory=dict)
    undecodable: tuple[Undecodable, ...] = ()
    unknown_kinds: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """The directory as last read; objects carry the number of the change that made them so as resourceVersion."""

    version: int = 0
    objects: Mapping[_Key, KubernetesObject] = field(default_factory=dict)
    undecodable: tuple[Undecodable, ...] = ()
    problems: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    missing: str = ""


@dataclass(slots=True, kw_only=True)
class ManifestSource:
    """A Source that follows the files *.yaml, *.yml and *.json of one directory (not of its subdirectories).

    A file that cannot be read keeps its last good objects, and an object that is not of its kind's shape stays as it
    last was there. Of two files with the same object, the first by name counts.
    """

    directory: Path
    on_status: StatusListener
    interval_s: float = INTERVAL_S
    settled_s: float = SETTLED_S
    _files: dict[str, _File] = field(default_factory=dict, init=False)
    _state: _State = field(default_factory=_State, init=False)
    _next_look: float = field(default=0.0, init=False)
    _unsettled: bool = field(default=False, init=False)

    async def watch(self, kind: Kind[ObjectT]) -> AsyncGenerator[list[Event[ObjectT]], None]:
        """Follow one kind for ever: see Source."""
        known: dict[NamespacedName, ObjectT] | None = None
        status = SourceStatus(kind=kind.name)
        while True:
            state = self._look()
            status = self._publish(kind, status, state)
            if status.connected_since is not None:
                current = _of_kind(kind, state.objects)
                if known is None:
                    yield [_listed(kind, current, state)]
                else:
                    changes: list[Event[ObjectT]] = [*_changes(kind, known, current, state)]
                    if changes:
                        yield changes
                known = current
            await asyncio.sleep(max(0.0, self._next_look - time.monotonic()))

    def _look(self) -> _State:
        """Read what has changed; kinds that look at the same time share one look."""
        if time.monotonic() < self._next_look:
            return self._state
        self._next_look = time.monotonic() + self.interval_s
        try:
            paths = sorted(path for path in self.directory.iterdir() if _is_manifest(path))
        except OSError as error:
            self._state = replace(self._state, missing=f"{self.directory}: {error.strerror}; make the directory")
            return self._state
        self._unsettled = False
        files = {path.name: self._read(path) for path in paths}
        present = {name: file for name, file in files.items() if file is not None}
        unread = not self._state.version
        if unread and self._unsettled:
            return self._state
        if present != self._files or unread:
            self._files = present
            self._state = _merged(self._state, present)
        if self._state.missing:
            self._state = replace(self._state, missing="")
        return self._state

    def _read(self, path: Path) -> _File | None:
        known = self._files.get(path.name)
        try:
            about = path.stat()
            stamp = (about.st_mtime_ns, about.st_size, about.st_ino)
            if known is not None and known.stamp == stamp:
                return known
            if 0 <= time.time() - about.st_mtime < self.settled_s:
                self._unsettled = True
                self._next_look = min(self._next_look, time.monotonic() + self.settled_s)
                return known
            manifest = decode_manifest(path.read_text(), path.name)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            return _kept(known, stamp=(0, 0, 0), problem=f"{path.name}: it cannot be read: {error}")
        except DecodingError as error:
            return _kept(known, stamp=stamp, problem=str(error))
        return _read_file(manifest, stamp, known)

    def _publish(self, kind: AnyKind, last: SourceStatus, state: _State) -> SourceStatus:
        broken = not state.version
        now = replace(
            last,
            connected_since=None if broken else last.connected_since or time.time(),
            lists=0 if broken else 1,
            undecodable=tuple(item for item in state.undecodable if item.kind == kind),
            problems=(state.missing, *state.problems) if state.missing else state.problems,
            ignored=state.ignored,
        )
        if now.problems and now.problems != last.problems:
            now = replace(now, last_error="; ".join(now.problems), last_error_at=time.time())
        if now != last:
            self.on_status(now)
        return now


def _is_manifest(path: Path) -> bool:
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _kept(known: _File | None, *, stamp: _Stamp, problem: str) -> _File:
    if known is None:
        return _File(stamp=stamp, problem=problem)
    kept = f"; its {len(known.objects)} objects stay as they were" if known.objects else ""
    return replace(known, stamp=stamp, problem=problem + kept)


def _read_file(manifest: Manifest, stamp: _Stamp, known: _File | None) -> _File:
    objects: dict[_Key, KubernetesObject] = {}
    for item in manifest.objects:
        objects.setdefault((item.kind, item.name), _versioned(item.object, ""))
    before = {} if known is None else known.objects
    for bad in manifest.undecodable:
        if (bad.kind, bad.name) in before:
            objects.setdefault((bad.kind, bad.name), before[bad.kind, bad.name])
    return _File(stamp=stamp, objects=objects, undecodable=manifest.undecodable, unknown_kinds=manifest.unknown_kinds)


def _merged(last: _State, files: Mapping[str, _File]) -> _State:
    version = last.version + 1
    owners: dict[_Key, str] = {}
    objects: dict[_Key, KubernetesObject] = {}
    problems = [file.problem for file in files.values() if file.problem]
    for name, file in files.items():
        for key, item in file.objects.items():
            if key in owners:
                kind, named = key
                problems.append(
                    f"{name}: {kind} {named} is in {owners[key]} already, which counts; remove one of the two"
                )
                continue
            owners[key] = name
            before = last.objects.get(key)
            same = before is not None and _versioned(before, "") == item
            objects[key] = before if same and before is not None else _versioned(item, str(version))
    return _State(
        version=version,
        objects=objects,
        undecodable=tuple(item for file in files.values() for item in file.undecodable),
        problems=tuple(problems),
        ignored=tuple(dict.fromkeys(kind for file in files.values() for kind in file.unknown_kinds)),
    )


def _versioned(item: KubernetesObject, version: str) -> KubernetesObject:
    metadata = msgspec.structs.replace(item.metadata, resource_version=version)
    return msgspec.structs.replace(item, metadata=metadata)


def _of_kind(kind: Kind[ObjectT], objects: Mapping[_Key, KubernetesObject]) -> dict[NamespacedName, ObjectT]:
    return {name: item for (of, name), item in objects.items() if of == kind and isinstance(item, kind.type)}


def _listed(kind: Kind[ObjectT], current: Mapping[NamespacedName, ObjectT], state: _State) -> Listed[ObjectT]:
    return Listed(
        kind=kind,
        objects=tuple(current.values()),
        resource_version=str(state.version),
        undecodable=tuple(item for item in state.undecodable if item.kind == kind),
    )


def _changes(
    kind: Kind[ObjectT],
    known: Mapping[NamespacedName, ObjectT],
    current: Mapping[NamespacedName, ObjectT],
    state: _State,
) -> Iterator[Change[ObjectT]]:
    for name in known.keys() - current.keys():
        yield Deleted(kind=kind, name=name, resource_version=str(state.version))
    for name, item in current.items():
        before = known.get(name)
        if before is None:
            yield Added(kind=kind, object=item)
        elif before is not item:
            yield Modified(kind=kind, object=item)
