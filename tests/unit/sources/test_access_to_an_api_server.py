"""Whose name and which certificates a kubeconfig or a ServiceAccount gives, and what is said where they are no good."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from antrea_proxy.sources import (
    AccessError,
    ApiClient,
    ClusterAccess,
    RefusedError,
    UnreachableError,
    WrongCertificateError,
    cluster_access,
)
from antrea_proxy.sources.access import ExecPlugin, PemFile, TokenFile
from antrea_proxy.sources.client import Request
from antrea_proxy.sources.kubeconfig import read_kubeconfig, read_service_account
from scripted_api_server import ScriptedApiServer, Step, answer, scripted

_OK = answer(200, {"ok": True})
_VERSION = Request(path="/version")


def fetch(
    *steps: Step,
    access: Callable[[ScriptedApiServer], ClusterAccess],
    times: int = 1,
    clients: trustme.CA | None = None,
) -> ScriptedApiServer:
    """Send requests to a scripted server with the access that is made for it."""

    async def run() -> ScriptedApiServer:
        async with scripted(*steps, clients=clients) as server, asyncio.timeout(20):
            async with ApiClient(access(server)) as client:
                for _ in range(times):
                    await client.fetch(_VERSION)
            return server

    return asyncio.run(run())


def kubeconfig(path: Path, **changes: Any) -> Path:  # noqa: ANN401  # any part of a kubeconfig
    """Write a kubeconfig, some of its top-level keys replaced."""
    config = {
        "current-context": "home",
        "contexts": [{"name": "home", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "users": [{"name": "u", "user": {}}],
    }
    path.write_text(yaml.safe_dump({**config, **changes}))
    return path


def plugin(path: Path, body: str) -> dict[str, Any]:
    """Write a credential plugin and give the kubeconfig's words for it."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": f"./{path.name}", "args": ["get", "token"]}


def credential(**status: str) -> str:
    """Make what a plugin prints."""
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})


def test_the_token_of_a_kubeconfig_is_sent(tmp_path: Path) -> None:
    """As a bearer token, with a name that the server's log can show."""
    server = fetch(_OK, access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", token="t0")))  # noqa: S106  # a test's
    assert server.headers[0]["Authorization"] == "Bearer t0"
    assert server.headers[0]["User-Agent"] == "antrea-proxy"


def test_a_user_name_and_password_are_sent(tmp_path: Path) -> None:
    """HTTP basic authentication."""
    server = fetch(
        _OK,
        access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", username="u", password="p")),  # noqa: S106  # a test's
    )
    assert server.headers[0]["Authorization"] == "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_is_shown_to_the_server(tmp_path: Path, *, inline: bool) -> None:
    """From the kubeconfig itself, or from files beside it."""
    clients = trustme.CA()
    issued = clients.issue_cert("tester")
    certificate, key = issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()
    (tmp_path / "c.pem").write_bytes(certificate)
    (tmp_path / "k.pem").write_bytes(key)
    user: dict[str, Any] = (
        {
            "client_certificate_data": base64.b64encode(certificate).decode(),
            "client_key_data": base64.b64encode(key).decode(),
        }
        if inline
        else {"client_certificate": "c.pem", "client_key": "k.pem"}
    )
    server = fetch(
        _OK, clients=clients, access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "config", **user))
    )
    assert server.paths == ["GET /version"]


