"""Which rule a ClusterRole lacks, and the dates of certificates, against an independent reader of them."""

from __future__ import annotations

import datetime as dt

import pytest
import trustme
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from antrea_proxy.sources.rights import missing_right
from antrea_proxy.sources.validity import validities


@pytest.mark.parametrize(
    ("method", "path", "rule"),
    [
        ("GET", "/api/v1/services", '{apiGroups: [""], resources: [services], verbs: [list, watch]}'),
        (
            "GET",
            "/apis/discovery.k8s.io/v1/endpointslices",
            '{apiGroups: ["discovery.k8s.io"], resources: [endpointslices], verbs: [list, watch]}',
        ),
        ("POST", "/api/v1/namespaces/default/events", '{apiGroups: [""], resources: [events], verbs: [create]}'),
        ("PATCH", "/api/v1/nodes/node-1", '{apiGroups: [""], resources: [nodes], verbs: [patch]}'),
        ("PATCH", "/api/v1/nodes/n/status", '{apiGroups: [""], resources: [nodes/status], verbs: [patch]}'),
        ("GET", "/version", "nonResourceURLs"),
    ],
)
def test_the_rule_of_a_request(method: str, path: str, rule: str) -> None:
    """Everything that the agent asks for."""
    assert rule in missing_right(method, path, "a test")


def test_dates_of_this_century_and_of_far_off_are_read_as_others_read_them() -> None:
    """From 2050 on the dates are written in another form (RFC 5280 section 4.1.2.5.2)."""
    for year in (1999, 2026, 2049, 2050, 9999):
        ends = dt.datetime(year, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
        issued = trustme.CA().issue_cert("a", not_before=dt.datetime(1990, 1, 2, tzinfo=dt.UTC), not_after=ends)
        pem = issued.cert_chain_pems[0].bytes()
        (read,) = validities(pem.decode())
        other = x509.load_pem_x509_certificate(pem)
        assert (read.begins, read.ends) == (other.not_valid_before_utc, other.not_valid_after_utc)
        assert read.ends == ends


_CERTIFICATE = trustme.CA().cert_pem.bytes().decode()


@settings(max_examples=200)
@given(st.integers(30, len(_CERTIFICATE) - 30), st.sampled_from("AZaz09+/="))
def test_what_is_no_certificate_is_no_reason_to_fail(place: int, letter: str) -> None:
    """The dates are there for a message; a file that is broken has one of its own."""
    broken = _CERTIFICATE[:place] + letter + _CERTIFICATE[place + 1 :]
    assert len(validities(broken)) <= 1
    assert validities(_CERTIFICATE + "and other words") == validities(_CERTIFICATE)
