"""Server-side apply at the lab's API server: lists by their keys, what goes with its last owner, what is refused."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
import yaml

from antrea_proxy.lab.api_server import Store
from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.api import Api
from antrea_proxy.lab.api_server.replies import Reply
from antrea_proxy.lab.api_server.requests import Request
from api_samples import ManualClock, config_map, deployment, pod, service

_SERVICE = "/api/v1/namespaces/default/services/web"
_DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/web"
_APPLY = "application/apply-patch+yaml"
JsonObject = dict[str, Any]


class _Client:
    """Asks an `Api` as an HTTP client would."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = Store(clock=self.clock)
        self.api = Api(self.store)

    def send(self, method: str, url: str, body: object, *, kind: str = "application/json", agent: str = "") -> Reply:
        path, _, query = url.partition("?")
        parameters = dict(part.split("=", 1) for part in query.split("&")) if query else {}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = Request(method=method, path=path, query=parameters, body=content, content_type=kind, user_agent=agent)
        answer = self.api.answer(request)
        assert isinstance(answer, Reply)
        return answer

    def apply(self, url: str, body: object, manager: str = "ann", *, force: bool = False) -> JsonObject:
        """Apply; gives the object or the refusal."""
        more = "&force=true" if force else ""
        answer = self.send("PATCH", f"{url}?fieldManager={manager}{more}", body, kind=_APPLY)
        found: JsonObject = json.loads(answer.content)
        return found

    def get(self, url: str) -> JsonObject:
        found: JsonObject = json.loads(self.send("GET", url, b"").content)
        return found


@pytest.fixture
def client() -> _Client:
    """Give a client of an empty cluster."""
    return _Client()


def _applied(obj: JsonObject, api_version: str = "v1", kind: str = "Service") -> JsonObject:
    return {"apiVersion": api_version, "kind": kind, **obj}


def _ports(*ports: JsonObject) -> JsonObject:
    return _applied({"metadata": {"name": "web"}, "spec": {"ports": list(ports)}})


def _owner(found: JsonObject, manager: str) -> JsonObject:
    (entry,) = (one for one in found["metadata"]["managedFields"] if one["manager"] == manager)
    tree: JsonObject = entry["fieldsV1"]
    return tree


def test_what_is_applied_first_is_made_and_owned_without_what_the_server_adds(client: _Client) -> None:
    """Defaults are nobody's; identity and status are the server's."""
    body = _applied(service(), kind="Service") | {"status": {"loadBalancer": {}}}
    answer = client.send("PATCH", f"{_SERVICE}?fieldManager=ann", yaml.safe_dump(body).encode(), kind=_APPLY)
    assert answer.status == 201
    (entry,) = json.loads(answer.content)["metadata"]["managedFields"]
    assert entry == {
        "manager": "ann",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "2026-01-02T03:04:05Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}, "f:selector": {}}
        },
    }


def test_ports_of_one_number_are_told_apart_by_their_protocol(client: _Client) -> None:
    """Two managers have a port each; each finds the other's where it was, whoever applies again."""
    client.apply(_SERVICE, _ports({"name": "t", "port": 53}), "ann")
    both = client.apply(_SERVICE, _ports({"name": "u", "port": 53, "protocol": "UDP"}), "bob")
    assert [(port["name"], port["protocol"]) for port in both["spec"]["ports"]] == [("t", "TCP"), ("u", "UDP")]
    changed = client.apply(_SERVICE, _ports({"name": "t", "port": 53, "targetPort": 5353}), "ann")
    assert [port["targetPort"] for port in changed["spec"]["ports"]] == [5353, 53]
    left = client.apply(_SERVICE, _ports({"name": "x", "port": 80}), "ann")
    assert [port["name"] for port in left["spec"]["ports"]] == ["u", "x"]


def test_an_item_that_two_own_keeps_its_keys_and_loses_what_one_alone_wanted(client: _Client) -> None:
    """Without its keys nobody could tell which it is."""
    client.apply(_SERVICE, _ports({"name": "http", "port": 80, "appProtocol": "h2c"}), "ann")
    client.apply(_SERVICE, _ports({"port": 80, "targetPort": 8080}), "bob", force=True)
    found = client.apply(_SERVICE, _applied({"metadata": {"name": "web"}, "spec": {"selector": {"a": "b"}}}), "ann")
    (port,) = found["spec"]["ports"]
    assert (port["port"], port["targetPort"], "appProtocol" in port, "name" in port) == (80, 8080, False, False)


