"""Server-side apply, against a model that knows nothing of paths: who wants which slot of an object."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from antrea_proxy.lab.api_server import Store
from antrea_proxy.lab.api_server.api import Api
from antrea_proxy.lab.api_server.ownership.paths import from_fields_v1, to_fields_v1
from antrea_proxy.lab.api_server.replies import Reply
from antrea_proxy.lab.api_server.requests import Request

_URL = "/api/v1/namespaces/default/configmaps/shared"
_MANAGERS = ("ann", "bob", "cy")
_NAMES = ("x", "y", "example.com/z")
Slot = tuple[str, str]
"""Where (labels, annotations, finalizers, data), and the name there."""
Slots = dict[Slot, str]
_SLOTS: st.SearchStrategy[Slot] = st.tuples(
    st.sampled_from(["labels", "annotations", "data"]), st.sampled_from(_NAMES)
).map(lambda slot: (slot[0], slot[1].replace("/", ".") if slot[0] == "data" else slot[1]))
_VALUED = st.dictionaries(_SLOTS, st.sampled_from(["1", "2"]), max_size=5)
_FINALIZERS = st.sets(st.sampled_from(["example.com/a", "example.com/b"])).map(
    lambda names: {("finalizers", name): "" for name in names}
)
_WANTED: st.SearchStrategy[Slots] = st.builds(lambda some, more: {**some, **more}, _VALUED, _FINALIZERS)


@dataclass(frozen=True)
class Applies:
    """A manager says all that it wants."""

    manager: str
    wants: Slots
    force: bool


@dataclass(frozen=True)
class Writes:
    """A manager changes one slot, or takes it away (None)."""

    manager: str
    slot: Slot
    value: str | None


_STEPS = st.lists(
    st.builds(Applies, st.sampled_from(_MANAGERS), _WANTED, st.booleans())
    | st.builds(Writes, st.sampled_from(_MANAGERS), _SLOTS, st.sampled_from(["1", "2", None])),
    min_size=1,
    max_size=8,
)


@dataclass
class Model:
    """Each slot's value and owners; an owner is a manager and how it writes."""

    values: Slots = field(default_factory=dict)
    owners: dict[Slot, set[tuple[str, str]]] = field(default_factory=dict)

    def apply(self, step: Applies) -> bool:
        """Apply, or change nothing where there is a conflict; tells which."""
        me = (step.manager, "Apply")
        disputed = {
            slot
            for slot, value in step.wants.items()
            if self.values.get(slot, value) != value and self.owners[slot] - {me}
        }
        if disputed and not step.force:
            return False
        for slot, value in step.wants.items():
            changes = self.values.get(slot) != value
            self.owners[slot] = {me} if changes else self.owners[slot] | {me}
            self.values[slot] = value
        for slot in [slot for slot, owners in self.owners.items() if me in owners and slot not in step.wants]:
            self.owners[slot] -= {me}
            if not self.owners[slot]:
                del self.owners[slot], self.values[slot]
        return True

    def write(self, step: Writes) -> None:
        """Change a slot."""
        if step.value is None:
            self.values.pop(step.slot, None)
            self.owners.pop(step.slot, None)
        elif self.values.get(step.slot) != step.value:
            self.values[step.slot] = step.value
            self.owners[step.slot] = {(step.manager, "Update")}


class Server:
    """The API server, asked without a network."""

    def __init__(self) -> None:
        self.store = Store()
        self._api = Api(self.store)

    def ask(self, method: str, query: dict[str, str], body: object, kind: str) -> tuple[int, dict[str, Any]]:
        """Send a request."""
        content = json.dumps(body).encode()
        answer = self._api.answer(Request(method=method, path=_URL, query=query, body=content, content_type=kind))
        assert isinstance(answer, Reply)
        return answer.status, json.loads(answer.content)

    def apply(self, step: Applies) -> tuple[int, dict[str, Any]]:
        """Apply."""
        query = {"fieldManager": step.manager, "force": "true" if step.force else "false"}
        return self.ask("PATCH", query, _object(step.wants), "application/apply-patch+yaml")

    def write(self, step: Writes) -> tuple[int, dict[str, Any]]:
        """Change a slot by a merge patch."""
        place, name = step.slot
        part: dict[str, Any] = {place: {name: step.value}}
        body = part if place == "data" else {"metadata": part}
        return self.ask("PATCH", {"fieldManager": step.manager}, body, "application/merge-patch+json")


