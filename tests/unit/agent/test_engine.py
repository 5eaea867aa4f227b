from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from swarmhub_agent.engine import (
    Engine,
    EngineInfo,
    EngineRefusedError,
    EngineUnreachableError,
    LocalNodeState,
    PullFailedError,
)

from tests.unit.agent.fakes import IMAGE, INSTANCE, NODE, FakeEngine


async def test_info_of_an_engine_outside_a_swarm(engine: Engine, engine_service: FakeEngine) -> None:
    engine_service.labels = []
    assert await engine.info() == EngineInfo(
        state=LocalNodeState.INACTIVE, node_id="", error="", managers=(), root=engine_service.root, labels={}
    )


async def test_info_of_a_member(engine: Engine, engine_service: FakeEngine) -> None:
    engine_service.state, engine_service.node_id = "active", NODE
    engine_service.managers = ["10.0.0.2:2377", "[fd00::2]:2377"]
    engine_service.labels = [f"org.swarmhub.instance={INSTANCE}", "flag", "a=b=c"]
    info = await engine.info()
    assert (info.state, info.node_id) == (LocalNodeState.ACTIVE, NODE)
    assert info.managers == ("10.0.0.2", "fd00::2")
    assert info.labels == {"org.swarmhub.instance": INSTANCE, "flag": "", "a": "b=c"}


async def test_a_membership_that_no_version_names_is_an_error(
    engine: Engine, engine_service: FakeEngine
) -> None:
    engine_service.state = "confused"
    with pytest.raises(EngineUnreachableError, match="confused"):
        await engine.info()


async def test_an_engine_that_hangs_is_given_up_after_the_time_limit(
    engine: Engine, engine_service: FakeEngine
) -> None:
    engine_service.hang.clear()
    with pytest.raises(EngineUnreachableError, match=r"within 0\.05 s"):
        await engine.info(timeout_s=0.05)


async def test_an_engine_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    connector = aiohttp.UnixConnector(path=str(tmp_path / "none.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(EngineUnreachableError):
            await Engine(session).info()
        with pytest.raises(PullFailedError):
            await Engine(session).pull(IMAGE)


async def test_joining_is_paused_and_names_this_instances_address(
    engine: Engine, engine_service: FakeEngine
) -> None:
    await engine.join_paused(token="SWMTKN-1-x", managers=["10.0.0.2:2377"], address="10.0.0.7")
    assert engine_service.calls == [
        (
            "join",
            {
                "ListenAddr": "0.0.0.0:2377",
                "AdvertiseAddr": "10.0.0.7",
                "DataPathAddr": "10.0.0.7",
                "RemoteAddrs": ["10.0.0.2:2377"],
                "JoinToken": "SWMTKN-1-x",
                "Availability": "pause",
            },
        )
    ]


async def test_a_refusal_carries_status_and_reason(engine: Engine, engine_service: FakeEngine) -> None:
    engine_service.on_join = lambda body: web.json_response({"message": "A valid join token"}, status=400)
    with pytest.raises(EngineRefusedError, match="A valid join token") as refusal:
        await engine.join_paused(token="t", managers=["m:1"], address="a")
    assert refusal.value.status == 400


async def test_leaving_is_forced(engine: Engine, engine_service: FakeEngine) -> None:
    engine_service.state = "active"
    await engine.leave()
    assert engine_service.calls == [("leave", {"force": "true"})]


async def test_leaving_no_swarm_is_no_error_but_failing_to_leave_one_is(
    engine: Engine, engine_service: FakeEngine
) -> None:
    engine_service.on_leave = lambda: web.json_response({"message": "not part of a swarm"}, status=503)
    await engine.leave()
    engine_service.state = "active"
    with pytest.raises(EngineRefusedError):
        await engine.leave()


async def test_an_image_is_looked_up_by_digest(engine: Engine, engine_service: FakeEngine) -> None:
    assert not await engine.has_image(IMAGE)
    engine_service.images.add(IMAGE)
    assert await engine.has_image(IMAGE)


async def test_a_pull_reads_its_progress_to_the_end(engine: Engine, engine_service: FakeEngine) -> None:
    engine_service.on_pull = lambda reference: [{"status": "Downloading", "id": str(n)} for n in range(1000)]
    await engine.pull(IMAGE)
    assert engine_service.calls == [("pull", IMAGE)]


async def test_an_error_entry_in_the_progress_is_a_failed_pull(
    engine: Engine, engine_service: FakeEngine
) -> None:
    engine_service.on_pull = lambda reference: [
        {"status": "Pulling"},
        {"errorDetail": {"message": "manifest unknown"}, "error": "manifest unknown"},
    ]
    with pytest.raises(PullFailedError, match="manifest unknown"):
        await engine.pull(IMAGE)


async def test_task_containers_are_named(engine: Engine, engine_service: FakeEngine) -> None:
    assert await engine.task_containers() == ()
    engine_service.containers = ["jupyter-a.1.xyz"]
    assert await engine.task_containers() == ("jupyter-a.1.xyz",)


async def test_calls_can_overlap(engine: Engine, engine_service: FakeEngine) -> None:
    infos = await asyncio.gather(*(engine.info() for _ in range(5)))
    assert {info.state for info in infos} == {LocalNodeState.INACTIVE}
