"""The shared task list: how often it is asked for, and what is known when Docker does not answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import requests

from swarmhub.spawner import watch as watch_module
from swarmhub.spawner.events import EventThread
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


def test_the_event_thread_comes_back_after_a_broken_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmhub.spawner.events._FIRST_PAUSE", 0.001)
    streams = iter([requests.ConnectionError("refused"), [{"Type": "node"}, {"Type": "node"}]])
    heard: list[int] = []

    class Stream:
        def events(self, *, filters: dict[str, Any], decode: bool) -> Any:
            stream = next(streams)
            if isinstance(stream, Exception):
                raise stream
            return stream

    def on_event() -> None:
        heard.append(1)
        if len(heard) == 2:
            thread.close()

    thread = EventThread(Stream, on_event)  # type: ignore[arg-type]
    thread.start()
    thread._thread.join(5)
    assert len(heard) == 2
    assert not thread._thread.is_alive()
