"""The agent as a whole, between a metadata service, an engine and a controller with their real protocols."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from swarmhub_agent import engine as engines
from swarmhub_agent import fitness
from swarmhub_agent.agent import UNKNOWN_ANSWERS, Agent
from swarmhub_agent.certificate import NodeTls
from swarmhub_agent.controller import ControllerClient
from swarmhub_agent.engine import Engine
from swarmhub_agent.fitness import FitnessChecks, SharedStorage
from swarmhub_agent.identity import Identity
from swarmhub_agent.join import Joiner
from swarmhub_agent.leave import Completed, HookNotCompletedError
from swarmhub_agent.metadata import Metadata
from swarmhub_agent.monitors import asg, spot
from swarmhub_agent.monitors.watch import Watcher
from swarmhub_agent.parameters import JoinParameters
from swarmhub_agent.protocol import AgentPhase, NoticeKind, Reply, Report
from swarmhub_agent.states import AgentState

from tests.unit.agent.fakes import (
    IMAGE,
    INSTANCE,
    LIMIT_S,
    NODE,
    FakeController,
    FakeEngine,
    FakeMetadata,
    Pki,
)

SPOT_ITEM = '{"action": "terminate", "time": "2026-03-01T10:02:00Z"}'
SOON = 0.02
NEVER = 3600.0
"""An interval that does not come round in a test: what happens, happens because of an event."""


class World:
    """One instance and its surroundings."""

    def __init__(
        self,
        *,
        identity: Identity,
        metadata: Metadata,
        metadata_service: FakeMetadata,
        engine: Engine,
        engine_service: FakeEngine,
        controller: FakeController,
        session: aiohttp.ClientSession,
        pki: Pki,
        directory: Path,
    ) -> None:
        self.identity = identity
        self.client = metadata
        self.metadata = metadata_service
        self.engine_client = engine
        self.engine = engine_service
        self.controller = controller
        self.session = session
        self.pki = pki
        self.certificates = directory / "certificates"
        self.certificates.mkdir()
        self.shared = directory / "shared"
        self.shared.mkdir()
        self.statuses: list[str] = []
        self.told = asyncio.Event()
        self.hooks_completed: asyncio.Queue[str] = asyncio.Queue()
        self.hook_fails = False
        self.tasks: list[asyncio.Task[None]] = []
        self.agent: Agent | None = None
        engine_service.on_join = self.joined
        engine_service.on_leave = self.left

    def joined(self, body: dict[str, Any]) -> web.Response | None:
        self.pki.write(self.certificates, NODE)
        return None

    def left(self) -> web.Response | None:
        for file in self.certificates.iterdir():
            file.unlink()
        return None

    def is_member(self) -> None:
        """As after an earlier run of the agent."""
        self.engine.state, self.engine.node_id = "active", NODE
        self.pki.write(self.certificates, NODE)

    async def read_parameters(self) -> JoinParameters:
        return JoinParameters(token="SWMTKN-1-x", managers=("127.0.0.1",))

    async def complete_hook(self) -> Completed:
        self.hooks_completed.put_nowait("down")
        if self.hook_fails:
            raise HookNotCompletedError("too late")
        return Completed(group="g", hooks=("down",))

    def show(self, status: str) -> None:
        self.statuses.append(status)
        self.told.set()

    async def until_status(self, matching: Callable[[str], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not any(matching(status) for status in self.statuses):
                self.told.clear()
                await self.told.wait()

    def start(self, report_interval_s: float = SOON, notice_interval_s: float = SOON) -> Agent:
        def now() -> datetime:
            return datetime.now(UTC)

        async def soon(_: float) -> None:
            await asyncio.sleep(0.001)

        agent = Agent(
            identity=self.identity,
            engine=self.engine_client,
            joiner=Joiner(
                self.engine_client, self.identity, self.read_parameters, swarm_port=2377, sleep=soon
            ),
            controller=ControllerClient(
                self.session, NodeTls(self.certificates, self.shared), port=self.controller.port, now=now
            ),
            complete_hook=self.complete_hook,
            show_status=self.show,
            report_interval_s=report_interval_s,
            notice_interval_s=notice_interval_s,
        )
        storage = SharedStorage(
            self.shared,
            INSTANCE,
            limit_s=LIMIT_S,
            mountinfo=lambda: f"40 22 0:37 / {self.shared} rw - nfs4 fs:/ rw\n",
        )
        checks = FitnessChecks(
            self.engine_client,
            agent.images,
            storage,
            instance_id=INSTANCE,
            min_disk_free_percent=0,
            max_clock_skew_s=60,
        )
        watchers = [
            Watcher(monitor, self.client, agent.notices.post, now=now)
            for monitor in (spot.MONITOR, asg.MONITOR)
        ]
        self.agent = agent
        self.tasks.append(asyncio.create_task(agent.run(watchers, checks)))
        return agent

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self.tasks.clear()


@pytest.fixture
async def world(
    *,
    identity: Identity,
    metadata: Metadata,
    metadata_service: FakeMetadata,
    engine: Engine,
    engine_service: FakeEngine,
    controller_service: FakeController,
    session: aiohttp.ClientSession,
    pki: Pki,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[World]:
    # The time limits have tests of their own; here a busy machine must not look like an unfit node.
    monkeypatch.setattr(fitness, "LIMIT_S", LIMIT_S)
    monkeypatch.setattr(engines, "INSPECT_TIMEOUT_S", LIMIT_S)
    world = World(
        identity=identity,
        metadata=metadata,
        metadata_service=metadata_service,
        engine=engine,
        engine_service=engine_service,
        controller=controller_service,
        session=session,
        pki=pki,
        directory=tmp_path,
    )
    yield world
    await world.stop()


def verdict(report: Report, name: str) -> bool:
    [check] = [check for check in report.checks if check.name == name]
    return check.ok


def fit(report: Report) -> bool:
    return bool(report.checks) and all(check.ok for check in report.checks)


async def test_a_new_instance_joins_paused_and_reports_until_it_is_fit(world: World) -> None:
    world.controller.reply = Reply(state="joined", reason="new", images=(IMAGE,))
    world.start()
    first = await world.controller.next()
    assert (first.instance_id, first.pool, first.phase) == (INSTANCE, "cpu", AgentPhase.MEMBER)
    assert first.notices == ()
    assert not verdict(first, "images")
    assert fit(await world.controller.next(fit))
    assert world.engine.names == ["join", "pull"]
    assert world.engine.calls[0][1]["Availability"] == "pause"


async def test_reports_carry_the_node_id_in_their_path(world: World) -> None:
    world.start()
    node, _ = await asyncio.wait_for(world.controller.reports.get(), LIMIT_S)
    assert node == NODE


async def test_a_restarted_agent_goes_on_without_joining_or_leaving(world: World) -> None:
    world.is_member()
    world.start()
    assert fit(await world.controller.next(fit))
    assert world.engine.calls == []


async def test_a_check_that_changes_is_reported_at_once(world: World) -> None:
    world.is_member()
    world.controller.reply = Reply(state="joined", reason="new", images=(IMAGE,))
    world.start(report_interval_s=NEVER)
    assert fit(await world.controller.next(fit))


async def test_a_notice_is_reported_at_once(world: World) -> None:
    world.is_member()
    world.start(report_interval_s=NEVER)
    await world.controller.next(fit)
    world.metadata.items[spot.PATH] = SPOT_ITEM
    report = await world.controller.next(lambda report: bool(report.notices))
    [notice] = report.notices
    assert notice.kind is NoticeKind.SPOT
    assert notice.deadline == datetime(2026, 3, 1, 10, 2, tzinfo=UTC)
    world.metadata.items[spot.PATH] = SPOT_ITEM.replace("10:02", "10:01")
    [changed] = (await world.controller.next()).notices
    assert changed.deadline == datetime(2026, 3, 1, 10, 1, tzinfo=UTC)
    assert changed.seen_at == notice.seen_at


async def test_an_engine_that_hangs_holds_no_notice_back(world: World) -> None:
    world.is_member()
    world.start(report_interval_s=0.2)
    await world.controller.next(fit)
    world.engine.hang.clear()
    world.metadata.items[asg.PATH] = "Terminated"
    report = await world.controller.next(lambda report: bool(report.notices))
    assert report.notices[0].kind is NoticeKind.ASG_TERMINATE


async def test_an_absent_controller_is_survived_and_said(world: World) -> None:
    world.is_member()
    world.controller.status = 503
    world.start()
    await world.until_status(lambda status: "the controller cannot be told: 127.0.0.1 answered 503" in status)
    world.metadata.items[spot.PATH] = SPOT_ITEM
    await world.until_status(lambda status: "spot notice: this instance goes at 10:02:00 UTC" in status)
    world.controller.status = 200
    await world.until_status(lambda status: status.startswith("active: all is well; spot notice"))
    assert world.engine.calls == []


async def test_the_last_reply_is_kept_while_the_controller_is_absent(world: World) -> None:
    world.is_member()
    world.controller.reply = Reply(state="active", reason="fine", images=(IMAGE,))
    world.start()
    await world.controller.next(fit)
    world.controller.status = 503
    await world.until_status(lambda status: status.startswith("active: fine; the controller cannot be told"))
    world.engine.images.clear()
    await world.engine.until_called("pull", times=2)


async def test_leaving_reports_leaves_reports_again_and_completes_the_hook(world: World) -> None:
    world.is_member()
    agent = world.start()
    await world.controller.next(fit)
    world.metadata.items[asg.PATH] = "Terminated"
    await world.controller.next(lambda report: bool(report.notices))
    assert world.engine.calls == []
    world.controller.reply = Reply(state="leaving", reason="empty", may_leave=True)
    await world.controller.next(lambda report: report.phase is AgentPhase.LEAVING)
    left = await world.controller.next(lambda report: report.phase is AgentPhase.LEFT)
    assert world.engine.calls == [("leave", {"force": "true"})]
    assert [notice.kind for notice in left.notices] == [NoticeKind.ASG_TERMINATE]
    assert await asyncio.wait_for(world.hooks_completed.get(), LIMIT_S) == "down"
    await world.until_status(lambda status: status == "left; waiting for the instance to end")
    assert agent.state is AgentState.LEFT


async def test_a_node_that_left_neither_joins_nor_reports_again(world: World) -> None:
    world.is_member()
    world.metadata.items[asg.PATH] = "Terminated"
    world.controller.reply = Reply(state="leaving", reason="empty", may_leave=True)
    world.start()
    await world.until_status(lambda status: status == "left; waiting for the instance to end")
    while not world.controller.reports.empty():
        world.controller.reports.get_nowait()
    await world.metadata.until_asked(more=10)
    assert world.engine.names == ["leave"]
    assert world.controller.reports.empty()
    assert world.hooks_completed.qsize() == 1


async def test_the_hook_waits_for_the_group_to_say_that_the_instance_goes(world: World) -> None:
    world.is_member()
    world.metadata.items[spot.PATH] = SPOT_ITEM
    world.controller.reply = Reply(state="leaving", reason="empty", may_leave=True)
    world.start()
    await world.until_status(lambda status: status == "left; waiting for the instance to end")
    assert world.hooks_completed.empty()
    world.metadata.items[asg.PATH] = "Terminated"
    assert await asyncio.wait_for(world.hooks_completed.get(), LIMIT_S) == "down"


async def test_a_hook_that_cannot_be_completed_is_left_to_the_controller(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.is_member()
    world.hook_fails = True
    world.metadata.items[asg.PATH] = "Terminated"
    world.controller.reply = Reply(state="leaving", reason="empty", may_leave=True)
    agent = world.start()
    await asyncio.wait_for(world.hooks_completed.get(), LIMIT_S)
    await world.until_status(lambda status: status == "left; waiting for the instance to end")
    assert "the terminate hook is left to the controller" in caplog.messages
    assert agent.state is AgentState.LEFT


async def test_having_left_is_reported_until_the_controller_takes_it(world: World) -> None:
    world.is_member()
    world.metadata.items[asg.PATH] = "Terminated"
    world.controller.reply = Reply(state="leaving", reason="empty", may_leave=True)

    def leave() -> web.Response | None:
        world.controller.status = 503
        return world.left()

    world.engine.on_leave = leave
    world.start()
    for _ in range(3):
        await world.controller.next(lambda report: report.phase is AgentPhase.LEFT)
    # The hook does not wait for it: the controller finds the ghost by itself.
    await asyncio.wait_for(world.hooks_completed.get(), LIMIT_S)
    world.controller.status = 410
    await world.until_status(lambda status: status == "left; waiting for the instance to end")


async def test_an_engine_that_does_not_leave_is_asked_again(world: World) -> None:
    refusals = 2

    def leave() -> web.Response | None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            return web.json_response({"message": "busy"}, status=500)
        return world.left()

    world.is_member()
    world.metadata.items[asg.PATH] = "Terminated"
    world.controller.reply = Reply(state="leaving", reason="empty", may_leave=True)
    world.engine.on_leave = leave
    world.start()
    await world.controller.next(lambda report: report.phase is AgentPhase.LEFT)
    assert world.engine.names == ["leave"] * 3
    assert "leaving the swarm; last try: busy" in world.statuses


async def test_a_node_that_was_removed_leaves_and_joins_again(world: World) -> None:
    world.is_member()
    world.controller.status = 410

    def join(body: dict[str, Any]) -> web.Response | None:
        world.controller.status = 200
        return world.joined(body)

    world.engine.on_join = join
    world.start()
    await world.engine.until_called("join")
    assert world.engine.names == ["leave", "join"]
    assert world.controller.reports.qsize() >= UNKNOWN_ANSWERS
    assert fit(await world.controller.next(fit))


async def test_a_single_unknown_answer_is_not_believed(world: World) -> None:
    world.is_member()
    world.controller.status = 410
    world.start(report_interval_s=0.1)
    await world.controller.next()
    world.controller.status = 200
    for _ in range(3):
        await world.controller.next()
    assert world.engine.calls == []


async def test_a_removed_node_whose_instance_goes_leaves_for_good(world: World) -> None:
    world.is_member()
    world.controller.status = 410
    world.metadata.items[asg.PATH] = "Terminated"
    world.start()
    await world.until_status(lambda status: status == "left; waiting for the instance to end")
    assert world.engine.names == ["leave"]
    await asyncio.wait_for(world.hooks_completed.get(), LIMIT_S)


@pytest.mark.parametrize(("path", "text"), [(spot.PATH, SPOT_ITEM), (asg.PATH, "Terminated")])
async def test_an_instance_that_is_already_going_never_joins(world: World, path: str, text: str) -> None:
    world.metadata.items[path] = text
    agent = world.start()
    await world.until_status(lambda status: status == "left; waiting for the instance to end")
    assert agent.state is AgentState.LEFT
    assert world.engine.calls == []
    assert world.controller.reports.empty()


async def test_an_engine_that_lost_its_membership_joins_again(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="swarmhub_agent")
    world.is_member()
    world.start()
    await world.controller.next(fit)
    world.engine.state = "inactive"
    await world.engine.until_called("join")
    for _ in range(3):
        await world.controller.next(fit)
    assert world.engine.names == ["join"]
    # What was measured before it joined does not send it back to joining.
    assert caplog.messages.count("joined the swarm") == 1


async def test_an_engine_that_is_not_up_yet_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = world.engine_client.info

    async def not_up(timeout_s: float = 0.05) -> Any:
        return await answer(timeout_s=0.05)

    monkeypatch.setattr(world.engine_client, "info", not_up)
    world.engine.hang.clear()
    world.start()
    await world.until_status(lambda status: status.startswith("waiting for the engine: the engine did not"))
    monkeypatch.undo()
    world.engine.hang.set()
    assert await world.controller.next()


async def test_ending_the_agent_leaves_the_node_in_the_swarm(world: World) -> None:
    world.is_member()
    world.start()
    await world.controller.next(fit)
    await asyncio.wait_for(world.stop(), 1)
    assert world.engine.calls == []
