"""The world in motion: one owner of the current state, its clock, and the effects carried out."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from weakref import WeakValueDictionary

from lab.cloud.asg import instances, reconcile
from lab.cloud.asg.machine import step
from lab.cloud.asg.model import Ec2State, Effect, Event, Instance, Kill, Launch, Publish, Stop, World
from lab.cloud.asg.world import put_instance
from lab.cloud.launcher import Found, InstanceLauncher

log = logging.getLogger(__name__)

T = TypeVar("T")
TICK = 0.25
"""Seconds between steps when nothing wakes the loop: how exactly deadlines are kept."""
WATCH = 2.0
"""Seconds between looks at the machines, for those that power off by themselves."""
LAUNCH_DEADLINE = 120.0
ORDER_RETRY = 5.0
"""Seconds before a stop or kill that failed is ordered again."""


class Runtime:
    """Owns the world. All methods must be called on its event loop's thread."""

    def __init__(
        self,
        world: World,
        launcher: InstanceLauncher,
        clock: Callable[[], float],
        *,
        save: Callable[[World], None],
        publish: Callable[[Event], None],
    ) -> None:
        self.world = world
        self.clock = clock
        self.launcher = launcher
        self._save = save
        self._publish = publish
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def apply(self, change: Callable[[World, float], tuple[World, T]]) -> T:
        """Make a change and return its result; a change that raises leaves the world as it was."""
        world, result = change(self.world, self.clock())
        self._keep(world)
        self._wake.set()
        return result

    def change(self, change: Callable[[World, float], World]) -> None:
        """``apply`` for a change without a result."""
        self.apply(lambda world, now: (change(world, now), None))

    def tick(self) -> None:
        """One step of the machine; its effects start."""
        world, effects = step(self.world, self.clock())
        self._keep(world)
        for effect in effects:
            self._start(effect)

    async def adopt(self) -> None:
        """Bring the remembered world and the running machines together, before anything else."""
        machines = await self.launcher.found()
        running = {key: _as_found(found) for key, found in machines.items() if found.running}
        self.change(lambda world, now: reconcile.at_start(world, running, now))
        for key in machines.keys() - running.keys():
            log.info("removing the dead machine of %s", key)
            self._start(Kill(key))
        log.info("machines found running: %s", ", ".join(sorted(running)) or "none")

    async def run(self) -> None:
        """Step for ever."""
        while True:
            try:
                self.tick()
            except Exception:
                log.exception("a step of the world failed; trying again")
            try:
                async with asyncio.timeout(TICK):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()

    async def watch(self) -> None:
        """Look for machines that powered off by themselves, for ever."""
        while True:
            await asyncio.sleep(WATCH)
            try:
                await self.look()
            except Exception:
                log.exception("could not list the machines; trying again in %.0f s", WATCH)

    async def look(self) -> None:
        """One look at the machines."""
        seen = [i.instance_id for i in self.world.instances.values() if i.state is Ec2State.RUNNING]
        machines = await self.launcher.found()
        running = {key for key, found in machines.items() if found.running}
        self.change(lambda world, now: reconcile.lost(world, seen, running, now))

    async def settle(self) -> None:
        """Wait until no effect is under way (tests and shutdown)."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def terminate_all(self) -> None:
        """Remove every machine that was launched from here."""
        for instance in self.world.instances.values():
            if not instance.static and not instance.state.is_final:
                self._start(Kill(instance.instance_id))
        await self.settle()

    async def close(self) -> None:
        """Stop carrying out effects; what was under way is ordered again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _keep(self, world: World) -> None:
        if world is self.world:
            return
        self.world = world
        try:
            self._save(world)
        except OSError:
            log.exception("could not save the state; a restart would read an older one")

    def _start(self, effect: Effect) -> None:
        if isinstance(effect, Publish):
            self._publish(effect.event)
            return
        task = asyncio.create_task(self._carry_out(effect))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, effect: Launch | Stop | Kill) -> None:
        # One order at a time per instance, in order: a stop must find what the launch before it made.
        lock = self._locks.setdefault(effect.instance_id, asyncio.Lock())
        async with lock:
            try:
                await self._order(effect)
            except Exception:
                log.exception("%s failed; ordering it again in %.0f s", effect, ORDER_RETRY)
                await asyncio.sleep(ORDER_RETRY)
                self.change(lambda world, _: _order_again(world, effect.instance_id))

    async def _order(self, effect: Launch | Stop | Kill) -> None:
        instance_id = effect.instance_id
        match effect:
            case Launch():
                await self._launch(instance_id)
            case Stop():
                await self.launcher.stop(instance_id)
                self.change(lambda world, now: instances.stopped(world, instance_id, now))
            case Kill():
                await self.launcher.kill(instance_id)

    async def _launch(self, instance_id: str) -> None:
        instance = self.world.instances.get(instance_id)
        if instance is None or instance.state is not Ec2State.PENDING:
            return
        try:
            async with asyncio.timeout(LAUNCH_DEADLINE):
                addresses = await self.launcher.launch(instance)
        except Exception as error:
            log.exception("could not launch %s", instance_id)
            reason = _sentence(error)
            self.change(lambda world, now: instances.launch_failed(world, instance_id, reason, now))
            return
        log.info("launched %s at %s", instance_id, addresses.private_ip)
        self.change(
            lambda world, now: instances.launched(
                world, instance_id, addresses.private_ip, addresses.imds_ip, now
            )
        )


def _as_found(found: Found) -> Instance:
    if found.addresses is None:
        return found.instance
    return replace(found.instance, private_ip=found.addresses.private_ip, imds_ip=found.addresses.imds_ip)


def _order_again(world: World, instance_id: str) -> World:
    instance = world.instances.get(instance_id)
    return world if instance is None else put_instance(world, replace(instance, dispatched=False))


def _sentence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"Launching the instance took longer than {LAUNCH_DEADLINE:.0f} s"
    return "".join(traceback.format_exception_only(error)).strip()
