"""The loop with a swarm and a cloud in memory: what happens, in which order, and what never stops it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from swarmhub_agent.protocol import AgentPhase, Report

from swarmhub.controller.cloud_poll import CloudPoll
from swarmhub.controller.execute import Executor
from swarmhub.controller.journal import Journal
from swarmhub.controller.loop import Controller
from swarmhub.controller.pool_images import PoolImages
from swarmhub.controller.status import render
from swarmhub.controller.swarm import SwarmError
from swarmhub.spawner.states import TaskState
from tests.unit.controller.fakes import Clock, FakeCloud, FakeSwarm
from tests.unit.controller.world import instance, joined, node, report, server, spot, task


@dataclass
class Rig:
    clock: Clock
    swarm: FakeSwarm
    cloud: FakeCloud
    poll: CloudPoll
    executor: Executor
    journal: Journal
    controller: Controller

    async def turn(self, seconds: float = 1) -> bool:
        """Time passes, AWS is seen, one cycle is made and everything it began has ended."""
        self.clock.forward(seconds)
        await self.poll.poll()
        busy = await self.controller.cycle()
        if not self.cloud.hangs:
            await self.executor.wait()
        return busy

    def say(self, number: int = 1, **changes: Any) -> Any:
        return self.controller.accept(f"node{number}", said(number, **changes))

    def events(self) -> list[tuple[str, str, bool]]:
        return [(e.subject, e.what, e.ok) for e in self.journal.events]


def said(number: int = 1, **changes: Any) -> Report:
    return report(number, **changes).report


def rig_in(path: Path) -> Rig:
    clock = Clock()
    swarm, cloud, journal = FakeSwarm(clock), FakeCloud(clock), Journal(path / "journal.jsonl", clock)
    poll = CloudPoll(cloud, frozenset, lambda: None)
    executor = Executor(
        swarm=swarm,
        cloud=cloud,
        journal=journal,
        clock=clock,
        cloud_changed=lambda: None,
        swarm_changed=lambda: None,
    )
    controller = Controller(
        hub="lab",
        swarm=swarm,
        poll=poll,
        executor=executor,
        images=PoolImages(swarm.resolve, clock),
        journal=journal,
        clock=clock,
    )
    return Rig(clock, swarm, cloud, poll, executor, journal, controller)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return rig_in(tmp_path)


async def test_a_quiet_fleet_is_idle_and_nothing_is_done(rig: Rig) -> None:
    assert not await rig.turn()
    assert (rig.swarm.done, rig.cloud.done) == ([], [])


async def test_a_new_node_is_activated_and_then_its_launch_hook_completed(rig: Rig) -> None:
    rig.swarm.nodes["node1"] = joined(1)
    rig.cloud.instances["i-1"] = instance(1, lifecycle_state="Pending:Wait")
    assert await rig.turn()
    assert rig.swarm.done == []
    rig.say()
    await rig.turn()
    assert rig.swarm.done == [], "it has not been told yet which images it must hold"
    rig.say()
    await rig.turn()
    assert (rig.swarm.done, rig.cloud.done) == ([("active", "node1")], [])
    await rig.turn()
    assert rig.cloud.done == [("hook", "i-1", "up", "CONTINUE")]


async def test_the_life_of_a_noticed_node(rig: Rig) -> None:
    rig.swarm.servers = (server(task("node1")),)
    await rig.turn()
    assert rig.say(notices=(spot(),)).may_leave is False
    await rig.turn()
    assert rig.swarm.done == [("pause", "node1"), ("move", "service1")]
    assert rig.cloud.done == [("replace", "i-1")]
    # Auto Scaling's own word, seen now, joins the notice in the label; the server is not asked again.
    await rig.turn()
    await rig.turn()
    assert rig.swarm.done[2:] == [("pause", "node1")]
    moved = task("node2", force_update=1)
    rig.swarm.servers = (server(task("node1", desired=TaskState.SHUTDOWN), moved, force_update=1),)
    await rig.turn()
    assert rig.say(notices=(spot(),)).may_leave is False
    ended = task("node1", desired=TaskState.SHUTDOWN, state=TaskState.SHUTDOWN)
    rig.swarm.servers = (server(ended, moved, force_update=1),)
    await rig.turn()
    assert rig.say(notices=(spot(),)).may_leave is True
    rig.say(notices=(spot(),), phase=AgentPhase.LEFT)
    await rig.turn()
    assert rig.swarm.done[3:] == [("remove", "node1")]
    await rig.turn()
    assert rig.cloud.done[1:] == [("hook", "i-1", "down", "CONTINUE")]


async def test_a_restarted_controller_goes_on_from_the_labels(rig: Rig, tmp_path: Path) -> None:
    rig.swarm.servers = (server(task("node1")),)
    rig.say(notices=(spot(120),))
    await rig.turn()
    again = rig_in(tmp_path / "again")
    again.swarm.nodes, again.swarm.servers = rig.swarm.nodes, rig.swarm.servers
    again.cloud.instances = rig.cloud.instances
    await again.turn(104)
    assert ("drain", "node1") not in again.swarm.done
    await again.turn(1)
    assert again.swarm.done[-1] == ("drain", "node1")


async def test_no_server_is_moved_off_a_node_that_could_not_be_paused(rig: Rig) -> None:
    rig.swarm.servers = (server(task("node1")),)
    rig.swarm.broken = {"set_node"}
    rig.say(notices=(spot(),))
    await rig.turn()
    assert rig.swarm.done == []
    assert ("host1", "pause", False) in rig.events()
    rig.swarm.broken = set()
    await rig.turn()
    assert rig.swarm.done == [("pause", "node1"), ("move", "service1")]


async def test_an_aws_that_hangs_delays_nothing_and_is_not_asked_twice(rig: Rig) -> None:
    rig.cloud.hangs = True
    rig.swarm.servers = (server(task("node1")),)
    rig.say(notices=(spot(),))
    async with asyncio.timeout(5):
        await rig.turn()
        await rig.turn()
        await asyncio.sleep(0)
    assert rig.swarm.done == [("pause", "node1"), ("move", "service1")]


async def test_a_call_to_aws_is_not_repeated_before_aws_was_seen_again(rig: Rig) -> None:
    rig.say(notices=(spot(),))
    await rig.turn()
    rig.cloud.instances["i-1"] = instance(1)
    rig.cloud.blind = True
    await rig.turn()
    assert rig.cloud.done == [("replace", "i-1")]
    rig.cloud.blind = False
    await rig.turn()
    assert rig.cloud.done == [("replace", "i-1")] * 2


async def test_while_aws_fails_servers_still_move_and_no_node_is_removed(rig: Rig) -> None:
    await rig.turn()
    rig.cloud.broken = True
    rig.swarm.nodes["node2"] = node(2, status="down")
    rig.swarm.servers = (server(task("node1")),)
    rig.say(notices=(spot(),))
    await rig.turn()
    await rig.turn(30)
    assert rig.swarm.done == [("pause", "node1"), ("move", "service1")]
    assert ("i-1", "replace instance", False) in rig.events()
    assert "AWS cannot be read: AWS: refused" in rig.controller.status().problems


async def test_while_the_swarm_cannot_be_read_nothing_is_changed(rig: Rig) -> None:
    rig.swarm.servers = (server(task("node1")),)
    rig.swarm.broken = {"snapshot"}
    rig.say(notices=(spot(),))
    assert await rig.turn()
    assert (rig.swarm.done, rig.cloud.done) == ([], [])
    assert "the swarm cannot be read: Docker: no answer" in rig.controller.status().problems
    rig.swarm.broken = set()
    await rig.turn()
    assert rig.swarm.done[0] == ("pause", "node1")


async def test_leave_to_leave_is_not_given_on_an_old_look(rig: Rig) -> None:
    rig.say(notices=(spot(),))
    await rig.turn()
    await rig.turn()
    assert rig.say(notices=(spot(),)).may_leave is True
    rig.clock.forward(15)
    assert rig.say(notices=(spot(),)).may_leave is False


async def test_a_ghost_is_removed_and_the_reason_kept(rig: Rig) -> None:
    rig.cloud.instances["i-1"] = instance(1, ec2_state="terminated")
    await rig.turn()
    assert rig.swarm.done == [("remove", "node1")]
    assert [e.reason for e in rig.journal.events if e.what == "remove node"] == ["instance i-1 is terminated"]


async def test_a_node_that_joined_a_moment_ago_is_known_and_a_removed_one_is_not(rig: Rig) -> None:
    await rig.turn()
    assert await rig.controller.knows("node1")
    rig.swarm.nodes["node3"] = joined(3)
    assert await rig.controller.knows("node3")
    assert not await rig.controller.knows("node4")
    rig.swarm.broken = {"has_node"}
    with pytest.raises(SwarmError):
        await rig.controller.knows("node4")


async def test_news_in_a_report_wake_the_loop_and_repetition_does_not(rig: Rig) -> None:
    rig.say()
    running = asyncio.create_task(rig.controller.run())
    rig.say()
    try:
        async with asyncio.timeout(5):
            await rig.swarm.looked.wait()
        rig.say()
        assert not rig.controller._wake.is_set()
        rig.say(notices=(spot(),))
        # An idle loop sleeps three seconds; this one must not.
        async with asyncio.timeout(1):
            await rig.swarm.node_set.wait()
        assert rig.swarm.done[0] == ("pause", "node1")
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_status_says_where_everything_stands_and_why(rig: Rig) -> None:
    rig.swarm.servers = (server(task("node1")),)
    await rig.turn()
    rig.say(notices=(spot(),))
    await rig.turn(30)
    waiting = task("", created_at=rig.clock(), state=TaskState.PENDING, error="no suitable node")
    rig.swarm.servers = (server(task("node1"), waiting, force_update=1),)
    await rig.turn()
    document = rig.controller.status()
    first, second = document.members
    assert (first.node, first.instance, first.pool, first.state, first.servers) == (
        "host1",
        "i-1",
        "cpu",
        "draining",
        1,
    )
    assert second.state == "active"
    (row,) = document.servers
    assert (row.user, row.course, row.image, row.state) == ("ada", "intro", "a@sha256:1", "moving")
    assert row.reason == "it still runs on a node that will go and waits for a seat: no suitable node"
    text = render(document)
    for shown in ("host1", "draining", "ada", "no suitable node", "swarmhub-lab-cpu", "replace instance"):
        assert shown in text
