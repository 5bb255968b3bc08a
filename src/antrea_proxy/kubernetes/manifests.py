"""YAML and JSON manifests, as one writes them for `kubectl apply -f` -> objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from antrea_proxy.kubernetes.decoding import DecodingError, convert
from antrea_proxy.kubernetes.events import Undecodable
from antrea_proxy.kubernetes.kinds import KINDS, AnyKind, KubernetesObject
from antrea_proxy.kubernetes.names import NamespacedName

DEFAULT_NAMESPACE: Final = "default"
_STEP: Final = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


class _Loader(yaml.SafeLoader):
    """Leaves timestamps as the text that they are in JSON (sigs.k8s.io/yaml does so too)."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestObject:
    """An object and the kind that the manifest gives it."""

    kind: AnyKind
    object: KubernetesObject

    @property
    def name(self) -> NamespacedName:
        """The object's key within its kind."""
        return self.object.metadata.namespaced_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a file holds. `unknown_kinds` are its kinds that nothing here reads, as `Deployment (apps/v1)`."""

    objects: tuple[ManifestObject, ...] = ()
    undecodable: tuple[Undecodable, ...] = ()
    unknown_kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    plain: object
    node: Node | None

    def line(self, path: str = "") -> int | None:
        """Find the line, counted from 1, of the deepest part of a field's path that the text holds."""
        node = self.node
        for index, name in _STEP.findall(path):
            inner = _inner(node, index, name)
            if inner is None:
                break
            node = inner
        return None if node is None else int(node.start_mark.line) + 1


def decode_manifest(text: str, source: str) -> Manifest:
    """Read all documents of a manifest, and the items of each `kind: List`; a `source` that ends in .json is JSON.

    Objects without a namespace are of the namespace `default`.

    Raises DecodingError, naming `source`, line and column, for text that is neither YAML nor JSON.
    """
    objects: list[ManifestObject] = []
    undecodable: list[Undecodable] = []
    unknown: dict[str, None] = {}
    for document in _documents(text, source):
        kind = _kind_of(document.plain)
        if isinstance(kind, str):
            unknown[kind] = None
            continue
        decoded = convert(kind, _with_namespace(kind, document.plain))
        if isinstance(decoded, Undecodable):
            undecodable.append(replace(decoded, place=_place(source, document.line(decoded.path))))
        else:
            objects.append(ManifestObject(kind=kind, object=decoded))
    return Manifest(objects=tuple(objects), undecodable=tuple(undecodable), unknown_kinds=tuple(unknown))


def _documents(text: str, source: str) -> Iterator[_Document]:
    try:
        if source.endswith(".json"):
            roots = [_Document(plain=json.loads(text), node=None)]
        else:
            roots = list(_yaml_documents(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise DecodingError(f"{source}{place}: it is not YAML: {error.problem or error.context}") from error
    except json.JSONDecodeError as error:
        place = f", line {error.lineno}, column {error.colno}"
        raise DecodingError(f"{source}{place}: it is not JSON: {error.msg}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise DecodingError(f"{source}: it cannot be read: {error}") from error
    except RecursionError as error:
        raise DecodingError(f"{source}: it is nested too deeply") from error
    for root in roots:
        yield from _unfolded(root)


def _yaml_documents(text: str) -> Iterator[_Document]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                plain = loader.construct_document(node)
                if plain is not None:
                    yield _Document(plain=plain, node=node)
    finally:
        loader.dispose()


def _unfolded(document: _Document) -> Iterator[_Document]:
    plain = document.plain
    if not (isinstance(plain, Mapping) and str(plain.get("kind", "")).endswith("List") and "items" in plain):
        yield document
        return
    items = plain["items"]
    for index, item in enumerate(items if isinstance(items, list) else ()):
        node = _inner(_inner(document.node, "", "items"), str(index), "")
        yield _Document(plain=item, node=node)


def _kind_of(plain: object) -> AnyKind | str:
    if not isinstance(plain, Mapping):
        return "what is no object"
    name, version = plain.get("kind"), plain.get("apiVersion")
    for kind in KINDS:
        if (kind.name, kind.api_version) == (name, version):
            return kind
    return f"{name or 'without a kind'} ({version or 'without an apiVersion'})"


def _with_namespace(kind: AnyKind, plain: object) -> object:
    if not (kind.namespaced and isinstance(plain, Mapping) and isinstance(plain.get("metadata"), Mapping)):
        return plain
    metadata = plain["metadata"]
    return {**plain, "metadata": {**metadata, "namespace": metadata.get("namespace") or DEFAULT_NAMESPACE}}


def _inner(node: Node | None, index: str, name: str) -> Node | None:
    if isinstance(node, SequenceNode) and index and int(index) < len(node.value):
        item = node.value[int(index)]
        return item if isinstance(item, Node) else None
    if isinstance(node, MappingNode) and name:
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == name and isinstance(value, Node):
                return value
    return None


def _place(source: str, line: int | None) -> str:
    return source if line is None else f"{source}, line {line}"