def test_a_server_that_wants_a_client_certificate_is_named_and_so_is_the_remedy(tmp_path: Path) -> None:
    """TLS itself only says that something is required."""
    with pytest.raises(UnreachableError, match=r"https://127.0.0.1:\d+: "):
        fetch(_OK, clients=trustme.CA(), access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k")))


@pytest.mark.parametrize(
    ("begins", "ends", "told"),
    [
        (-9, -2, "the certificate in {field} of {origin} expired on {ends}; put a new one there"),
        (2, 9, "the certificate in {field} of {origin} is not valid before {begins}; correct this machine's clock"),
    ],
)
@pytest.mark.parametrize("inline", [True, False])
def test_a_client_certificate_out_of_its_time_is_named_with_its_field_and_date(
    tmp_path: Path, begins: int, ends: int, told: str, *, inline: bool
) -> None:
    """The server says no more than that it is expired, and many servers not even that; TLS has no word of a file."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    clients = trustme.CA()
    dates: dict[str, Any] = {"not_before": now + dt.timedelta(days=begins), "not_after": now + dt.timedelta(days=ends)}
    issued = clients.issue_cert(common_name="node-1", **dates)
    certificate, key = issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()
    (tmp_path / "crt").write_bytes(certificate)
    (tmp_path / "key").write_bytes(key)
    user: dict[str, Any] = {"client_certificate": "crt", "client_key": "key"}
    if inline:
        user = {
            "client_certificate_data": base64.b64encode(certificate).decode(),
            "client_key_data": base64.b64encode(key).decode(),
        }
    with pytest.raises(UnreachableError) as caught:
        fetch(_OK, clients=clients, access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", **user)))
    words = {name.removeprefix("not_"): f"{date:%Y-%m-%d %H:%M:%S} UTC" for name, date in dates.items()}
    expected = told.format(
        field="client-certificate-data" if inline else f"client-certificate: {tmp_path / 'crt'}",
        origin=f"kubeconfig {tmp_path / 'k'}, context test",
        begins=words["before"],
        ends=words["after"],
    )
    assert expected in str(caught.value)


def test_a_401_for_a_certificate_that_has_expired_says_so(tmp_path: Path) -> None:
    """As the real API server answers: it looks at the dates behind TLS."""
    issued = trustme.CA().issue_cert(
        common_name="node-1",
        not_before=dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        not_after=dt.datetime(2021, 1, 1, tzinfo=dt.UTC),
    )
    (tmp_path / "crt").write_bytes(issued.cert_chain_pems[0].bytes())
    (tmp_path / "key").write_bytes(issued.private_key_pem.bytes())
    user: dict[str, Any] = {"client_certificate": "crt", "client_key": "key"}
    refused = answer(401, {"kind": "Status", "message": "Unauthorized"})
    with pytest.raises(RefusedError, match=r"Unauthorized; the certificate in .* expired on 2021-01-01 00:00:00 UTC"):
        fetch(refused, refused, access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", **user)))


@pytest.mark.parametrize("what", ["server", "ca"])
def test_a_servers_certificate_or_a_ca_that_has_expired_is_told_apart(tmp_path: Path, what: str) -> None:
    """OpenSSL says of both that a certificate has expired; the one is the server's to renew, the other ours."""
    past: dict[str, Any] = {
        "not_before": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        "not_after": dt.datetime(2021, 1, 1, tzinfo=dt.UTC),
    }
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1", **(past if what == "server" else {}))
    trusted = trustme.CA().issue_cert("ca", **past) if what == "ca" else None

    async def run() -> str:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        issued.configure_cert(context)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        pem = trusted.cert_chain_pems[0].bytes() if trusted else ca.cert_pem.bytes()
        cluster = {
            "server": f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "certificate-authority-data": base64.b64encode(pem).decode(),
        }
        access = read_kubeconfig(kubeconfig(tmp_path / "k", clusters=[{"name": "c", "cluster": cluster}]))
        async with server, ApiClient(access) as client:
            with pytest.raises(WrongCertificateError) as caught:
                await client.fetch(_VERSION)
        return str(caught.value)

    told = asyncio.run(run())
    if what == "server":
        assert "certificate has expired; renew the server's certificate" in told
    else:
        assert f"the CA in certificate-authority-data of kubeconfig {tmp_path / 'k'}" in told
        assert "expired on 2021-01-01 00:00:00 UTC; put a new one there" in told


def test_a_kubeconfig_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    """Tokens in it as well as certificates, without a restart."""
    path = tmp_path / "k"

    async def run() -> list[str]:
        async with scripted(_OK, _OK) as server, asyncio.timeout(20):
            async with ApiClient(read_kubeconfig(server.kubeconfig(path, token="t0"))) as client:  # noqa: S106  # a test's
                await client.fetch(_VERSION)
                server.kubeconfig(path, token="t1-renewed")  # noqa: S106  # a test's
                await client.fetch(_VERSION)
            return [headers["Authorization"] for headers in server.headers]

    assert asyncio.run(run()) == ["Bearer t0", "Bearer t1-renewed"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"contexts": []}, "there is no context 'test'"),
        (
            {"clusters": [{"name": "test", "cluster": {"server": "https://192.0.2.7:6443"}}]},
            "names another API server now, https://192.0.2.7:6443: restart the agent to follow that one",
        ),
    ],
)
def test_a_kubeconfig_that_becomes_unusable_is_told_and_what_it_held_before_goes_on(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    """Told with the first request that fails; one that another server is named in could mix up two clusters."""
    path = tmp_path / "k"

    async def run() -> str:
        refused = answer(401, {"kind": "Status"})
        async with (
            scripted(_OK, _OK, refused, refused) as server,
            asyncio.timeout(20),
            ApiClient(read_kubeconfig(server.kubeconfig(path, token="t0"))) as client,  # noqa: S106  # a test's
        ):
            await client.fetch(_VERSION)
            path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))
            await client.fetch(_VERSION)
            with pytest.raises(RefusedError) as caught:
                await client.fetch(_VERSION)
        return str(caught.value)

    assert told in asyncio.run(run())