def test_containers_and_their_environment_are_merged_by_name(client: _Client) -> None:
    """An injected sidecar and a variable of somebody else stay."""
    base = _applied(deployment(), "apps/v1", "Deployment")
    client.apply(_DEPLOYMENT, base, "ann")

    def containers(*items: JsonObject) -> JsonObject:
        spec = {"template": {"spec": {"containers": list(items)}}}
        return _applied({"metadata": {"name": "web"}, "spec": spec}, "apps/v1", "Deployment")

    injected = containers({"name": "sidecar", "image": "s:1"}, {"name": "web", "env": [{"name": "A", "value": "1"}]})
    client.apply(_DEPLOYMENT, injected, "bob")
    again = deepcopy(base)
    again["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    found = client.apply(_DEPLOYMENT, again, "ann")["spec"]["template"]["spec"]["containers"]
    assert [(item["name"], item["image"], item.get("env")) for item in found] == [
        ("sidecar", "s:1", None),
        ("web", "web:2", [{"name": "A", "value": "1"}]),
    ]


def test_a_selector_is_one_whole(client: _Client) -> None:
    """Half a selector of one manager and half of another would select what neither meant."""
    client.apply(_SERVICE, _applied(service(selector={"app": "web", "tier": "front"})), "ann")
    refused = client.apply(_SERVICE, _applied({"spec": {"selector": {"app": "web"}}}), "bob")
    assert refused["message"] == 'Apply failed with 1 conflict: conflict with "ann": .spec.selector'
    forced = client.apply(_SERVICE, _applied({"spec": {"selector": {"app": "other"}}}), "bob", force=True)
    assert forced["spec"]["selector"] == {"app": "other"}
    assert "f:selector" not in _owner(forced, "ann")["f:spec"]


def test_conflicts_name_manager_time_and_field(client: _Client) -> None:
    """As kubectl prints them."""
    client.store.create(kinds.SERVICES, service())
    patch = {"spec": {"sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": 81}]}}
    client.send("PATCH", _SERVICE, patch, kind="application/strategic-merge-patch+json", agent="curl/8.0 (x)")
    body = _applied(service(sessionAffinity="None", ports=[{"port": 80, "targetPort": 82}]))
    refused = client.apply(_SERVICE, body)
    who = '"curl" using v1 at 2026-01-02T03:04:05Z'
    assert refused["message"] == (
        f"Apply failed with 2 conflicts: conflicts with {who}:\n"
        '- .spec.ports[port=80,protocol="TCP"].targetPort\n'
        "- .spec.sessionAffinity"
    )
    assert refused["details"]["causes"][1] == {
        "reason": "FieldManagerConflict",
        "message": f"conflict with {who}",
        "field": ".spec.sessionAffinity",
    }
    assert (refused["code"], refused["reason"]) == (409, "Conflict")


def test_a_scaled_deployment_is_the_scalers_until_it_is_forced(client: _Client) -> None:
    """Who writes the scale subresource owns the number of replicas."""
    body = _applied(deployment(), "apps/v1", "Deployment")
    client.apply(_DEPLOYMENT, body)
    scale = {"spec": {"replicas": 7}}
    client.send("PATCH", f"{_DEPLOYMENT}/scale?fieldManager=hpa", scale, kind="application/merge-patch+json")
    assert '"hpa" with subresource "scale" using apps/v1' in client.apply(_DEPLOYMENT, body)["message"]
    without = deepcopy(body)
    del without["spec"]["replicas"]
    assert client.apply(_DEPLOYMENT, without)["spec"]["replicas"] == 7
    forced = client.apply(_DEPLOYMENT, body, force=True)
    assert forced["spec"]["replicas"] == 3
    assert [entry["manager"] for entry in forced["metadata"]["managedFields"]] == ["ann"]


def test_a_status_is_applied_apart_from_the_rest(client: _Client) -> None:
    """Conditions by their type; the spec of such a configuration says nothing."""
    client.apply(_SERVICE, _applied(service(type="LoadBalancer")))
    condition = {"type": "Ready", "status": "True", "reason": "Yes", "message": "", "lastTransitionTime": None}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    for kind in ("Ready", "Other"):
        body = _applied({"spec": {"selector": {}}, "status": {"conditions": [{**condition, "type": kind}]}})
        found = client.apply(f"{_SERVICE}/status", body, kind)
    assert [item["type"] for item in found["status"]["conditions"]] == ["Ready", "Other"]
    assert found["spec"]["selector"] == {"app": "web"}
    entries = {entry["manager"]: entry.get("subresource", "") for entry in found["metadata"]["managedFields"]}
    assert entries == {"ann": "", "Ready": "status", "Other": "status"}


