"""Requests and answers of the lab's API server, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antrea_proxy.lab.api_server import Store
from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.api import Api
from antrea_proxy.lab.api_server.replies import Reply
from antrea_proxy.lab.api_server.requests import Request
from api_samples import config_map, deployment, pod, service

_SERVICES = "/api/v1/namespaces/default/services"
_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class _Client:
    """Asks an `Api` as an HTTP client would."""

    def __init__(self) -> None:
        self.store = Store()
        self.api = Api(self.store)

    def send(self, method: str, url: str, body: object = b"", **headers: str) -> Reply:
        path, _, query = url.partition("?")
        parameters = dict(part.split("=", 1) for part in query.split("&")) if query else {}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
        answer = self.api.answer(Request(method=method, path=path, query=parameters, body=content, **headers))
        assert isinstance(answer, Reply)
        return answer

    def ask(self, method: str, url: str, body: object = b"", **headers: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.send(method, url, body, **headers).content)
        return found


@pytest.fixture
def client() -> _Client:
    """Give a client of an empty cluster."""
    return _Client()


def test_an_object_is_created_read_replaced_and_deleted(client: _Client) -> None:
    """The four verbs of one object."""
    assert client.send("POST", _SERVICES, service()).status == 201
    found = client.ask("GET", f"{_SERVICES}/web")
    found["spec"]["sessionAffinity"] = "ClientIP"
    assert client.ask("PUT", f"{_SERVICES}/web", found)["spec"]["sessionAffinity"] == "ClientIP"
    assert client.ask("DELETE", f"{_SERVICES}/web")["metadata"]["name"] == "web"
    missing = client.ask("GET", f"{_SERVICES}/web")
    assert (missing["code"], missing["reason"], missing["message"]) == (404, "NotFound", 'services "web" not found')


def test_a_deletion_that_leaves_nothing_answers_with_success(client: _Client) -> None:
    """The Status names what is gone, by UID."""
    uid = client.ask("POST", "/api/v1/namespaces/default/configmaps", config_map())["metadata"]["uid"]
    status = client.ask("DELETE", "/api/v1/namespaces/default/configmaps/settings")
    assert (status["status"], status["details"]) == (
        "Success",
        {"name": "settings", "kind": "configmaps", "uid": uid},
    )


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2/pods",
        "/api/v1/frobs",
        "/apis/apps/v1/pods",
        "/apis/batch/v1/jobs",
        "/api/v1/namespaces/default/nodes",
        "/api/v1/namespaces/default/pods/a/frob",
        "/api/v1/pods/a",
        "/api/v1/namespaces/default/pods/a/b/c",
        "/frob",
        "/apis/batch",
        "/openapi/v3/apis/batch/v1",
    ],
)
def test_a_path_under_which_nothing_is_served_is_a_status_not_found(client: _Client, path: str) -> None:
    """Clients such as kubectl recognise this sentence."""
    status = client.ask("GET", path)
    assert (status["code"], status["message"]) == (404, "the server could not find the requested resource")


def test_a_list_comes_in_chunks_of_one_moment(client: _Client) -> None:
    """The chunks give every object once, as of the first chunk, whatever happens in between."""
    for number in range(5):
        client.store.create(kinds.CONFIG_MAPS, config_map(f"c{number}"))
    url = "/api/v1/namespaces/default/configmaps?limit=2"
    chunk = client.ask("GET", url)
    assert chunk["metadata"]["remainingItemCount"] == 3
    names = [item["metadata"]["name"] for item in chunk["items"]]
    client.store.delete(kinds.CONFIG_MAPS, "default", "c3")
    client.store.create(kinds.CONFIG_MAPS, config_map("c2b"))
    versions = {chunk["metadata"]["resourceVersion"]}
    while token := chunk["metadata"].get("continue"):
        chunk = client.ask("GET", f"{url}&continue={token}")
        versions.add(chunk["metadata"]["resourceVersion"])
        names += [item["metadata"]["name"] for item in chunk["items"]]
    assert names == ["c0", "c1", "c2", "c3", "c4"]
    assert len(versions) == 1


def test_a_continue_token_that_is_no_longer_known_is_expired_and_a_wrong_one_a_bad_request(client: _Client) -> None:
    """A client lists anew after 410."""
    for number in range(3):
        client.store.create(kinds.CONFIG_MAPS, config_map(f"c{number}"))
    url = "/api/v1/namespaces/default/configmaps?limit=1"
    token = client.ask("GET", url)["metadata"]["continue"]
    other = Api(client.store).answer(
        Request(method="GET", path=url.partition("?")[0], query={"limit": "1", "continue": token})
    )
    assert isinstance(other, Reply)
    assert (other.status, json.loads(other.content)["reason"]) == (410, "Expired")
    assert client.send("GET", f"{url}&continue=frob").status == 400
    assert client.send("GET", f"{url}&continue={token}").status == 200
    client.store.create(kinds.CONFIG_MAPS, config_map("c9"))
    client.store.compact()
    assert client.send("GET", f"{url}&continue={token}").status == 410
    assert client.send("GET", f"/api/v1/namespaces/default/secrets?limit=1&continue={token}").status == 400


def test_lists_name_their_kind_and_version(client: _Client) -> None:
    """An empty list is a list."""
    found = client.ask("GET", "/apis/apps/v1/deployments")
    assert (found["kind"], found["apiVersion"], found["items"]) == ("DeploymentList", "apps/v1", [])
    assert found["metadata"]["resourceVersion"] == str(client.store.resource_version)


def test_tables_are_given_to_those_who_ask_for_them(client: _Client) -> None:
    """With kubectl get one asks for a Table; its rows carry the metadata, or the whole object, or nothing."""
    client.store.create(kinds.SERVICES, service())
    found = client.ask("GET", _SERVICES, accept=_TABLE)
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    one = client.ask("GET", f"{_SERVICES}/web?includeObject=Object", accept=_TABLE)
    assert one["rows"][0]["object"]["spec"]["type"] == "ClusterIP"
    bare = client.ask("GET", f"{_SERVICES}?includeObject=None", accept=_TABLE)
    assert "object" not in bare["rows"][0]


def test_a_client_that_accepts_no_json_is_told_so(client: _Client) -> None:
    """406, as the real server answers."""
    refused = client.ask("GET", _SERVICES, accept="application/cbor")
    assert (refused["code"], refused["reason"]) == (406, "NotAcceptable")


def test_malformed_json_is_refused_with_its_position(client: _Client) -> None:
    """The message names the byte at which it ceases to be JSON."""
    status = client.ask("POST", _SERVICES, b'{"kind":"Service",}')
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    assert "byte 18" in status["message"]


def test_yaml_is_read_and_malformed_yaml_refused_with_line_and_column(client: _Client) -> None:
    """For those who use curl."""
    body = b"metadata: {name: web}\nspec:\n  ports:\n  - port: 80\n"
    assert client.send("POST", _SERVICES, body, content_type="application/yaml").status == 201
    status = client.ask("POST", _SERVICES, b"metadata: {name: web\nspec: [", content_type="application/yaml")
    assert status["code"] == 400
    assert "line 2, column" in status["message"]


@pytest.mark.parametrize("body", [b"[]", b"3", b'{"metadata": []}', b""])
def test_a_body_that_is_no_object_is_refused(client: _Client, body: bytes) -> None:
    """400, and never a failure of the server."""
    assert client.send("POST", _SERVICES, body).status == 400


def test_unknown_fields_are_refused_warned_of_or_ignored_as_asked(client: _Client) -> None:
    """By fieldValidation: Strict, Warn (also when nothing is said) and Ignore."""
    given = service(prots=[])
    given["spec"]["ports"][0]["taregtPort"] = 1
    status = client.ask("POST", f"{_SERVICES}?fieldValidation=Strict", given)
    assert status["code"] == 400
    assert status["message"] == (
        'Service in version "v1" cannot be handled as a Service: strict decoding error: '
        'unknown field "spec.ports[0].taregtPort", unknown field "spec.prots"'
    )
    warned = client.send("POST", f"{_SERVICES}?dryRun=All", given)
    assert (warned.status, len(warned.warnings)) == (201, 2)
    assert ("Warning", '299 - "unknown field \\"spec.prots\\""') in warned.headers()
    assert client.send("POST", f"{_SERVICES}?fieldValidation=Ignore", given).warnings == []
    assert client.send("POST", f"{_SERVICES}?fieldValidation=Perhaps", given).status == 400


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"ports": [{"port": "eighty"}]},
            "json: cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ),
        ({"ports": {}}, "cannot unmarshal object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort"),
        ({"selector": {"app": 1}}, "ServiceSpec.spec.selector of type map[string]string"),
        ({"ports": [{"port": 2**31}]}, "cannot unmarshal number into Go struct field ServicePort.spec.ports.port"),
        ({"publishNotReadyAddresses": "yes"}, "of type bool"),
        ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1.5}}}, "of type int32"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_by_field_and_type(
    client: _Client, spec: dict[str, Any], words: str
) -> None:
    """In the words of Go's decoder."""
    status = client.ask("POST", _SERVICES, service(**spec))
    assert status["code"] == 400
    assert words in status["message"]