def test_a_token_file_is_read_again_when_the_server_refuses_the_token(tmp_path: Path) -> None:
    """The kubelet renews the tokens of ServiceAccounts."""
    token = tmp_path / "token"
    token.write_text("old\n")

    async def renewed(request: object) -> Any:  # noqa: ANN401  # what a step returns
        token.write_text("new\n")
        return await answer(401, {})(request)  # type: ignore[arg-type]  # passed through

    server = fetch(
        renewed,
        _OK,
        access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", tokenFile="token")),  # a path
    )
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer old", "Bearer new"]


def test_a_credential_plugin_is_run_once_and_again_when_its_token_is_refused(tmp_path: Path) -> None:
    """By the v1 protocol: it learns the version that is wanted, and that nobody can answer its questions."""
    count = tmp_path / "count"
    body = f"""echo x >> {count}
case "$KUBERNETES_EXEC_INFO" in *client.authentication.k8s.io/v1*'"interactive": false'*) ;; *) exit 9;; esac
[ "$1 $2 $EXTRA" = "get token more" ] || exit 8
printf '{{"status": {{"token": "n%d"}}}}' "$(wc -l < {count})"
"""
    command = plugin(tmp_path / "login.sh", body) | {"env": [{"name": "EXTRA", "value": "more"}]}
    server = fetch(
        _OK,
        _OK,
        answer(401, {}),
        _OK,
        times=3,
        access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", exec=command)),
    )
    assert count.read_text() == "x\nx\n"
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer n1"] * 3 + ["Bearer n2"]


def test_a_credential_plugins_token_is_renewed_when_its_time_is_over(tmp_path: Path) -> None:
    """At expirationTimestamp, without waiting for a refusal."""
    count = tmp_path / "count"
    printed = credential(token="t0", expirationTimestamp="2020-01-01T00:00:00Z")  # noqa: S106  # a test's
    command = plugin(tmp_path / "login.sh", f"echo x >> {count}\necho '{printed}'")
    fetch(_OK, _OK, times=2, access=lambda s: read_kubeconfig(s.kubeconfig(tmp_path / "k", exec=command)))
    assert count.read_text() == "x\nx\n"


