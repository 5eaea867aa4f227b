"""The one task list that all spawners of a hub share.

Tasks are not in Docker's event stream, and asking per server costs calls for every user; so one loop lists
everything, often while something is going on and rarely otherwise, and everybody looks at the result. While
nothing is going on it asks for tasks only, 30 times a minute, however many servers there are; services and
nodes when an event, the tasks themselves or half a minute say so.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar

from swarmhub.spawner import metrics
from swarmhub.spawner.docker_calls import Connect, DockerApi, DockerCalls
from swarmhub.spawner.events import EventThread
from swarmhub.spawner.spec import LABEL_HUB
from swarmhub.spawner.view import ClusterView, cluster_view, inventory

T = TypeVar("T")
Callback = Callable[[ClusterView], None]

BUSY_DELAY = 0.25
"""Seconds between lists while somebody waits or a followed server is pending or moving."""
RECENT_DELAY = 1.0
"""Seconds between lists for a while after anything changed."""
IDLE_DELAY = 2.0
"""Seconds between lists otherwise."""
RECENT = 30.0
"""How long (seconds) a change counts as recent."""
SMALLEST_DELAY = 0.1
"""Seconds between lists at least."""
LEAST_REST = 1.0
"""Pause after a list, as a multiple of the time it took: a busy machine is asked less often."""
INVENTORY_AGE = 30.0
"""Seconds after which services and nodes are listed again, whatever events said: the cost of a lost event."""
LONGEST_BACKOFF = 10.0
"""Seconds between attempts at most while Docker does not answer."""

log = logging.getLogger(__name__)


def next_delay(*, busy: bool, quiet_for: float, failures: int) -> float:
    """Seconds until the next list, from what is going on."""
    if failures:
        return min(BUSY_DELAY * 2.0 ** min(failures, 10), LONGEST_BACKOFF)
    if busy:
        return BUSY_DELAY
    return RECENT_DELAY if quiet_for < RECENT else IDLE_DELAY


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TaskWatch:
    """Keeps the newest ``ClusterView``; all methods belong to the event loop it was started in.

    When Docker does not answer, the last view is kept, and ``until`` has no answer rather than an old one.
    """

    def __init__(
        self,
        connect: Connect,
        hub: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], datetime] = _utc_now,
        events: bool = True,
    ) -> None:
        """``connect``: makes Docker clients, whose own timeout bounds every call.

        ``hub``: the value of the services' hub label. ``clock``: seconds, never going back.
        """
        # One thread, apart from everybody's calls: a queue of creates must not hold up the list.
        self._docker = DockerCalls(connect, threads=1, name="docker-watch")
        self._connect = connect
        self._hub = hub
        self._clock = clock
        self._time_of_day = time_of_day
        self._events = events
        self._view: ClusterView | None = None
        self._next: asyncio.Future[ClusterView] | None = None
        self._listeners: list[Callback] = []
        self._followers: dict[str, Callback] = {}
        self._waiting = 0
        self._needs_inventory = True
        self._took = 0.0
        self._changed_at = clock()
        self._failures = 0
        self._wake = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._event_thread: EventThread | None = None

    @property
    def view(self) -> ClusterView | None:
        """The newest view; None until the first list succeeded."""
        return self._view

    @property
    def age(self) -> float | None:
        """Seconds since the tasks of the newest view were asked for; None without a view."""
        return None if self._view is None else self._clock() - self._view.tasks_at

    def now(self) -> float:
        """The time by this watch's clock, seconds."""
        return self._clock()

    def start(self) -> None:
        """Start the loop in the running event loop; does nothing if it runs already."""
        if self._loop_task is not None:
            return
        loop = asyncio.get_running_loop()
        metrics.WATCH_AGE_SECONDS.set_function(lambda: math.nan if self.age is None else self.age)
        self._loop_task = loop.create_task(self._run(), name="task-watch")
        if self._events:

            def on_event() -> None:
                with suppress(RuntimeError):  # the loop is closed: the process is ending
                    loop.call_soon_threadsafe(self._look_again)

            self._event_thread = EventThread(self._connect, on_event)
            self._event_thread.start()

    async def close(self) -> None:
        """Stop the loop and its threads."""
        if self._event_thread:
            self._event_thread.close()
        if self._loop_task:
            self._loop_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop_task
        self._docker.close()

    def _look_again(self) -> None:
        self._needs_inventory = True
        self._wake.set()

    def listen(self, callback: Callback) -> None:
        """Call ``callback`` with every new view, before those who follow a service."""
        self._listeners.append(callback)

    def follow(self, service_id: str, callback: Callback) -> None:
        """Call ``callback`` with every new view, and list often while this server is pending or moving."""
        self._followers[service_id] = callback

    def unfollow(self, service_id: str) -> None:
        """Undo ``follow``; unknown ids are fine."""
        self._followers.pop(service_id, None)

    async def until(
        self, decide: Callable[[ClusterView], T | None], *, since: float, deadline: float
    ) -> T | None:
        """The first answer other than None that ``decide`` gives on a view asked for at or after ``since``.

        ``since`` and ``deadline`` are times of this watch's clock; None when the deadline passes first. What
        ``decide`` raises is raised here.
        """
        view = self._view
        self._waiting += 1
        self._look_again()
        try:
            while True:
                if view is not None and view.loaded_at >= since:
                    answer = decide(view)
                    if answer is not None:
                        return answer
                view = await self.next_view(deadline - self._clock())
                if view is None:
                    return None
        finally:
            self._waiting -= 1

    async def newer_than(self, since: float, within: float) -> ClusterView | None:
        """A view asked for at or after ``since``; None if there is none within ``within`` seconds."""
        return await self.until(lambda view: view, since=since, deadline=self._clock() + within)

    async def next_view(self, within: float) -> ClusterView | None:
        """The next view that arrives; None if there is none within ``within`` seconds."""
        if within <= 0:
            return None
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._next], timeout=within)
        return done.pop().result() if done else None

    async def refresh(self) -> ClusterView:
        """List everything once and tell everybody; raises what Docker's client raises."""
        return await self._refresh(None)

    async def _refresh(self, known: ClusterView | None) -> ClusterView:
        """List tasks, with ``known``'s services and nodes unless the tasks show that those have changed."""
        asked, time_of_day = self._clock(), self._time_of_day()

        def load(api: DockerApi) -> ClusterView:
            # Unfiltered: a task does not carry its service's labels.
            tasks = api.tasks()
            if known is not None:
                view = cluster_view(asked, tasks, known.inventory, time_of_day)
                if view.ids == known.ids:
                    return view
            services = api.services(filters={"label": f"{LABEL_HUB}={self._hub}"})
            # Nodes last: a task on a node that is not in their list counts as lost.
            return cluster_view(asked, tasks, inventory(asked, services, api.nodes()), time_of_day)

        view = await self._docker(load)
        before, self._view = self._view, view
        if before is None or view.own_tasks != before.own_tasks:
            self._changed_at = asked
        if before is not None:
            _observe(before, view)
        for callback in (*self._listeners, *self._followers.values()):
            try:
                callback(view)
            except Exception:
                log.exception("A follower of the task list failed")
        if self._next is not None:
            self._next.set_result(view)
            self._next = None
        return view

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                known = self._known()
                # Before the question, not after: an event while it is under way asks for another list.
                self._needs_inventory = False
                asked = self._clock()
                await self._refresh(known)
                self._took = self._clock() - asked
                self._failures = 0
            except Exception as error:
                self._failures += 1
                self._needs_inventory = True
                metrics.WATCH_FAILURES.inc()
                log.warning("Docker did not list tasks (attempt %d): %s", self._failures, error)
            delay = next_delay(
                busy=self._is_busy(), quiet_for=self._clock() - self._changed_at, failures=self._failures
            )
            if self._failures:
                await asyncio.sleep(delay)
                continue
            # However many events arrive: 500 servers starting are 500 events.
            rest = max(SMALLEST_DELAY, LEAST_REST * self._took)
            await asyncio.sleep(rest)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay - rest):
                    await self._wake.wait()

    def _known(self) -> ClusterView | None:
        """The view whose services and nodes are good enough for the next one; None: list them, too."""
        view = self._view
        if view is None or self._needs_inventory:
            return None
        return view if self._clock() - view.inventory.loaded_at < INVENTORY_AGE else None

    def _is_busy(self) -> bool:
        if self._waiting:
            return True
        view = self._view
        states = (view.server(service_id) for service_id in self._followers) if view else ()
        return any(state.phase.is_pending or state.is_moving for state in states)


def _observe(before: ClusterView, after: ClusterView) -> None:
    """Count how long this hub's tasks were in the states they have left.

    States passed between two lists, at most a fraction of a second apart, count to the one before them.
    """
    for service_id in set(after.services.values()):
        old = {task.id: task for task in before.tasks.get(service_id, ())}
        for task in after.tasks.get(service_id, ()):
            was = old.get(task.id)
            if was and was.state is not task.state:
                metrics.task_left(was.state, (task.changed_at - was.changed_at).total_seconds())