def test_ordinary_writes_are_owned_by_whoever_wrote_what_they_changed(client: _Client) -> None:
    """By fieldManager, or by how the client calls itself; what is gone is nobody's."""
    url = "/api/v1/namespaces/default/configmaps"
    client.send("POST", url, config_map(a="1", b="2"), agent="kubectl/v1.32 (linux/amd64)")
    found = client.get(f"{url}/settings")
    found["data"] = {"a": "1", "b": "3", "c": "4"}
    client.send("PUT", f"{url}/settings?fieldManager=editor", found)
    after = client.get(f"{url}/settings")
    assert _owner(after, "kubectl") == {"f:data": {"f:a": {}}}
    assert _owner(after, "editor") == {"f:data": {"f:b": {}, "f:c": {}}}
    remove = [{"op": "remove", "path": "/data/b"}, {"op": "remove", "path": "/data/c"}]
    client.send("PATCH", f"{url}/settings", remove, kind="application/json-patch+json", agent="curl/8")
    assert [entry["manager"] for entry in client.get(f"{url}/settings")["metadata"]["managedFields"]] == ["kubectl"]


def test_a_client_may_say_itself_who_owns_what_and_forget_all(client: _Client) -> None:
    """As kubectl does, where it takes to server-side apply."""
    url = "/api/v1/namespaces/default/configmaps/settings"
    client.apply(url, _applied(config_map(a="1"), kind="ConfigMap"), "old")
    entry = client.get(url)["metadata"]["managedFields"][0] | {"manager": "new"}
    replace = [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}]
    client.send("PATCH", url, replace, kind="application/json-patch+json")
    assert client.get(url)["metadata"]["managedFields"] == [entry]
    bad = [{"op": "replace", "path": "/metadata/managedFields/0/fieldsV1", "value": {"x:a": {}}}]
    assert client.send("PATCH", url, bad, kind="application/json-patch+json").status == 400
    client.send("PATCH", url, {"metadata": {"managedFields": [{}]}}, kind="application/merge-patch+json")
    assert "managedFields" not in client.get(url)["metadata"]


def test_what_the_labs_own_controllers_make_has_no_owners(client: _Client) -> None:
    """They make many objects, and their fields are nobody else's."""
    client.store.create(kinds.PODS, pod())
    client.store.modify(kinds.PODS, "default", "web-1", lambda obj: obj["metadata"].update(labels={"a": "b"}))
    assert "managedFields" not in client.get("/api/v1/namespaces/default/pods/web-1")["metadata"]


def test_a_try_changes_nothing(client: _Client) -> None:
    """dryRun=All answers what would be."""
    answer = client.send("PATCH", f"{_SERVICE}?fieldManager=ann&dryRun=All", _applied(service()), kind=_APPLY)
    assert answer.status == 201
    assert client.get(_SERVICE)["code"] == 404
    client.apply(_SERVICE, _applied(service()))
    other = _applied(service(sessionAffinity="ClientIP"))
    answer = client.send("PATCH", f"{_SERVICE}?fieldManager=ann&dryRun=All", other, kind=_APPLY)
    assert json.loads(answer.content)["spec"]["sessionAffinity"] == "ClientIP"
    assert client.get(_SERVICE)["spec"]["sessionAffinity"] == "None"


def test_an_older_version_or_another_uid_is_a_conflict(client: _Client) -> None:
    """A configuration may name them."""
    body = _applied(service())
    for name in ("uid", "resourceVersion"):
        missing = client.apply(_SERVICE, {**body, "metadata": {"name": "web", name: "1"}})
        assert (missing["code"], missing["reason"]) == (409, "Conflict")
    client.apply(_SERVICE, body)
    for name in ("uid", "resourceVersion"):
        refused = client.apply(_SERVICE, {**body, "metadata": {"name": "web", name: "1"}})
        assert (refused["code"], "Operation cannot be fulfilled" in refused["message"]) == (409, True)