def test_a_credential_plugins_certificate_is_shown_to_the_server(tmp_path: Path) -> None:
    """Instead of a token."""
    clients = trustme.CA()
    issued = clients.issue_cert("tester")
    printed = credential(
        clientCertificateData=issued.cert_chain_pems[0].bytes().decode(),
        clientKeyData=issued.private_key_pem.bytes().decode(),
    )
    (tmp_path / "printed").write_text(printed)
    command = plugin(tmp_path / "login.sh", f"cat {tmp_path / 'printed'}")
    server = fetch(_OK, clients=clients, access=lambda s: read_kubeconfig(s.kubeconfig(tmp_path / "k", exec=command)))
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("echo no such account >&2; exit 3", "ended with 3: no such account"),
        ("echo hello", "printed no ExecCredential"),
        ("echo '{\"status\": {}}'", "printed neither a token nor a certificate"),
    ],
)
def test_a_credential_plugin_that_fails_is_named_with_its_own_words(tmp_path: Path, body: str, told: str) -> None:
    """The user has to mend that program, not this one."""
    command = plugin(tmp_path / "login.sh", body)
    with pytest.raises(AccessError, match=told) as caught:
        fetch(access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", exec=command)))
    assert "login.sh" in str(caught.value)


def test_a_credential_plugin_that_is_missing_is_named_with_its_install_hint(tmp_path: Path) -> None:
    """The kubeconfig's author wrote the hint for this moment."""
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "no-such-plugin",
        "installHint": "get it from the shelf",
    }
    with pytest.raises(AccessError, match=r"no-such-plugin cannot be run: .*; get it from the shelf"):
        fetch(access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k", exec=command)))


def test_a_certificate_for_another_name_is_refused_and_tls_server_name_mends_it(tmp_path: Path) -> None:
    """As for an API server behind a tunnel."""

    def access(server: ScriptedApiServer, name: str) -> ClusterAccess:
        path = server.kubeconfig(tmp_path / "k")
        config = yaml.safe_load(path.read_text())
        cluster = config["clusters"][0]["cluster"]
        cluster["server"] = cluster["server"].replace("127.0.0.1", "localhost")
        cluster["tls-server-name"] = name
        path.write_text(yaml.safe_dump(config))
        return read_kubeconfig(path)

    assert fetch(_OK, access=lambda server: access(server, "127.0.0.1")).paths == ["GET /version"]
    with pytest.raises(WrongCertificateError, match="its certificate is not trusted: Hostname mismatch"):
        fetch(_OK, access=lambda server: access(server, ""))


def test_verification_can_be_switched_off_by_the_kubeconfig_alone(tmp_path: Path) -> None:
    """insecure-skip-tls-verify, as kubectl has it."""

    def access(server: ScriptedApiServer) -> ClusterAccess:
        cluster = {"server": server.url, "insecure-skip-tls-verify": True}
        return read_kubeconfig(kubeconfig(tmp_path / "k", clusters=[{"name": "c", "cluster": cluster}]))

    assert fetch(_OK, access=access).paths == ["GET /version"]


def test_a_ca_file_that_is_renewed_is_used_without_a_restart(tmp_path: Path) -> None:
    """The CA of a cluster is rotated under a running agent."""
    ca = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(str(ca))

    async def run() -> list[str]:
        async with scripted(_OK) as server, asyncio.timeout(20):
            access = ClusterAccess(server=server.url, origin="a test", ca=PemFile(path=ca))
            async with ApiClient(access) as client:
                with pytest.raises(WrongCertificateError, match=str(ca)):
                    await client.fetch(_VERSION)
                server.ca.cert_pem.write_to_path(str(ca))
                await client.fetch(_VERSION)
            return server.paths

    assert asyncio.run(run()) == ["GET /version"]


def test_the_override_replaces_the_url_and_nothing_else(tmp_path: Path) -> None:
    """kubeAPIServerOverride: the user and the CA stay the kubeconfig's."""

    async def run() -> ScriptedApiServer:
        async with scripted(_OK) as server, asyncio.timeout(20):
            path = server.kubeconfig(tmp_path / "k", token="t0")  # noqa: S106  # a test's
            path.write_text(path.read_text().replace(server.url, "https://192.0.2.1:6443"))
            async with ApiClient(read_kubeconfig(path), server_override=server.url) as client:
                await client.fetch(_VERSION)
            return server

    assert asyncio.run(run()).headers[0]["Authorization"] == "Bearer t0"


def test_a_server_that_is_not_there_is_named() -> None:
    """Connection refused, in words."""

    async def run() -> None:
        async with ApiClient(ClusterAccess(server="https://127.0.0.1:1", origin="a test")) as client:
            await client.fetch(_VERSION)

    with pytest.raises(UnreachableError, match=r"https://127\.0\.0\.1:1: "):
        asyncio.run(run())


def test_a_refusal_carries_the_servers_own_reason(tmp_path: Path) -> None:
    """And its code, for a caller to decide on."""
    status = {"kind": "Status", "reason": "NotFound", "message": "nodes n was not found"}
    with pytest.raises(RefusedError, match="nodes n was not found") as caught:
        fetch(answer(404, status), access=lambda server: read_kubeconfig(server.kubeconfig(tmp_path / "k")))
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")


def test_a_pod_finds_its_service_account(tmp_path: Path) -> None:
    """The address is the kubernetes Service's, in either family."""
    (tmp_path / "token").write_text("t0")
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = read_service_account(environment, tmp_path)
    assert access.server == "https://[fd00::1]:443"
    assert access.login == TokenFile(path=tmp_path / "token")
    assert access.ca == PemFile(path=tmp_path / "ca.crt")


def test_outside_of_a_pod_the_remedy_is_named() -> None:
    """Without any flag the agent looks for a ServiceAccount."""
    with pytest.raises(AccessError, match="give --kubeconfig FILE or --manifests DIRECTORY"):
        cluster_access(None, {})


def test_another_context_than_the_current_one_can_be_chosen(tmp_path: Path) -> None:
    """By its name."""
    other = [{"name": "away", "cluster": {"server": "https://203.0.113.1"}}]
    path = kubeconfig(
        tmp_path / "k", contexts=[{"name": "away", "context": {"cluster": "away", "user": ""}}], clusters=other
    )
    assert read_kubeconfig(path, "away").server == "https://203.0.113.1"


def test_a_plugin_found_by_the_path_is_left_to_the_path(tmp_path: Path) -> None:
    """Only a command with a slash is relative to the kubeconfig."""
    command = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": "aws", "args": None}
    path = kubeconfig(tmp_path / "k", users=[{"name": "u", "user": {"exec": command}}])
    login = read_kubeconfig(path).login
    assert isinstance(login, ExecPlugin)
    assert login.command == "aws"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"current-context": ""}, "it has no current-context; run kubectl config use-context NAME"),
        ({"current-context": "work"}, r"there is no context 'work' in it \(there are: home\)"),
        ({"clusters": None}, r"there is no cluster 'c' in it \(there are: none\)"),
        ({"users": []}, "there is no user 'u' in it"),
        ({"clusters": [{"name": "c", "cluster": {"server": "here"}}]}, "server: 'here' is no URL"),
        ({"clusters": "none"}, "it has not the shape of a kubeconfig"),
        (
            {"users": [{"name": "u", "user": {"exec": {"apiVersion": "v7", "command": "x"}}}]},
            "user.exec.apiVersion: 'v7': must be one of",
        ),
        (
            {"users": [{"name": "u", "user": {"client-certificate": "a.pem"}}]},
            "client-key is missing; certificate and key belong together",
        ),
        (
            {"clusters": [{"name": "c", "cluster": {"server": "https://a", "certificate-authority-data": "/w=="}}]},
            "certificate-authority-data: it is not PEM text in base64",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named_with_the_key(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    """Before anything is sent."""
    path = kubeconfig(tmp_path / "k", **changes)
    with pytest.raises(AccessError, match=told) as caught:
        read_kubeconfig(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["a: b: c", "\x00", "[" * 1500])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    """Whatever the flag pointed at."""
    (tmp_path / "k").write_text(text)
    with pytest.raises(AccessError, match="it is not YAML"):
        read_kubeconfig(tmp_path / "k")
    with pytest.raises(AccessError, match="it cannot be read"):
        read_kubeconfig(tmp_path / "none")


def test_a_certificate_that_is_none_is_named_with_its_origin(tmp_path: Path) -> None:
    """The CA's text may be anything."""
    (tmp_path / "ca").write_text("no certificate")

    async def run() -> None:
        access = ClusterAccess(server="https://127.0.0.1:1", origin="a test", ca=PemFile(path=tmp_path / "ca"))
        async with ApiClient(access) as client:
            await client.fetch(_VERSION)

    with pytest.raises(AccessError, match=r"a test: the CA .*ca holds no certificate in PEM"):
        asyncio.run(run())


def test_secrets_do_not_show_in_a_log(tmp_path: Path) -> None:
    """Values are printed into logs and tracebacks."""
    path = kubeconfig(tmp_path / "k", users=[{"name": "u", "user": {"token": "hush-hush"}}])
    assert "hush" not in repr(read_kubeconfig(path))
