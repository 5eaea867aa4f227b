from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from swarmhub_agent import join as joining
from swarmhub_agent.engine import Engine
from swarmhub_agent.identity import Identity
from swarmhub_agent.join import JoinAbandonedError, Joiner, JoinFailedError
from swarmhub_agent.parameters import JoinParameters, ParametersUnavailableError

from tests.unit.agent.conftest import Clock
from tests.unit.agent.fakes import NODE, FakeEngine


class Parameters:
    """The parameter store; ``token`` may be rotated, ``fail`` makes it unavailable so many times."""

    def __init__(self) -> None:
        self.token = "SWMTKN-1-a"
        self.fail = 0
        self.reads = 0

    async def read(self) -> JoinParameters:
        self.reads += 1
        if self.reads <= self.fail:
            raise ParametersUnavailableError("SSM does not answer")
        return JoinParameters(token=self.token, managers=("10.0.0.2", "fd00::2"))


@pytest.fixture
def parameters() -> Parameters:
    return Parameters()


@pytest.fixture
def joiner(engine: Engine, identity: Identity, parameters: Parameters, clock: Clock) -> Joiner:
    return Joiner(engine, identity, parameters.read, swarm_port=2377, sleep=clock.sleep, clock=clock)


def never() -> bool:
    return False


def refuse(status: int, message: str) -> Callable[[Any], web.Response]:
    return lambda *_: web.json_response({"message": message}, status=status)


async def test_an_inactive_engine_joins(joiner: Joiner, engine_service: FakeEngine) -> None:
    info = await joiner.join(abandon=never, on_failure=pytest.fail)
    assert info.node_id == NODE
    [(what, body)] = engine_service.calls
    assert what == "join"
    assert body["Availability"] == "pause"
    assert body["AdvertiseAddr"] == body["DataPathAddr"] == "10.0.0.7"
    assert body["RemoteAddrs"] == ["10.0.0.2:2377", "[fd00::2]:2377"]


async def test_a_member_is_left_alone(
    joiner: Joiner, engine_service: FakeEngine, parameters: Parameters
) -> None:
    engine_service.state = "active"
    await joiner.attempt()
    assert engine_service.calls == []
    assert parameters.reads == 0


@pytest.mark.parametrize("state", ["pending", "error"])
async def test_an_engine_that_may_recover_gets_its_time_then_leaves_and_joins(
    joiner: Joiner, engine_service: FakeEngine, clock: Clock, state: str
) -> None:
    engine_service.state = state
    await joiner.attempt()
    assert engine_service.names == ["leave", "join"]
    assert clock.time == joining.PATIENCE_S


async def test_an_engine_that_recovers_in_time_is_left_alone(
    engine: Engine, identity: Identity, parameters: Parameters, engine_service: FakeEngine, clock: Clock
) -> None:
    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        if clock.time >= 3:
            engine_service.state = "active"

    engine_service.state = "pending"
    await Joiner(engine, identity, parameters.read, swarm_port=2377, sleep=sleep, clock=clock).attempt()
    assert engine_service.calls == []


async def test_a_locked_engine_leaves_and_joins_at_once(
    joiner: Joiner, engine_service: FakeEngine, clock: Clock
) -> None:
    engine_service.state = "locked"
    await joiner.attempt()
    assert engine_service.names == ["leave", "join"]
    assert clock.slept == []


async def test_a_rotated_token_is_read_again(
    joiner: Joiner, engine_service: FakeEngine, parameters: Parameters
) -> None:
    def only_b(body: dict[str, Any]) -> web.Response | None:
        if body["JoinToken"] == "SWMTKN-1-b":
            return None
        parameters.token = "SWMTKN-1-b"
        return web.json_response({"message": "A valid join token is necessary"}, status=400)

    engine_service.on_join = only_b
    failures: list[str] = []
    await joiner.join(abandon=never, on_failure=failures.append)
    assert [body["JoinToken"] for _, body in engine_service.calls] == ["SWMTKN-1-a", "SWMTKN-1-b"]
    assert len(failures) == 1
    assert "A valid join token is necessary" in failures[0]
    assert "10.0.0.2:2377" in failures[0]
    assert "SWMTKN" not in failures[0]


async def test_joining_goes_on_as_long_as_it_takes_with_growing_bounded_waits(
    joiner: Joiner, parameters: Parameters, clock: Clock
) -> None:
    parameters.fail = 50
    failures: list[str] = []
    await joiner.join(abandon=never, on_failure=failures.append)
    assert failures == ["SSM does not answer"] * 50
    assert clock.slept[0] < clock.slept[3] < clock.slept[-1] <= joining.MAX_WAIT_S + 1


async def test_an_instance_that_is_going_stops_trying(joiner: Joiner, parameters: Parameters) -> None:
    parameters.fail = 1000
    with pytest.raises(JoinAbandonedError):
        await joiner.join(abandon=lambda: parameters.reads == 3, on_failure=lambda _: None)
    assert parameters.reads == 3


async def test_an_engine_that_goes_on_trying_in_the_background_is_no_success(
    joiner: Joiner, engine_service: FakeEngine
) -> None:
    def silent_managers(body: dict[str, Any]) -> web.Response:
        engine_service.state, engine_service.error = "pending", "no route to host"
        return web.Response()

    engine_service.on_join = silent_managers
    with pytest.raises(JoinFailedError, match="pending after joining: no route to host"):
        await joiner.attempt()


async def test_a_refused_join_is_a_failure_with_its_reason(
    joiner: Joiner, engine_service: FakeEngine
) -> None:
    engine_service.on_join = refuse(503, "Timeout was reached before node joined")
    with pytest.raises(JoinFailedError, match="Timeout was reached"):
        await joiner.attempt()


async def test_an_attempt_that_hangs_is_given_up(
    engine: Engine, identity: Identity, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    async def hangs() -> JoinParameters:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(joining, "ATTEMPT_LIMIT_S", 0.05)
    failures: list[str] = []
    joiner = Joiner(engine, identity, hangs, swarm_port=2377, sleep=clock.sleep, clock=clock)
    with pytest.raises(JoinAbandonedError):
        await joiner.join(abandon=lambda: len(failures) == 1, on_failure=failures.append)
    assert failures == ["the attempt took longer than 0.05 s"]