def _object(wants: Slots) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "shared", "namespace": "default"}
    found: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    for (place, name), value in wants.items():
        if place == "finalizers":
            metadata.setdefault(place, []).append(name)
        else:
            (found if place == "data" else metadata).setdefault(place, {})[name] = value
    return found


def _slots(found: dict[str, Any]) -> Slots:
    metadata = found["metadata"]
    slots: Slots = {("finalizers", name): "" for name in metadata.get("finalizers", ())}
    slots |= {("labels", name): value for name, value in metadata.get("labels", {}).items()}
    slots |= {("annotations", name): value for name, value in metadata.get("annotations", {}).items()}
    return slots | {("data", name): value for name, value in found.get("data", {}).items()}


def _owners(found: dict[str, Any]) -> dict[Slot, set[tuple[str, str]]]:
    owners: dict[Slot, set[tuple[str, str]]] = {}
    for entry in found["metadata"].get("managedFields", ()):
        for path in from_fields_v1(entry["fieldsV1"]):
            place, name = (word[2:].strip('"') for word in path[-2:])
            owners.setdefault((place, name), set()).add((entry["manager"], entry["operation"]))
    return owners


@settings(max_examples=200, deadline=None)
@given(_STEPS)
def test_any_sequence_of_writes_leaves_the_values_and_owners_of_the_model(steps: list[Applies | Writes]) -> None:
    """Applied or written, forced or refused: who owns what, and what nobody owns is gone."""
    server, model = Server(), Model()
    server.apply(Applies("first", {("data", "always"): "1"}, force=False))
    model.apply(Applies("first", {("data", "always"): "1"}, force=False))
    for step in steps:
        version = server.store.resource_version
        if isinstance(step, Writes):
            status, found = server.write(step)
            model.write(step)
            assert status == 200, found
        else:
            status, found = server.apply(step)
            assert status == (200 if model.apply(step) else 409), found
        if status == 409:
            assert server.store.resource_version == version
            assert {cause["reason"] for cause in found["details"]["causes"]} == {"FieldManagerConflict"}
        else:
            assert _slots(found) == model.values
            assert _owners(found) == model.owners


@settings(max_examples=100, deadline=None)
@given(_STEPS)
def test_applying_the_same_again_changes_nothing(steps: list[Applies | Writes]) -> None:
    """Not even the resourceVersion: nobody who watches is told."""
    server = Server()
    server.apply(Applies("first", {("data", "always"): "1"}, force=False))
    for step in steps:
        if isinstance(step, Writes):
            server.write(step)
            continue
        status, found = server.apply(step)
        if status == 200:
            assert server.apply(step) == (200, found)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_managers_of_different_fields_never_meet(data: st.DataObject) -> None:
    """Whatever they apply in whatever order, each finds its own as it wants it."""
    server = Server()
    mine = {manager: f"{manager}." for manager in _MANAGERS}
    latest: dict[str, Slots] = {}
    for manager in data.draw(st.lists(st.sampled_from(_MANAGERS), min_size=1, max_size=8)):
        wants: Slots = {}
        for (place, name), value in data.draw(_VALUED).items():
            wants[place, mine[manager] + name.replace("example.com/", "")] = value
        status, found = server.apply(Applies(manager, wants, force=False))
        assert status in {200, 201}, found
        latest[manager] = wants
        assert _slots(found) == {slot: value for wanted in latest.values() for slot, value in wanted.items()}


_WORDS = st.text(st.characters(codec="utf-8"), max_size=6).map(lambda text: f"f:{text}") | st.integers(0, 3).map(
    lambda number: f'k:{{"port":{number},"protocol":"TCP"}}'
)


@given(st.frozensets(st.lists(_WORDS, min_size=1, max_size=4).map(tuple)))
def test_any_set_of_paths_is_read_back_from_its_tree(paths: frozenset[tuple[str, ...]]) -> None:
    """Also where a place and one below it are owned both."""
    assert from_fields_v1(json.loads(json.dumps(to_fields_v1(paths)))) == paths
