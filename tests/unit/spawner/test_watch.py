"""The shared task list: how often it is asked for, and what is known when Docker does not answer."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import requests
from prometheus_client import REGISTRY

from swarmhub.spawner import watch as watch_module
from swarmhub.spawner.states import ServerPhase
from swarmhub.spawner.view import ClusterView
from swarmhub.spawner.watch import TaskWatch, next_delay
from tests.unit.spawner.fake_swarm import FakeSwarm

LABELS = {"org.swarmhub.hub": "lab"}


class Clock:
    """Time that moves when the test says so."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
async def watch(swarm: FakeSwarm) -> AsyncIterator[TaskWatch]:
    watch = TaskWatch(lambda: swarm, "lab", clock=Clock(), events=False)
    yield watch
    await watch.close()


@pytest.fixture
async def running(swarm: FakeSwarm) -> AsyncIterator[TaskWatch]:
    watch = TaskWatch(lambda: swarm, "lab", events=False)
    watch.start()
    yield watch
    await watch.close()


def create(swarm: FakeSwarm, name: str = "lab-ana", labels: dict[str, str] | None = None) -> str:
    template = {"Networks": [{"Target": "notebooks"}]}
    created = swarm.create_service(
        name=name, labels=LABELS if labels is None else labels, task_template=template
    )
    return str(created["ID"])


@pytest.mark.parametrize(
    ("busy", "quiet_for", "failures", "delay"),
    [
        (True, 0.0, 0, 0.25),
        (True, 999.0, 0, 0.25),
        (False, 0.0, 0, 1.0),
        (False, 29.0, 0, 1.0),
        (False, 31.0, 0, 2.0),
        (True, 0.0, 1, 0.5),
        (True, 0.0, 3, 2.0),
        (True, 0.0, 50, 10.0),
    ],
)
def test_the_pace_follows_what_is_going_on(
    monkeypatch: pytest.MonkeyPatch, busy: bool, quiet_for: float, failures: int, delay: float
) -> None:
    monkeypatch.undo()  # the real pace, not the tests' fast one
    assert next_delay(busy=busy, quiet_for=quiet_for, failures=failures) == delay


async def test_nothing_is_known_before_the_first_list(watch: TaskWatch) -> None:
    assert watch.view is None
    assert watch.age is None


async def test_a_view_is_as_old_as_its_question(watch: TaskWatch) -> None:
    clock: Any = watch._clock
    view = await watch.refresh()
    clock.time += 3
    assert view.loaded_at == 100.0
    assert watch.age == 3.0


async def test_services_of_other_hubs_are_not_seen(watch: TaskWatch, swarm: FakeSwarm) -> None:
    mine = create(swarm)
    create(swarm, "other", {"org.swarmhub.hub": "other"})
    view = await watch.refresh()
    assert view.server(mine).phase is ServerPhase.RUNNING
    assert view.server("other").phase is ServerPhase.GONE


async def test_a_failed_list_keeps_the_last_view(watch: TaskWatch, swarm: FakeSwarm) -> None:
    mine = create(swarm)
    view = await watch.refresh()
    swarm.is_away = True
    with pytest.raises(requests.ConnectionError):
        await watch.refresh()
    assert watch.view is view
    assert view.server(mine).phase is ServerPhase.RUNNING


async def test_a_question_is_not_answered_by_an_older_view(watch: TaskWatch) -> None:
    clock: Any = watch._clock
    await watch.refresh()
    clock.time += 1
    assert await watch.newer_than(100.5, within=0.01) is None
    fresh = await watch.refresh()
    assert await watch.newer_than(100.5, within=0.01) is fresh


async def test_until_gives_the_first_decision(running: TaskWatch, swarm: FakeSwarm) -> None:
    swarm.runs_at_once = False
    mine = create(swarm)

    def decide(view: ClusterView) -> str | None:
        if view.server(mine).phase is ServerPhase.RUNNING:
            return "runs"
        swarm.set_state(mine, "running")
        return None

    assert await running.until(decide, since=running.now(), deadline=running.now() + 5) == "runs"


def never(_: ClusterView) -> str | None:
    return None


async def test_until_gives_nothing_at_its_deadline(running: TaskWatch) -> None:
    assert await running.until(never, since=0, deadline=running.now() + 0.02) is None


async def test_what_a_decision_raises_reaches_whoever_asked(running: TaskWatch) -> None:
    def decide(_: ClusterView) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        await running.until(decide, since=0, deadline=running.now() + 5)
    assert await running.newer_than(running.now(), within=5) is not None


