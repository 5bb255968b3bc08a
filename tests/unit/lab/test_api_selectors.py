"""Label and field selectors."""

from __future__ import annotations

import pytest

from antrea_proxy.lab.api_server import ApiError, Store
from antrea_proxy.lab.api_server import resources as kinds
from antrea_proxy.lab.api_server.selectors import LabelSelector
from api_samples import pod

_LABELS = {"app": "web", "tier": "front", "weight": "7", "example.com/part": "a"}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web,tier!=back", True),
        ("app=db", False),
        ("missing!=x", True),
        ("app in (db, web)", True),
        ("app notin (db,web)", False),
        ("missing notin (a)", True),
        ("app", True),
        ("!app", False),
        ("!missing,example.com/part=a", True),
        ("weight>6,weight<8", True),
        ("app>1", False),
        ("app=", False),
    ],
)
def test_a_label_selector_matches_as_kubernetes_says(selector: str, *, matches: bool) -> None:
    """Equality, sets, existence and order."""
    assert LabelSelector.parse(selector).matches(_LABELS) is matches


@pytest.mark.parametrize("selector", ["a=b=c", "a in b", "=x", "a,,b", "a in (b"])
def test_a_selector_that_is_none_is_a_bad_request(selector: str) -> None:
    """The message shows the part that is not understood."""
    with pytest.raises(ApiError, match="unable to parse requirement") as refused:
        LabelSelector.parse(selector)
    assert refused.value.code == 400


def test_match_expressions_of_a_deployment_select_as_labels_do() -> None:
    """The object form of a selector means the same as its text."""
    selector = LabelSelector.from_object(
        {
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }
    )
    assert selector.matches(_LABELS)
    assert not selector.matches({**_LABELS, "old": "1"})


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("spec.nodeName=node-1", ["a"]),
        ("spec.nodeName!=node-1", ["b"]),
        ("status.phase=Pending,metadata.name=b", ["b"]),
        ("metadata.namespace=elsewhere", []),
    ],
)
def test_pods_are_selected_by_their_fields(selector: str, found: list[str]) -> None:
    """The fields by which kubelets and kubectl describe look Pods up."""
    store = Store()
    store.create(kinds.PODS, pod("a"))
    store.create(kinds.PODS, pod("b", node=None))
    assert [obj["metadata"]["name"] for obj in store.list(kinds.PODS, field_selector=selector)[0]] == found


def test_a_field_that_cannot_be_selected_by_is_named() -> None:
    """The real server knows a few fields of each kind only; so does this one."""
    with pytest.raises(ApiError, match=r"field label not supported: spec\.foo"):
        Store().list(kinds.PODS, field_selector="spec.foo=1")
