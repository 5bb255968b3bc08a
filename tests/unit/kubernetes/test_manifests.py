"""Manifests, as one writes them for kubectl, become objects."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrea_proxy.kubernetes.decoding import DecodingError
from antrea_proxy.kubernetes.manifests import Manifest, decode_manifest
from antrea_proxy.kubernetes.objects import Service

_WEB = """apiVersion: v1
kind: Service
metadata:
  name: web
  creationTimestamp: null
spec:
  clusterIP: 10.96.0.10
  ports:
  - port: 80
    targetPort: http
"""


def _names(manifest: Manifest) -> list[str]:
    return [f"{item.kind} {item.name}" for item in manifest.objects]


def test_a_service_as_kubectl_writes_it() -> None:
    """With kubectl's `creationTimestamp: null`; the namespace is `default` where none is written."""
    (item,) = decode_manifest(_WEB, "web.yaml").objects
    assert isinstance(item.object, Service)
    assert str(item.name) == "default/web"
    assert item.object.spec.ports[0].target_port == "http"


def test_all_documents_of_a_file_count_and_so_do_the_items_of_lists() -> None:
    """As `kubectl get -o yaml` prints several objects; Nodes have no namespace."""
    text = f"""---
{_WEB}
---
# nothing here
---
apiVersion: v1
kind: List
items:
- {{apiVersion: v1, kind: Node, metadata: {{name: n1}}}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {{name: web-1, namespace: shop}}
  addressType: IPv4
  endpoints: []
---
apiVersion: v1
kind: ServiceList
items: [{{apiVersion: v1, kind: Service, metadata: {{name: b}}}}]
"""
    names = ["Service default/web", "Node /n1", "EndpointSlice shop/web-1", "Service default/b"]
    assert _names(decode_manifest(text, "all.yaml")) == names


def test_kinds_that_nobody_reads_are_named_once_and_ignored() -> None:
    """The same kind of another API group is another kind."""
    text = """{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}
---
{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: c}}
---
{hello: world}
---
just text
"""
    manifest = decode_manifest(text, "x.yaml")
    assert manifest.objects == ()
    assert manifest.unknown_kinds == (
        "Deployment (apps/v1)",
        "Service (serving.knative.dev/v1)",
        "without a kind (without an apiVersion)",
        "what is no object",
    )


def test_json_manifests_are_read_too() -> None:
    """Tabs and all."""
    text = json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}, indent="\t")
    assert _names(decode_manifest(text, "a.json")) == ["Service default/a"]


def test_a_field_of_the_wrong_type_is_named_with_its_line() -> None:
    """In its own document, within a list too, while the other objects are read."""
    text = f"""{_WEB}---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {{name: bad}}
  spec:
    ports:
    - port: eighty
"""
    manifest = decode_manifest(text, "web.yaml")
    assert _names(manifest) == ["Service default/web"]
    assert [str(bad) for bad in manifest.undecodable] == [
        "Service default/bad (web.yaml, line 20): spec.ports[0].port: Expected `int`, got `str`"
    ]


def test_a_time_is_text_as_in_json() -> None:
    """YAML would make a date of it."""
    (item,) = decode_manifest(_WEB.replace("null", "2024-01-01T00:00:00Z"), "web.yaml").objects
    assert item.object.metadata.creation_timestamp == "2024-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("source", "text", "told"),
    [
        ("web.yaml", "a: b: c", "web.yaml, line 1, column 5: it is not YAML: mapping values are not allowed here"),
        ("web.yml", "kind: Service\n  name: a", "web.yml, line 2, column 7: it is not YAML"),
        ("web.yaml", "kind: [Service", "web.yaml, line 1, column 15: it is not YAML"),
        (
            "web.yaml",
            "a: !!python/object:x {}",
            "web.yaml, line 1, column 4: it is not YAML: could not",
        ),
        ("web.yaml", "\x00", "web.yaml: it cannot be read"),
        ("web.yaml", "[" * 1500, "web.yaml: it is nested too deeply"),
        ("a.json", '{"a": \n1,}', "a.json, line 2, column 3: it is not JSON"),
    ],
)
def test_text_that_is_no_manifest_is_refused_with_file_line_and_reason(source: str, text: str, told: str) -> None:
    """Counted from 1, as editors do."""
    with pytest.raises(DecodingError) as caught:
        decode_manifest(text, source)
    assert str(caught.value).startswith(told)


@given(st.text(max_size=80), st.sampled_from(["x.yaml", "x.json"]))
def test_any_text_is_a_manifest_or_refused(text: str, source: str) -> None:
    """Never another exception."""
    try:
        decode_manifest(text, source)
    except DecodingError as error:
        told = str(error)
        assert told.startswith(source)  # either way is right


def test_an_alias_to_itself_does_not_loop() -> None:
    """YAML allows such a graph."""
    text = "&a {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [*a]}}"
    assert [bad.name.name for bad in decode_manifest(text, "x.yaml").undecodable] == ["a"]


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    """A thousand bytes that would be 10^20 values, if each alias was a copy."""
    laughs = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 20))
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nl0: &l0 [x]\n{laughs}\n"
    assert _names(decode_manifest(text, "x.yaml")) == ["Service default/a"]