async def test_the_loop_outlives_an_outage(running: TaskWatch, swarm: FakeSwarm) -> None:
    assert await running.newer_than(0, within=5) is not None
    swarm.is_away = True
    asked = running.now()
    assert await running.newer_than(asked, within=0.03) is None
    swarm.is_away = False
    assert await running.newer_than(asked, within=5) is not None


async def test_a_client_that_cannot_be_made_yet_is_made_later(swarm: FakeSwarm) -> None:
    attempts: list[int] = []

    def connect() -> FakeSwarm:
        attempts.append(1)
        if len(attempts) < 3:
            raise requests.ConnectionError("no socket yet")
        return swarm

    watch = TaskWatch(connect, "lab", events=False)
    watch.start()
    assert await watch.newer_than(0, within=5) is not None
    assert len(attempts) == 3
    await watch.close()


async def test_followers_hear_of_every_view_until_they_leave(watch: TaskWatch, swarm: FakeSwarm) -> None:
    heard: list[ClusterView] = []
    watch.follow("mine", heard.append)
    first = await watch.refresh()
    watch.unfollow("mine")
    watch.unfollow("never there")
    await watch.refresh()
    assert heard == [first]


async def test_one_followers_error_does_not_reach_the_others(watch: TaskWatch) -> None:
    heard: list[ClusterView] = []

    def broken(_: ClusterView) -> None:
        raise RuntimeError("bug")

    watch.follow("a", broken)
    watch.follow("b", heard.append)
    await watch.refresh()
    assert len(heard) == 1


async def test_a_followed_server_that_moves_makes_the_watch_busy(watch: TaskWatch, swarm: FakeSwarm) -> None:
    mine = create(swarm)
    await watch.refresh()
    assert not watch._is_busy()
    watch.follow(mine, lambda _: None)
    assert not watch._is_busy()
    swarm.runs_at_once = False
    swarm.update(mine)
    await watch.refresh()
    assert watch._is_busy()


@pytest.fixture
def counts(watch: TaskWatch, swarm: FakeSwarm) -> Callable[[], Awaitable[dict[str, int]]]:
    """Lists as the loop does, and says what of the swarm was asked for."""

    async def list_once() -> dict[str, int]:
        swarm.calls.clear()
        await watch._refresh(watch._known())
        return dict(Counter(swarm.calls))

    watch._needs_inventory = False
    return list_once


EVERYTHING = {"tasks": 1, "services": 1, "nodes": 1}
Lists = Callable[[], Awaitable[dict[str, int]]]


async def test_while_nothing_changes_only_tasks_are_asked_for(
    watch: TaskWatch, swarm: FakeSwarm, counts: Lists
) -> None:
    clock: Any = watch._clock
    for number in range(20):
        watch.follow(create(swarm, f"lab-{number}"), lambda _: None)
    assert await counts() == EVERYTHING
    asked: Counter[str] = Counter()
    for _ in range(30):  # a minute at the idle pace
        clock.time += 2
        asked.update(await counts())
    assert asked == {"tasks": 30, "services": 2, "nodes": 2}


async def test_an_event_asks_for_services_and_nodes(watch: TaskWatch, counts: Lists) -> None:
    await counts()
    watch._look_again()
    assert await counts() == EVERYTHING


async def test_while_servers_start_only_tasks_are_asked_for_often(
    watch: TaskWatch, swarm: FakeSwarm, counts: Lists
) -> None:
    await counts()
    swarm.runs_at_once = False
    watch.follow(create(swarm), lambda _: None)
    await counts()
    assert await counts() == {"tasks": 1}


@pytest.mark.parametrize("change", ["service created", "service removed", "task on a new node"])
async def test_tasks_that_do_not_fit_what_is_known_ask_for_the_rest_at_once(
    watch: TaskWatch, swarm: FakeSwarm, counts: Lists, change: str
) -> None:
    # The event of each of these was lost.
    mine = create(swarm)
    await counts()
    if change == "service created":
        mine = create(swarm, "lab-ben")
    elif change == "service removed":
        swarm.remove_service(mine)
    else:
        swarm.suits = lambda _, node: node["Description"]["Hostname"] == "worker-3"
        swarm.add_node("worker-3")
        swarm.set_state(mine, "failed")
        swarm.newest(mine)["DesiredState"] = "shutdown"
    assert await counts() == EVERYTHING
    assert watch.view is not None
    phase = {"service removed": ServerPhase.GONE, "service created": ServerPhase.RUNNING}
    # A node that is not in the list would make the task's container count as ended.
    assert watch.view.server(mine).phase is phase.get(change, ServerPhase.STOPPING)


