"""Calls to Docker from asyncio: counted, bounded in time, and with another manager when one is lost."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import requests
from docker.errors import DockerException, NotFound
from prometheus_client import REGISTRY

from swarmhub.spawner.docker_calls import DockerApi, DockerCalls, NoManagerError, connect_any, counted
from tests.unit.spawner.fake_swarm import FakeSwarm, api_error

Start = Callable[..., DockerCalls]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    started: list[DockerCalls] = []

    def make(connect: Callable[[], Any], **more: Any) -> DockerCalls:
        started.append(DockerCalls(connect, threads=1, name="test", **more))
        return started[-1]

    yield make
    for calls in started:
        calls.close()


def total(name: str, verb: str) -> float:
    return REGISTRY.get_sample_value(f"swarmhub_{name}_total", {"verb": verb}) or 0.0


def managers(**hosts: FakeSwarm) -> Callable[[], DockerApi]:
    return connect_any(list(hosts), lambda host: hosts[host])


async def test_calls_are_counted_by_name(start: Start, swarm: FakeSwarm) -> None:
    calls = start(lambda: swarm)
    before = total("docker_calls", "nodes")
    assert len(await calls(lambda api: api.nodes())) == 2
    assert total("docker_calls", "nodes") == before + 1


async def test_a_call_that_fails_counts_as_a_failure_but_an_absent_object_does_not(
    start: Start, swarm: FakeSwarm
) -> None:
    calls = start(lambda: swarm)
    before = total("docker_call_failures", "inspect_service")
    with pytest.raises(NotFound):
        await calls(lambda api: api.inspect_service("nope"))
    assert total("docker_call_failures", "inspect_service") == before
    swarm.is_away = True
    with pytest.raises(requests.ConnectionError):
        await calls(lambda api: api.inspect_service("nope"))
    assert total("docker_call_failures", "inspect_service") == before + 1


def test_a_call_is_counted_once_however_often_its_client_is_wrapped(swarm: FakeSwarm) -> None:
    before = total("docker_calls", "tasks")
    counted(counted(swarm)).tasks()
    assert total("docker_calls", "tasks") == before + 1


def test_what_is_not_a_call_is_the_clients_own(swarm: FakeSwarm) -> None:
    assert counted(swarm).networks is swarm.networks


@pytest.mark.parametrize(
    ("error", "connections"),
    [
        (requests.ConnectionError("reset"), 2),
        (requests.ReadTimeout("hung"), 2),
        (BrokenPipeError("gone"), 2),
        (api_error(503, "This node is not a swarm manager"), 2),
        (api_error(500, "rpc error: code = Unknown desc = The swarm does not have a leader"), 2),
        (api_error(404, "service not found"), 1),
        (api_error(409, "name conflicts"), 1),
        (KeyError("our own bug"), 1),
    ],
)
async def test_a_client_is_given_up_after_errors_that_another_manager_might_not_have(
    start: Start, swarm: FakeSwarm, error: Exception, connections: int
) -> None:
    made: list[int] = []

    def connect() -> FakeSwarm:
        made.append(1)
        return swarm

    def fail(_: DockerApi) -> None:
        raise error

    calls = start(connect)
    with pytest.raises(type(error)):
        await calls(fail)
    await calls(lambda api: api.tasks())
    assert len(made) == connections


async def test_a_manager_that_dies_is_followed_by_the_next(start: Start) -> None:
    one, two = FakeSwarm(), FakeSwarm()
    calls = start(managers(one=one, two=two))
    await calls(lambda api: api.tasks())
    assert (one.calls, two.calls) == (["info", "tasks"], [])
    one.is_away = True
    with pytest.raises(requests.ConnectionError):
        await calls(lambda api: api.tasks())
    await calls(lambda api: api.tasks())
    assert two.calls == ["info", "tasks"]


async def test_an_engine_that_is_no_manager_any_more_is_passed_over(start: Start) -> None:
    one, two = FakeSwarm(), FakeSwarm()
    calls = start(managers(one=one, two=two))
    await calls(lambda api: api.tasks())
    one.is_manager = False
    with pytest.raises(DockerException):
        await calls(lambda api: api.tasks())
    await calls(lambda api: api.tasks())
    assert two.calls == ["info", "tasks"]


async def test_a_manager_without_a_leader_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = FakeSwarm(), FakeSwarm()
    swarm = {"LocalNodeState": "active", "ControlAvailable": True, "Error": "rpc error: no leader"}
    monkeypatch.setattr(one, "info", lambda: {"Swarm": swarm})
    managers(one=one, two=two)().tasks()
    assert (one.calls, two.calls) == ([], ["info", "tasks"])


def test_without_any_manager_each_host_is_named_with_what_is_wrong() -> None:
    one, two, three = FakeSwarm(), FakeSwarm(), FakeSwarm()
    one.is_away, two.is_manager = True, False
    three.info = lambda: {"Swarm": {"LocalNodeState": "inactive"}}
    with pytest.raises(
        NoManagerError,
        match=r"one: the engine is away; two: not a manager \(active\); three: not a manager \(inactive\)",
    ):
        managers(one=one, two=two, three=three)()


async def test_a_call_that_hangs_ends_at_its_deadline_and_holds_up_no_other(
    start: Start, swarm: FakeSwarm
) -> None:
    end = threading.Event()
    calls = start(lambda: swarm, within=0.05)
    try:
        with pytest.raises(requests.Timeout, match=r"did not answer within 0.05 seconds"):
            await calls(lambda _: end.wait(5))
        assert len(await calls(lambda api: api.nodes())) == 2
    finally:
        end.set()


async def test_a_connection_that_hangs_holds_up_no_other_either(start: Start, swarm: FakeSwarm) -> None:
    end = threading.Event()
    hangs = [True]

    def connect() -> FakeSwarm:
        if hangs:
            hangs.clear()
            end.wait(5)
        return swarm

    calls = start(connect, within=0.05)
    try:
        with pytest.raises(requests.Timeout):
            await calls(lambda api: api.nodes())
        assert len(await calls(lambda api: api.nodes())) == 2
    finally:
        end.set()


async def test_the_callers_own_deadline_is_not_taken_for_dockers(start: Start, swarm: FakeSwarm) -> None:
    end = threading.Event()
    calls = start(lambda: swarm)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await calls(lambda _: end.wait(5))
    finally:
        end.set()
    assert len(await calls(lambda api: api.nodes())) == 2


async def test_a_timeout_of_the_client_itself_is_raised_as_it_is(start: Start, swarm: FakeSwarm) -> None:
    def fail(_: DockerApi) -> None:
        raise TimeoutError("the socket's")

    with pytest.raises(TimeoutError, match="the socket's"):
        await start(lambda: swarm)(fail)
