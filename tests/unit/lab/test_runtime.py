"""The world in motion: launches, restarts, machines that vanish."""

from __future__ import annotations

import asyncio

import pytest

from lab.cloud import store
from lab.cloud.asg import commands, instances
from lab.cloud.asg.model import Hook, Settings, Transition, World
from lab.cloud.launcher import MemoryLauncher
from lab.cloud.runtime import Runtime


class Box:
    """A runtime with a launcher, a clock the test moves and a saved state."""

    def __init__(self, driver, launcher=None, world=None):
        self.driver = driver
        self.launcher = launcher or MemoryLauncher()
        self.saved = []
        self.runtime = Runtime(
            world or driver.world,
            self.launcher,
            lambda: driver.now,
            save=self.saved.append,
            publish=lambda event: None,
        )

    async def run(self, seconds=0.0):
        for _ in range(8):
            self.runtime.tick()
            await self.runtime.settle()
            self.driver.now += seconds / 8

    @property
    def states(self):
        return sorted(i.state.value for i in self.runtime.world.instances.values())

    def member_states(self):
        return sorted(i.member.state.value for i in self.runtime.world.instances.values() if i.member)


@pytest.fixture
def box(asg):
    asg.set_desired(2)
    return Box(asg)


async def test_instances_are_launched_and_known_by_their_addresses(box):
    await box.run(5)
    world = box.runtime.world
    assert box.member_states() == ["InService", "InService"]
    assert {i.imds_ip for i in world.instances.values()} == {"127.0.1.1", "127.0.1.2"}
    assert box.saved[-1] is world


async def test_a_launch_that_fails_is_a_failed_activity_and_tried_again(box):
    box.launcher.fail_next = ["no such image: worker"] * 2
    await box.run(1)
    failed = [a for a in box.runtime.world.activities if a.status == "Failed"]
    assert len(failed) == 2
    assert "no such image: worker" in failed[0].message
    await box.run(20)
    assert box.member_states().count("InService") == 2


async def test_termination_stops_the_machine_and_a_kill_removes_it(box):
    await box.run(5)
    first, second = box.runtime.world.instances
    box.runtime.apply(lambda world, now: commands.terminate_member(world, first, now, decrement=True))
    box.runtime.change(lambda world, now: instances.kill(world, second, now))
    await box.run(5)
    assert box.launcher.stopped == [first]
    assert box.launcher.killed == [second]
    assert box.states == ["terminated", "terminated"]


async def test_a_machine_that_powers_off_by_itself_is_terminated(box):
    await box.run(5)
    first = next(iter(box.runtime.world.instances))
    box.launcher.lose(first)
    await box.runtime.look()
    assert box.runtime.world.instances[first].state == "terminated"
    await box.run(40)
    assert box.member_states().count("InService") == 2


async def test_a_restart_keeps_instances_and_their_lifecycle_states(box, tmp_path, asg):
    box.runtime.change(
        lambda world, now: commands.put_hook(
            world, asg.group.name, Hook(name="h", transition=Transition.LAUNCHING)
        )
    )
    await box.run(5)
    assert box.member_states() == ["Pending:Wait", "Pending:Wait"]
    store.save(tmp_path, box.runtime.world)
    again = Box(asg, box.launcher, store.load(tmp_path, Settings()))
    await again.runtime.adopt()
    await again.run(5)
    assert again.member_states() == ["Pending:Wait", "Pending:Wait"]
    assert again.runtime.world.instances.keys() == box.runtime.world.instances.keys()
    assert again.runtime.world.actions == box.runtime.world.actions
    assert not again.launcher.killed


async def test_a_restart_without_its_state_adopts_the_running_machines(box, asg):
    await box.run(5)
    again = Box(asg, box.launcher, World(seed="other"))
    await again.runtime.adopt()
    assert again.runtime.world.instances.keys() == box.runtime.world.instances.keys()
    group = box.runtime.world.groups[asg.group.name]
    again.runtime.change(lambda world, now: commands.create_group(world, group))
    await again.run(5)
    assert again.member_states() == ["InService", "InService"]
    assert len(again.runtime.world.instances) == 2


async def test_a_machine_gone_during_the_restart_is_replaced_after_the_health_check(box, asg):
    await box.run(5)
    first = next(iter(box.runtime.world.instances))
    box.launcher.lose(first)
    again = Box(asg, box.launcher, box.runtime.world)
    await again.runtime.adopt()
    assert again.runtime.world.instances[first].state == "terminated"
    await again.run(40)
    assert again.member_states().count("InService") == 2


async def test_what_was_under_way_at_the_restart_is_ordered_again(asg):
    asg.launches_answer = False
    asg.set_desired(1)
    asg.advance(0)
    again = Box(asg)
    await again.runtime.adopt()
    await again.run(5)
    assert again.member_states() == ["InService"]


def test_an_unreadable_state_is_set_aside_not_lost(tmp_path):
    (tmp_path / store.FILE).write_text("{not json")
    world = store.load(tmp_path, Settings())
    assert not world.instances
    assert (tmp_path / "world.json.unreadable").read_text() == "{not json"


def test_settings_are_todays_not_the_saved_ones(tmp_path):
    store.save(tmp_path, World(seed="s", settings=Settings(health_check_delay=1)))
    world = store.load(tmp_path, Settings(health_check_delay=99))
    assert (world.seed, world.settings.health_check_delay) == ("s", 99)


async def test_a_change_that_is_refused_leaves_the_world_as_it_was(box, asg):
    before = box.runtime.world
    with pytest.raises(Exception, match="above max"):
        box.runtime.change(lambda world, now: commands.set_desired(world, asg.group.name, 99))
    assert box.runtime.world is before


async def test_a_full_disk_does_not_stop_the_world(asg, caplog):
    def fail(world):
        raise OSError("No space left on device")

    asg.set_desired(1)
    box = Box(asg)
    box.runtime = Runtime(asg.world, box.launcher, lambda: asg.now, save=fail, publish=lambda event: None)
    await box.run(5)
    assert box.member_states() == ["InService"]
    assert "No space left" in caplog.text


async def test_an_instance_terminated_while_it_launches_leaves_no_machine_behind(box, asg):
    let_go = asyncio.Event()
    launch = box.launcher.launch

    async def slow_launch(instance):
        await let_go.wait()
        return await launch(instance)

    box.launcher.launch = slow_launch
    box.runtime.tick()
    await asyncio.sleep(0)
    box.runtime.change(lambda world, now: commands.set_desired(world, asg.group.name, 0))
    for _ in range(4):
        asg.now += 1
        box.runtime.tick()
        await asyncio.sleep(0)
    assert box.states == ["shutting-down", "shutting-down"]
    let_go.set()
    await box.run(2)
    assert not await box.launcher.found()
    assert box.states == ["terminated", "terminated"]


async def test_terminate_all_leaves_machines_of_compose_alone(box):
    await box.run(5)
    await box.runtime.terminate_all()
    assert sorted(box.launcher.killed) == sorted(box.runtime.world.instances)