def test_a_change_of_clock_alone_is_no_change(client: _Client) -> None:
    """The time of an entry is that of its last change."""
    first = client.apply(_SERVICE, _applied(service()))
    client.clock.advance(60)
    assert client.apply(_SERVICE, _applied(service())) == first
    changed = client.apply(_SERVICE, _applied(service(sessionAffinity="ClientIP")))
    assert changed["metadata"]["managedFields"][0]["time"] == "2026-01-02T03:05:05Z"


@pytest.mark.parametrize(
    ("query", "body", "code", "told"),
    [
        ("", {}, 422, "fieldManager: Required value: is required for apply patch"),
        ("?fieldManager=" + "a" * 129, {}, 422, "fieldManager: Too long"),
        ("?fieldManager=a", [], 400, "not an object with fields"),
        ("?fieldManager=a", {"kind": "Service"}, 400, "must have apiVersion"),
        ("?fieldManager=a", {"apiVersion": "v1"}, 400, "must have kind"),
        ("?fieldManager=a", _applied({}, kind="Pod"), 400, "cannot be handled as a Service"),
        ("?fieldManager=a", _applied({"metadata": {"managedFields": [{}]}}), 400, "managedFields must be nil"),
        ("?fieldManager=a", _applied({"metadata": {"name": "else"}}), 400, "does not match the name on the URL"),
        ("?fieldManager=a", _applied({"spec": {"prots": []}}), 400, ".spec.prots: field not declared in schema"),
        ("?fieldManager=a", _ports({"name": "x"}), 400, ".spec.ports: element 0: associative list with keys has an "),
        (
            "?fieldManager=a",
            _ports({"port": 80}, {"port": 80, "protocol": "TCP"}),
            400,
            'Kind=Service): .spec.ports: duplicate entries for key [port=80,protocol="TCP"]',
        ),
        ("?fieldManager=a", _applied({"metadata": {"uid": 3}}), 400, "cannot unmarshal number"),
    ],
)
def test_a_configuration_that_cannot_be_applied_is_refused_by_name(
    client: _Client, query: str, body: object, code: int, told: str
) -> None:
    """Nothing is made of it."""
    refused = json.loads(client.send("PATCH", f"{_SERVICE}{query}", body, kind=_APPLY).content)
    assert refused["code"] == code
    assert told in refused["message"]
    assert client.get(_SERVICE)["code"] == 404


def test_what_is_not_built_is_refused_and_force_is_for_apply_alone(client: _Client) -> None:
    """The scale of a Deployment, and events.k8s.io."""
    client.apply(_DEPLOYMENT, _applied(deployment(), "apps/v1", "Deployment"))
    scale = _applied({"spec": {"replicas": 1}}, "apps/v1", "Deployment")
    assert "deployments/scale is not built" in client.apply(f"{_DEPLOYMENT}/scale", scale)["message"]
    event = _applied({"metadata": {"name": "e"}}, "events.k8s.io/v1", "Event")
    url = "/apis/events.k8s.io/v1/namespaces/default/events/e"
    assert "events of events.k8s.io/v1 is not built" in client.apply(url, event)["message"]
    answer = client.send("PATCH", f"{_DEPLOYMENT}?force=true", {}, kind="application/merge-patch+json")
    assert "force: Forbidden: may not be specified for non-apply patch" in json.loads(answer.content)["message"]


def test_what_kubectl_applied_as_a_client_is_its_own_and_nobody_elses(client: _Client) -> None:
    """By the annotation; a field that somebody else has changed since is in conflict."""
    body = _applied(deployment(), "apps/v1", "Deployment")
    annotated = deepcopy(body)
    annotated["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(body)}
    client.send("POST", _DEPLOYMENT.rpartition("/")[0] + "?fieldManager=kubectl-client-side-apply", annotated)
    wanted = deepcopy(body)
    wanted["spec"]["replicas"] = 5
    assert '"kubectl-client-side-apply" using apps/v1' in client.apply(_DEPLOYMENT, wanted, "ann")["message"]
    found = client.apply(_DEPLOYMENT, wanted, "kubectl")
    assert found["spec"]["replicas"] == 5
    noted = found["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"]
    assert json.loads(noted)["spec"]["replicas"] == 5
    patch = {"spec": {"replicas": 9}}
    client.send("PATCH", f"{_DEPLOYMENT}?fieldManager=bob", patch, kind="application/merge-patch+json")
    assert '"bob" using apps/v1' in client.apply(_DEPLOYMENT, wanted, "kubectl")["message"]
