"""The one task list that all spawners of a hub share.

Tasks are not in Docker's event stream, and asking per server costs calls for every user; so one loop lists
everything, often while something is going on and rarely otherwise, and everybody looks at the result.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from swarmhub.spawner.docker_calls import Connect, DockerApi, DockerCalls
from swarmhub.spawner.events import EventThread
from swarmhub.spawner.spec import LABEL_HUB
from swarmhub.spawner.view import ClusterView, cluster_view

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
"""Seconds between lists at least, however many events arrive: 500 servers starting are 500 events."""
LONGEST_BACKOFF = 10.0
"""Seconds between attempts at most while Docker does not answer."""

log = logging.getLogger(__name__)


def next_delay(*, busy: bool, quiet_for: float, failures: int) -> float:
    """Seconds until the next list, from what is going on."""
    if failures:
        return min(BUSY_DELAY * 2.0**failures, LONGEST_BACKOFF)
    if busy:
        return BUSY_DELAY
    return RECENT_DELAY if quiet_for < RECENT else IDLE_DELAY


class TaskWatch:
    """Keeps the newest ``ClusterView``; all methods belong to the event loop it was started in.

    When Docker does not answer, the last view is kept, and ``until`` has no answer rather than an old one.
    """

    def __init__(
        self, connect: Connect, hub: str, *, clock: Callable[[], float] = time.monotonic, events: bool = True
    ) -> None:
        """``connect``: makes Docker clients. ``hub``: the value of the services' hub label."""
        # One thread, apart from everybody's calls: a queue of creates must not hold up the list.
        self._docker = DockerCalls(connect, threads=1, name="docker-watch")
        self._connect = connect
        self._hub = hub
        self._clock = clock
        self._events = events
        self._view: ClusterView | None = None
        self._next: asyncio.Future[ClusterView] | None = None
        self._followers: dict[str, Callback] = {}
        self._waiting = 0
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
        """Seconds since the question that the newest view answers; None without a view."""
        return None if self._view is None else self._clock() - self._view.loaded_at

    def now(self) -> float:
        """The time by this watch's clock, seconds."""
        return self._clock()

    def start(self) -> None:
        """Start the loop in the running event loop; does nothing if it runs already."""
        if self._loop_task is not None:
            return
        loop = asyncio.get_running_loop()
        self._loop_task = loop.create_task(self._run(), name="task-watch")
        if self._events:

            def wake() -> None:
                with suppress(RuntimeError):  # the loop is closed: the process is ending
                    loop.call_soon_threadsafe(self._wake.set)

            self._event_thread = EventThread(self._connect, wake)
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
        self._wake.set()
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
        """List once and tell everybody; raises what Docker's client raises."""
        asked = self._clock()

        def load(api: DockerApi) -> ClusterView:
            services = api.services(filters={"label": f"{LABEL_HUB}={self._hub}"})
            # Unfiltered: a task does not carry its service's labels.
            return cluster_view(asked, services, api.tasks(), api.nodes())

        view = await self._docker(load)
        if self._view is None or view.tasks != self._view.tasks:
            self._changed_at = asked
        self._view = view
        for callback in list(self._followers.values()):
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
                await self.refresh()
                self._failures = 0
            except Exception as error:
                self._failures += 1
                log.warning("Docker did not list tasks (attempt %d): %s", self._failures, error)
            delay = next_delay(
                busy=self._is_busy(), quiet_for=self._clock() - self._changed_at, failures=self._failures
            )
            if self._failures:
                await asyncio.sleep(delay)
                continue
            await asyncio.sleep(SMALLEST_DELAY)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay - SMALLEST_DELAY):
                    await self._wake.wait()

    def _is_busy(self) -> bool:
        if self._waiting:
            return True
        view = self._view
        states = (view.server(service_id) for service_id in self._followers) if view else ()
        return any(state.phase.is_pending or state.is_moving for state in states)
