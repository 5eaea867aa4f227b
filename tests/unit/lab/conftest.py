"""A group whose time the test moves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from lab.cloud.asg import commands, hooks, instances
from lab.cloud.asg.machine import step
from lab.cloud.asg.model import (
    ActionResult,
    Effect,
    Event,
    EventKind,
    Group,
    GroupTag,
    Hook,
    Instance,
    Kill,
    Launch,
    LifecycleAction,
    Publish,
    Settings,
    Stop,
    Transition,
    World,
)
from lab.cloud.asg.world import members_of

START = 1_800_000_000.0
GROUP = "swarmhub-lab-cpu"


@dataclass
class Driver:
    """One group, a clock and a launcher that obeys at once."""

    world: World
    now: float = START
    orders: list[Launch | Stop | Kill] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    launch_error: str | None = None
    launches_answer: bool = True

    def advance(self, seconds: float) -> None:
        """Move the clock in small steps, at most 200 of them."""
        end = self.now + seconds
        stride = max(0.5, seconds / 200)
        self._step()
        while self.now < end:
            self.now = min(self.now + stride, end)
            self._step()

    def _step(self) -> None:
        self.world, effects = step(self.world, self.now)
        for effect in effects:
            self._obey(effect)

    def _obey(self, effect: Effect) -> None:
        if isinstance(effect, Publish):
            self.events.append(effect.event)
            return
        self.orders.append(effect)
        if isinstance(effect, Stop):
            self.world = instances.stopped(self.world, effect.instance_id, self.now)
        if isinstance(effect, Launch) and self.launches_answer:
            if self.launch_error:
                self.world = instances.launch_failed(
                    self.world, effect.instance_id, self.launch_error, self.now
                )
            else:
                address = f"10.0.0.{len(self.orders)}"
                self.world = instances.launched(self.world, effect.instance_id, address, address, self.now)

    @property
    def group(self) -> Group:
        return self.world.groups[GROUP]

    @property
    def members(self) -> list[Instance]:
        return [instance for instance, _ in members_of(self.world, GROUP)]

    @property
    def states(self) -> list[str]:
        """Lifecycle states, oldest instance first."""
        return [member.state.value for _, member in members_of(self.world, GROUP)]

    def state_of(self, instance_id: str) -> str:
        member = self.world.instances[instance_id].member
        assert member is not None
        return member.state.value

    def actions_of(self, instance_id: str) -> list[LifecycleAction]:
        return [action for action in self.world.actions if action.instance_id == instance_id]

    def ordered(self, kind: type[Launch | Stop | Kill]) -> list[str]:
        return [order.instance_id for order in self.orders if isinstance(order, kind)]

    def events_of(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def set_desired(self, desired: int) -> None:
        self.world = commands.set_desired(self.world, GROUP, desired)

    def add_hook(self, transition: Transition, heartbeat: int = 300, default: str = "ABANDON") -> str:
        name = f"on-{transition.name.lower()}"
        hook = Hook(
            name=name,
            transition=transition,
            heartbeat_timeout=heartbeat,
            default_result=ActionResult(default),
        )
        self.world = commands.put_hook(self.world, GROUP, hook)
        return name

    def complete(self, instance_id: str, hook: str, result: str = "CONTINUE") -> None:
        self.world = hooks.complete(
            self.world,
            group=GROUP,
            hook=hook,
            result=ActionResult(result),
            now=self.now,
            instance_id=instance_id,
            token=None,
        )

    def terminate(self, instance_id: str, *, decrement: bool = False) -> None:
        self.world, _ = commands.terminate_member(self.world, instance_id, self.now, decrement=decrement)

    def in_service(self, count: int) -> list[str]:
        """Bring ``count`` instances into service, before any hook exists."""
        self.set_desired(count)
        self.advance(5)
        assert self.states == ["InService"] * count
        return [instance.instance_id for instance in self.members]


@pytest.fixture
def asg() -> Driver:
    """An empty group, 0 to 6 instances, without hooks."""
    group = Group(
        name=GROUP,
        created=START,
        min_size=0,
        max_size=6,
        desired=0,
        zones=("us-east-1a",),
        tags=(
            GroupTag(key="swarmhub:hub", value="lab", propagate=True),
            GroupTag(key="swarmhub:pool", value="cpu", propagate=True),
            GroupTag(key="private", value="x", propagate=False),
        ),
    )
    world = commands.create_group(World(seed="test"), group)
    return Driver(replace(world, settings=Settings(health_check_delay=15.0, settle=1.0)))
