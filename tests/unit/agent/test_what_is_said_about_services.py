"""What is wrong with a Service is said in the log and in Kubernetes Events: once, in bounds, and never waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from agent_loop import Loop, refuse_address
from antrea_proxy.agent.announcements import BURST, FIRST_GAP_S, LONGEST_GAP_S, SETTLE_S, Announcements
from antrea_proxy.agent.backoff import Backoff
from antrea_proxy.agent.event_recorder import EventRecorder
from antrea_proxy.agent.service_problems import Finder, ServiceProblems
from antrea_proxy.agent.status import HealthReport, HostReport
from antrea_proxy.kubernetes.names import NamespacedName
from antrea_proxy.kubernetes.objects import ObjectMeta, Service
from antrea_proxy.proxy.problems import Problem, Reason
from antrea_proxy.sources import ApiClient, cluster_access
from scripted_api_server import ScriptedApiServer, Step, answer, scripted
from worlds import endpoint_slice, service

WEB = NamespacedName("default", "web")
PORT = Problem(reason=Reason.INVALID_PORT, text="Service default/web: spec.ports[0].port: 0: must be 1 to 65535")
OTHER_PORT = Problem(reason=Reason.INVALID_PORT, text="Service default/web: spec.ports[1].port: 70000")
CONFLICT = Problem(reason=Reason.ADDRESS_CONFLICT, text="Service default/web: 10.96.0.1:80/TCP belongs to another")
REFUSAL = {"kind": "Status", "message": "events is forbidden", "reason": "Forbidden", "code": 403}


def named(name: str = "web", uid: str = "1") -> Service:
    return Service(metadata=ObjectMeta(name=name, namespace="default", uid=uid))


class Speaker:
    """Announcements, and all that they say as time goes by."""

    def __init__(self) -> None:
        self.announcements = Announcements()
        self.now = 1000.0

    def want(self, *problems: Problem, service: Service | None = None) -> None:
        self.announcements.want(service or named(), problems, self.now)

    def hear(self, seconds: float) -> list[str]:
        """Say what comes due within so many seconds."""
        said, end = [], self.now + seconds
        while (wait := self.announcements.seconds_to_next(self.now)) is not None and self.now + wait <= end:
            self.now += wait
            announcement = self.announcements.due(self.now)
            if announcement is None:
                continue
            said.append(f"{announcement.text.severity} {announcement.text.reason}: {announcement.text.message}")
            self.announcements.said(announcement, self.now)
        self.now = end
        return said


def test_a_problem_is_said_once_however_often_it_is_looked_at() -> None:
    speaker = Speaker()
    for _ in range(5):
        speaker.want(PORT)
    assert speaker.hear(60) == ["Warning InvalidPort: spec.ports[0].port: 0: must be 1 to 65535"]
    for _ in range(5):
        speaker.want(PORT)
        assert speaker.hear(600) == []


def test_problems_of_one_reason_are_one_event_and_what_is_over_is_a_normal_one() -> None:
    speaker = Speaker()
    speaker.want(PORT, CONFLICT, OTHER_PORT)
    assert speaker.hear(60) == [
        "Warning InvalidPort: spec.ports[0].port: 0: must be 1 to 65535; spec.ports[1].port: 70000",
        "Warning AddressConflict: 10.96.0.1:80/TCP belongs to another",
    ]
    speaker.want(OTHER_PORT)
    over = "10.96.0.1:80/TCP belongs to another; spec.ports[0].port: 0: must be 1 to 65535"
    assert speaker.hear(60) == [f"Normal ProblemSolved: no longer: {over}"]
    speaker.want()
    assert speaker.hear(60) == ["Normal ProblemSolved: no longer: spec.ports[1].port: 70000"]


def test_what_is_over_at_once_is_not_said_at_all() -> None:
    speaker = Speaker()
    speaker.want(CONFLICT)
    assert speaker.hear(SETTLE_S / 2) == []
    speaker.want()
    assert speaker.hear(600) == []


def test_a_service_of_the_same_name_that_was_made_anew_is_told_of_anew() -> None:
    speaker = Speaker()
    speaker.want(PORT)
    assert len(speaker.hear(60)) == 1
    speaker.want(PORT, service=named(uid="2"))
    assert len(speaker.hear(60)) == 1


def test_nothing_is_said_about_a_service_that_is_no_more() -> None:
    speaker = Speaker()
    speaker.want(PORT)
    speaker.announcements.forget(WEB)
    assert speaker.hear(60) == []


def test_a_problem_that_comes_and_goes_all_the_time_is_told_of_ever_more_rarely() -> None:
    speaker, said = Speaker(), []
    for turn in range(3600):
        speaker.want(*([PORT] if turn % 2 else []))
        said += speaker.hear(1)
    assert len(said) < 20
    speaker.want()
    speaker.hear(2 * LONGEST_GAP_S)
    speaker.want(PORT)
    assert len(speaker.hear(SETTLE_S)) == 1, "after a quiet time it is told at once again"
    assert FIRST_GAP_S < LONGEST_GAP_S


def test_of_many_services_at_once_few_are_told_of_at_once_and_all_in_the_end() -> None:
    speaker = Speaker()
    for number in range(200):
        speaker.want(PORT, service=named(f"web-{number}"))
    assert len(speaker.hear(SETTLE_S)) in {BURST, BURST + 1}
    assert BURST < len(speaker.hear(100)) + BURST < 150
    assert len(speaker.hear(300)) > 50
    assert speaker.announcements.seconds_to_next(speaker.now) is None


class Recorder:
    """An EventRecorder of node-1 that writes to a scripted API server, on a clock that runs far ahead."""

    def __init__(self, server: ScriptedApiServer) -> None:
        self.server = server
        self.services = {WEB: named()}
        loop = asyncio.get_running_loop()
        self.events = EventRecorder(
            node="node-1",
            service=self.services.get,
            retrying=lambda: Backoff(first=0.01, limit=0.01),
            clock=lambda: 1000 * loop.time(),
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the condition may be anything
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def recording(path: Path, *steps: Step) -> AsyncIterator[Recorder]:
    async with scripted(*steps) as server:
        recorder = Recorder(server)
        async with ApiClient(cluster_access(server.kubeconfig(path / "kubeconfig"), {})) as client:
            task = asyncio.create_task(recorder.events.run(client))
            yield recorder
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def run(scenario: Any) -> Any:  # noqa: ANN401 - whatever it returns
    return asyncio.run(scenario)


def test_an_event_and_a_line_of_the_log_tell_of_a_problem_and_of_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with recording(tmp_path, answer(201, {}), answer(201, {})) as recorder:
            for _ in range(3):
                recorder.events.consider(WEB, (PORT,))
            await recorder.until(lambda: len(recorder.server.bodies) == 1)
            recorder.events.consider(WEB, ())
            await recorder.until(lambda: len(recorder.server.bodies) == 2)
            warning, normal = recorder.server.bodies
            assert (warning["type"], warning["reason"]) == ("Warning", "InvalidPort")
            assert warning["involvedObject"]["uid"] == "1"
            assert warning["source"]["host"] == "node-1"
            assert warning["message"] == "on node-1: spec.ports[0].port: 0: must be 1 to 65535"
            assert normal["type"] == "Normal"

    with capture_logs() as logs:
        run(scenario())
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "a Service is not served wholly"),
        ("info", "a Service's problem is over"),
    ]
    assert logs[0]["problem"] == PORT.text


def test_without_the_right_to_write_events_the_log_says_so_once_and_they_are_written_when_it_is_given(
    tmp_path: Path,
) -> None:
    async def scenario() -> list[Any]:
        refusals = [answer(403, REFUSAL)] * 5
        async with recording(tmp_path, *refusals, answer(201, {})) as recorder:
            recorder.events.consider(WEB, (PORT,))
            await recorder.until(lambda: len(recorder.server.bodies) == 6)
            return [body["reason"] for body in recorder.server.bodies]

    with capture_logs() as logs:
        assert run(scenario()) == ["InvalidPort"] * 6
    told = [line for line in logs if line["event"] == "Events about Services cannot be written"]
    assert len(told) == 1
    assert "add to a ClusterRole" in told[0]["error"]


@pytest.mark.parametrize("code", [404, 422])
def test_an_event_that_will_never_be_taken_is_given_up_and_the_next_is_written(tmp_path: Path, code: int) -> None:
    async def scenario() -> list[Any]:
        async with recording(tmp_path, answer(code, {"message": "no"}), answer(201, {})) as recorder:
            recorder.services[NamespacedName("default", "db")] = named("db")
            recorder.events.consider(WEB, (PORT,))
            recorder.events.consider(NamespacedName("default", "db"), (PORT,))
            await recorder.until(lambda: len(recorder.server.bodies) == 2)
            return [body["involvedObject"]["name"] for body in recorder.server.bodies]

    assert run(scenario()) == ["web", "db"]


def test_problems_of_all_finders_are_put_together_and_go_with_their_finder() -> None:
    told: list[tuple[NamespacedName, tuple[Problem, ...]]] = []
    problems = ServiceProblems(lambda name, found: told.append((name, found)))
    problems.found_in_all(Finder.SWITCH, {WEB: (CONFLICT,)})
    problems.found(Finder.RULES, WEB, (PORT,))
    assert problems.by_service == {WEB: (PORT, CONFLICT)}
    problems.found_in_all(Finder.SWITCH, {})
    problems.found_in_all(Finder.SWITCH, {})
    problems.found(Finder.RULES, WEB, ())
    problems.found(Finder.RULES, WEB, ())
    assert problems.by_service == {}
    assert [len(found) for _, found in told] == [1, 2, 1, 0]


def test_what_the_switch_refuses_and_what_health_checks_lack_are_problems_of_the_service() -> None:
    async def scenario() -> None:
        loop = Loop()
        async with loop.running():
            loop.switch.refuses = refuse_address("10.96.0.1")
            loop.put(service("web", "10.96.0.1"), endpoint_slice("web", ("10.10.2.7", "web-1", "node-2")))
            await loop.settled()
            (refused,) = loop.last().service_problems[WEB]
            assert refused.reason is Reason.REFUSED_BY_SWITCH
            loop.reports.show_health(HealthReport(of_services={WEB: "port 30000 is taken"}))
            reasons = [problem.reason for problem in loop.last().service_problems[WEB]]
            assert reasons == [Reason.REFUSED_BY_SWITCH, Reason.HEALTH_CHECK_UNAVAILABLE]
            loop.reports.show_health(HealthReport())
            loop.switch.refuses = lambda _: False
            await loop.until(lambda: not loop.last().service_problems)

    asyncio.run(scenario())


def test_a_route_of_somebody_else_to_an_address_is_a_problem_of_the_service_that_has_it_until_it_is_gone() -> None:
    async def scenario() -> None:
        loop = Loop()
        loop.list([service("web", "10.96.0.1", externalIPs=["172.31.0.1"]), service("db", "10.96.0.2")])
        async with loop.running():
            loop.reports.show_host(HostReport(taken=frozenset({IPv4Address("172.31.0.1")})))
            (taken,) = loop.last().service_problems[WEB]
            assert taken.reason is Reason.ROUTE_TAKEN
            assert "default/web: 172.31.0.1" in taken.text
            assert set(loop.last().service_problems) == {WEB}
            loop.reports.show_host(HostReport())
            assert not loop.last().service_problems

    asyncio.run(scenario())


def test_a_service_that_is_left_alone_or_gone_has_no_problems() -> None:
    async def scenario() -> None:
        loop = Loop()
        bad = service("web", "10.96.0.1", ports=(("", "TCP", 0),))
        broken = endpoint_slice("web", ("no address", "web-1", "node-2"))
        async with loop.running():
            loop.put(bad, broken)
            await loop.settled()
            assert {problem.reason for problem in loop.last().service_problems[WEB]} == {
                Reason.INVALID_PORT,
                Reason.INVALID_ENDPOINT_SLICE,
            }
            left = msgspec.json.decode(msgspec.json.encode(bad))
            left["metadata"]["labels"] = {"service.kubernetes.io/headless": ""}
            loop.put(left)
            await loop.settled()
            assert not loop.last().service_problems
            loop.put(bad)
            await loop.settled()
            loop.remove(bad)
            await loop.settled()
            assert not loop.last().service_problems

    asyncio.run(scenario())