def test_a_time_that_is_none_is_refused(client: _Client) -> None:
    """Times have a day, an hour and a zone (RFC 3339)."""
    given = config_map()
    for text in ("yesterday", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z"):
        given["metadata"]["creationTimestamp"] = text
        status = client.ask("POST", "/api/v1/namespaces/default/configmaps", given)
        assert (status["code"], "of type Time" in status["message"]) == (400, True)


def test_an_object_of_another_kind_name_or_namespace_than_the_path_is_refused(client: _Client) -> None:
    """Body and path must agree."""
    assert "cannot be handled as a Service" in client.ask("POST", _SERVICES, {"kind": "Pod"})["message"]
    message = client.ask("POST", _SERVICES, {"apiVersion": "apps/v1"})["message"]
    assert message == "the API version in the data (apps/v1) does not match the expected API version (v1)"
    elsewhere = service()
    elsewhere["metadata"]["namespace"] = "kube-system"
    assert "does not match the namespace" in client.ask("POST", _SERVICES, elsewhere)["message"]
    assert "does not match the name on the URL (other)" in client.ask("PUT", f"{_SERVICES}/other", service())["message"]


def test_the_patch_types_are_told_apart_by_their_media_type(client: _Client) -> None:
    """JSON, merge and strategic merge patches; another type is refused with the names of those that are read."""
    client.store.create(kinds.SERVICES, service())
    url = f"{_SERVICES}/web"
    json_patch = [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]
    merge = {"spec": {"sessionAffinity": "ClientIP"}}
    strategic = {"spec": {"ports": [{"port": 90, "name": "more"}, {"port": 81, "name": "http"}]}}
    for kind, patch in (("json", json_patch), ("merge", merge), ("strategic-merge", strategic)):
        answer = client.send("PATCH", url, patch, content_type=f"application/{kind}-patch+json; charset=utf-8")
        assert answer.status == 200, answer.content
    spec = client.ask("GET", url)["spec"]
    assert ([port["port"] for port in spec["ports"]], spec["sessionAffinity"]) == ([81, 90], "ClientIP")
    refused = client.ask("PATCH", url, {}, content_type="application/apply-patch+cbor")
    assert (refused["code"], refused["reason"]) == (415, "UnsupportedMediaType")
    assert "application/apply-patch+yaml" in refused["message"]


def test_a_patch_with_an_unknown_field_is_refused_as_an_invalid_patch(client: _Client) -> None:
    """As the real server words it for patches."""
    client.store.create(kinds.SERVICES, service())
    url = f"{_SERVICES}/web?fieldValidation=Strict"
    status = client.ask("PATCH", url, {"spec": {"foo": 1}}, content_type="application/merge-patch+json")
    assert status["code"] == 422
    assert status["message"].endswith('strict decoding error: unknown field "spec.foo"')


def test_a_patch_cannot_move_an_object(client: _Client) -> None:
    """Neither the name nor the namespace."""
    client.store.create(kinds.SERVICES, service())
    for change in ({"name": "other"}, {"namespace": "kube-system"}):
        answer = client.send(
            "PATCH", f"{_SERVICES}/web", {"metadata": change}, content_type="application/merge-patch+json"
        )
        assert answer.status == 400


def test_a_collection_is_deleted_by_its_selector(client: _Client) -> None:
    """Only what matches goes."""
    for name, labels in (("a", {"app": "x"}), ("b", {"app": "y"})):
        given = config_map(name)
        given["metadata"]["labels"] = labels
        client.store.create(kinds.CONFIG_MAPS, given)
    gone = client.ask("DELETE", "/api/v1/namespaces/default/configmaps?labelSelector=app=x")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    assert [item["metadata"]["name"] for item in client.store.list(kinds.CONFIG_MAPS)[0]] == ["b"]


def test_options_of_a_deletion_come_in_the_body_or_in_the_query(client: _Client) -> None:
    """Set gracePeriodSeconds by both ways; nonsense is refused."""
    client.store.create(kinds.PODS, pod())
    url = "/api/v1/namespaces/default/pods/web-1"
    assert client.ask("DELETE", url, {"gracePeriodSeconds": 7})["metadata"]["deletionGracePeriodSeconds"] == 7
    assert client.ask("DELETE", f"{url}?gracePeriodSeconds=3")["metadata"]["deletionGracePeriodSeconds"] == 3
    assert client.send("DELETE", f"{url}?gracePeriodSeconds=soon").status == 400
    assert client.send("DELETE", url, {"propagationPolicy": "Sideways"}).status == 400


def test_a_pod_is_bound_and_evicted_by_its_subresources(client: _Client) -> None:
    """As schedulers and kubectl drain do."""
    client.store.create(kinds.PODS, pod(node=None))
    url = "/api/v1/namespaces/default/pods/web-1"
    assert client.send("POST", f"{url}/binding", {"target": {"name": "node-2"}}).status == 201
    assert client.ask("GET", url)["spec"]["nodeName"] == "node-2"
    assert client.send("POST", f"{url}/eviction", {"kind": "Eviction", "apiVersion": "policy/v1"}).status == 201
    assert "deletionTimestamp" in client.ask("GET", url)["metadata"]


def test_scale_is_read_written_and_patched(client: _Client) -> None:
    """The scale subresource over HTTP."""
    client.store.create(kinds.DEPLOYMENTS, deployment())
    url = "/apis/apps/v1/namespaces/default/deployments/web/scale"
    scale = client.ask("GET", url)
    scale["spec"]["replicas"] = 5
    assert client.ask("PUT", url, scale)["spec"] == {"replicas": 5}
    patched = client.ask("PATCH", url, {"spec": {"replicas": 2}}, content_type="application/merge-patch+json")
    assert (patched["kind"], patched["spec"]) == ("Scale", {"replicas": 2})


def test_a_verb_that_a_path_does_not_know_is_refused(client: _Client) -> None:
    """405 with the resource's name."""
    status = client.ask("PUT", _SERVICES, service())
    assert (status["code"], status["reason"]) == (405, "MethodNotAllowed")
    assert client.send("DELETE", "/api/v1/namespaces").status == 405
    assert client.send("POST", "/version").status == 405


def test_discovery_tells_the_same_in_both_of_its_forms(client: _Client) -> None:
    """The documents of single groups and the aggregated one name the same resources."""
    single = set()
    for path in ("/api/v1", "/apis/apps/v1", "/apis/discovery.k8s.io/v1"):
        document = client.ask("GET", path)
        single |= {(document["groupVersion"], entry["name"]) for entry in document["resources"]}
    wanted = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    aggregated = set()
    for path in ("/api", "/apis"):
        reply = client.send("GET", path, accept=wanted)
        assert "as=APIGroupDiscoveryList" in reply.content_type
        for group in json.loads(reply.content)["items"]:
            name = group["metadata"].get("name")
            for version in group["versions"]:
                prefix = f"{name}/{version['version']}" if name else version["version"]
                for found in version["resources"]:
                    aggregated.add((prefix, found["resource"]))
                    aggregated |= {
                        (prefix, f"{found['resource']}/{sub['subresource']}") for sub in found.get("subresources", ())
                    }
    assert single <= aggregated
    assert ("apps/v1", "deployments/scale") in single
    groups = client.ask("GET", "/apis")["groups"]
    assert "discovery.k8s.io" in {group["name"] for group in groups}


def test_openapi_says_that_field_validation_is_understood_and_which_lists_merge(client: _Client) -> None:
    """What kubectl looks up before it validates and before it makes a patch."""
    assert "api/v1" in client.ask("GET", "/openapi/v3")["paths"]
    document = client.ask("GET", "/openapi/v3/api/v1")
    patch = document["paths"]["/api/v1/namespaces/{namespace}/services/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    ports = document["components"]["schemas"]["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert (ports["x-kubernetes-patch-merge-key"], ports["x-kubernetes-patch-strategy"]) == ("port", "merge")


def test_health_and_version_are_told(client: _Client) -> None:
    """Probes and kubectl version."""
    assert {client.send("GET", path).content for path in ("/healthz", "/livez", "/readyz/ping")} == {b"ok"}
    assert client.ask("GET", "/version")["minor"] == "32"


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def _part(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _enveloped(kind: str, raw: bytes, *, api_version: bytes = b"v1") -> bytes:
    return b"k8s\0" + _part(1, _part(1, api_version) + _part(2, kind.encode())) + _part(2, raw)


def test_protobuf_is_read_and_every_cut_of_it_is_refused_without_harm(client: _Client) -> None:
    """The create verbs of kubectl send it; a body that ends anywhere in between is a bad request or another object."""
    metadata = _part(1, b"settings") + _part(8, b"") + _part(11, _part(1, b"app") + _part(2, b"web"))
    body = _enveloped("ConfigMap", _part(1, metadata) + _part(2, _part(1, b"key") + _part(2, b"value")))
    url, protobuf = "/api/v1/namespaces/default/configmaps?dryRun=All", "application/vnd.kubernetes.protobuf"
    created = client.ask("POST", url, body, content_type=protobuf)
    assert (created["data"], created["metadata"]["labels"]) == ({"key": "value"}, {"app": "web"})
    for end in range(len(body)):
        assert client.send("POST", url, body[:end], content_type=protobuf).status in {400, 415, 422}
    unread = client.ask("POST", url, _enveloped("ConfigMap", _part(99, b"x")), content_type=protobuf)
    assert (unread["code"], "send JSON" in unread["message"]) == (415, True)


def test_zero_replicas_in_protobuf_are_zero_and_none_said_are_the_default(client: _Client) -> None:
    """A pointer to zero is a value, an absent one is not."""
    container = _part(1, b"web") + _part(2, b"web:1")
    template = _part(1, _part(11, _part(1, b"app") + _part(2, b"web"))) + _part(2, _part(2, container))
    selector = _part(1, _part(1, b"app") + _part(2, b"web"))
    url, protobuf = "/apis/apps/v1/namespaces/default/deployments?dryRun=All", "application/vnd.kubernetes.protobuf"
    for replicas, expected in ((_part(1, 0), 0), (b"", 1), (_part(1, 300), 300)):
        raw = _part(1, _part(1, b"web")) + _part(2, replicas + _part(2, selector) + _part(3, template))
        body = _enveloped("Deployment", raw, api_version=b"apps/v1")
        created = client.ask("POST", url, body, content_type=protobuf)
        assert created["spec"]["replicas"] == expected, created


def test_options_of_a_deletion_are_read_in_protobuf(client: _Client) -> None:
    """So helm and other programs of client-go's typed clients delete; one that must be another object is refused."""
    protobuf = "application/vnd.kubernetes.protobuf"
    client.send("POST", "/api/v1/namespaces/default/configmaps", config_map("settings"))
    url = "/api/v1/namespaces/default/configmaps/settings"
    other = _enveloped("DeleteOptions", _part(2, _part(1, b"another-uid")))
    assert client.ask("DELETE", url, other, content_type=protobuf)["code"] == 409
    options = _enveloped("DeleteOptions", _part(1, 0) + _part(4, b"Background"))
    assert client.ask("DELETE", url, options, content_type=protobuf)["status"] == "Success"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"),
        ("sendInitialEvents=true&resourceVersionMatch=Exact", "requires setting resourceVersionMatch to NotOlderThan"),
        ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "requires allowWatchBookmarks"),
        ("resourceVersionMatch=NotOlderThan", "resourceVersionMatch is forbidden for watch"),
    ],
)
def test_a_watch_that_is_to_begin_with_a_list_says_so_as_the_api_asks(client: _Client, query: str, words: str) -> None:
    """Kubernetes API concepts, "Streaming lists"."""
    refused = client.ask("GET", f"{_SERVICES}?watch=1&{query}")
    assert (refused["code"], refused["reason"]) == (422, "Invalid")
    assert words in refused["message"]