async def test_a_question_is_not_answered_with_services_from_before_it(
    watch: TaskWatch, swarm: FakeSwarm
) -> None:
    clock: Any = watch._clock
    await watch.refresh()
    clock.time += 1
    partly = await watch._refresh(watch.view)
    assert (partly.tasks_at, partly.loaded_at, watch.age) == (101.0, 100.0, 0.0)
    assert await watch.newer_than(100.5, within=0.01) is None


async def test_a_question_makes_the_loop_ask_for_everything(
    running: TaskWatch, swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "INVENTORY_AGE", 1000.0)
    await running.newer_than(0, within=5)
    asked = running.now()
    assert await running.newer_than(asked, within=5) is not None


async def test_after_an_outage_everything_is_asked_for(
    running: TaskWatch, swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "INVENTORY_AGE", 1000.0)
    first = await running.newer_than(0, within=5)
    assert first is not None
    failed = value("swarmhub_watch_failures_total")
    swarm.is_away = True
    async with asyncio.timeout(5):
        while value("swarmhub_watch_failures_total") == failed:  # noqa: ASYNC110  # the list is in a thread
            await asyncio.sleep(0.001)
    swarm.is_away = False
    view = await running.next_view(5)
    assert view is not None
    assert view.inventory.loaded_at > first.inventory.loaded_at


async def test_a_hung_engine_is_outlived(swarm: FakeSwarm) -> None:
    watch = TaskWatch(lambda: swarm, "lab", events=False)
    watch.start()
    assert await watch.newer_than(0, within=5) is not None
    asked = watch.now()
    swarm.hangs.clear()
    assert await watch.newer_than(asked, within=0.05) is None
    assert watch.view is not None
    swarm.hangs.set()
    assert await watch.newer_than(asked, within=5) is not None
    await watch.close()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_the_views_age_is_a_metric(watch: TaskWatch) -> None:
    clock: Any = watch._clock
    watch.start()
    assert math.isnan(value("swarmhub_watch_age_seconds"))
    await watch.next_view(5)
    clock.time += 4
    assert value("swarmhub_watch_age_seconds") == 4.0


async def test_time_in_a_state_is_counted_when_a_task_leaves_it(watch: TaskWatch, swarm: FakeSwarm) -> None:
    swarm.runs_at_once = False
    mine, other = create(swarm), create(swarm, "other", {"org.swarmhub.hub": "other"})
    for service in (mine, other):
        swarm.newest(service)["Status"]["Timestamp"] = "2026-01-01T00:00:00Z"
    await watch.refresh()
    before = [value(f"swarmhub_task_state_seconds_{kind}", state="assigned") for kind in ("count", "sum")]
    for service in (mine, other):
        swarm.set_state(service, "preparing")
        swarm.newest(service)["Status"]["Timestamp"] = "2026-01-01T00:00:02.5Z"
    await watch.refresh()
    await watch.refresh()
    after = [value(f"swarmhub_task_state_seconds_{kind}", state="assigned") for kind in ("count", "sum")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 2.5], (
        "another hub's counts not"
    )


async def test_a_view_of_many_servers_is_derived_once(watch: TaskWatch, swarm: FakeSwarm) -> None:
    mine = create(swarm)
    view = await watch.refresh()
    assert view.server(mine) is view.server(mine)


async def test_an_event_makes_the_next_list_come_early(
    swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "RECENT_DELAY", 60.0)
    happened = asyncio.Event()

    class Loud(FakeSwarm):
        def events(self, *, filters: dict[str, Any], decode: bool) -> Iterator[dict[str, Any]]:
            assert filters == {"type": ["service", "node"]}
            asyncio.run_coroutine_threadsafe(happened.wait(), loop).result(5)
            yield {"Type": "service", "Action": "update"}
            raise requests.ConnectionError("stream closed")

    loop = asyncio.get_running_loop()
    loud = Loud()
    watch = TaskWatch(lambda: loud, "lab")
    watch.start()
    first = await watch.next_view(5)
    assert first is not None
    happened.set()
    second = await watch.next_view(5)
    assert second is not None
    assert second.loaded_at > first.loaded_at
    await watch.close()
