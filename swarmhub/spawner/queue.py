"""The queue that starts wait in: whose turn it is, how many may be in flight, what a waiting student is told.

Within a course first come, first served; between courses the one that was given least lately comes first, so
that a class of 100 does not hold up five students of another one. What a start asks of a machine (its lane)
decides whom a full swarm stops: once Swarm says of a lane that no node suits, two starts of it stay in Swarm
as scouts (they take the first new seat, and the controller sees them as demand), everybody else of that lane
waits here, and the other lanes go on. How many may be in flight at once is learned, see ``pace``.

Everything belongs to one event loop. Nothing here polls, except while all the hub's seats are taken.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import TracebackType
from typing import Self

from swarmhub.spawner.lineup import Course, Entry, Lane, line_up, next_up
from swarmhub.spawner.pace import Pace

RATE_MEMORY = 60.0
"""Seconds of completions that an estimate is made from."""
RATE_LEAST = 3
"""Completions that an estimate needs."""
SEATS_RECHECK = 1.0
"""Seconds between looks at the number of servers while all seats are taken; see ``StartQueue.wake``."""


class QueueReason(StrEnum):
    """Why a start waits."""

    TURN = "turn"
    """Others come first."""
    CAPACITY = "capacity"
    """Swarm finds no node for what it asks of a machine."""
    SEATS = "seats"
    """All seats of the hub are taken."""


_IN_WORDS = {
    QueueReason.TURN: "others came first",
    QueueReason.CAPACITY: "no machine had room",
    QueueReason.SEATS: "all seats of this hub were taken",
}


@dataclass(frozen=True)
class Wish:
    """A start that is asked for."""

    user: str
    server: str
    """JupyterHub's name of the server, empty for the default one."""
    course: str
    lane: str
    """What it asks of a machine (pool and reservations): the starts of one lane wait for the same seats."""
    since: float
    """When it was first asked for, in seconds of the queue's clock; before a hub restart even negative."""


@dataclass(frozen=True)
class Position:
    """Where a start stands; ``place`` counts from 1, and is 0 for a start that does not wait (any more)."""

    place: int
    ahead: int
    """How many come before it; in a full lane that includes those in Swarm."""
    reason: QueueReason
    estimate: float | None
    """Seconds until its turn, None while that is unknown."""
    detail: str
    """Swarm's own words with CAPACITY, else empty."""


NOT_WAITING = Position(0, 0, QueueReason.TURN, None, "")


class QueueTimeout(Exception):  # noqa: N818  # a deadline that passed, named as asyncio names it
    """A start's turn did not come before its deadline; says where it stood then, see Position."""

    def __init__(self, place: int, reason: QueueReason, detail: str = "") -> None:
        because = f"{_IN_WORDS[reason]}: {detail}" if detail else _IN_WORDS[reason]
        super().__init__(f"The start was still number {place} in the queue when its time was up ({because})")
        self.place = place
        self.reason = reason
        self.detail = detail


class Ticket:
    """The right to start one server; every method may be called again, and late.

    As a context manager it ends with the block, well if the block did.
    """

    def __init__(self, queue: StartQueue, wish: Wish, admitted_at: float) -> None:
        self.wish = wish
        self.admitted_at = admitted_at
        """Clock seconds."""
        self.was_refused = False
        """Swarm had no node for it at some time: how long it took says nothing about the swarm's pace."""
        self.is_done = False
        self._queue = queue

    @property
    def waited(self) -> float:
        """Seconds between the wish and the admission."""
        return self.admitted_at - self.wish.since

    def placed(self) -> None:
        """Swarm found a node."""
        self._queue._placed(self)

    def unplaced(self, reason: str) -> None:
        """Swarm says, in the words of ``reason``, that no node suits (yet)."""
        self._queue._unplaced(self, reason)

    def done(self, ok: bool, *, engine_failed: bool = False) -> None:
        """The start is over. ``ok``: the server runs. ``engine_failed``: Docker answered 5xx, or did not."""
        self._queue._done(self, ok, engine_failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.done(kind is None)


@dataclass(eq=False)
class _Start(Entry):
    wish: Wish
    admitted: asyncio.Future[Ticket]

    @property
    def ticket(self) -> Ticket | None:
        future = self.admitted
        return future.result() if future.done() and not future.cancelled() else None


class StartQueue:
    """One a hub process."""

    def __init__(
        self,
        clock: Callable[[], float],
        seats: int | None,
        running: Callable[[], int],
        pace: Pace | None = None,
    ) -> None:
        """``clock``: seconds, those of all deadlines and wishes. ``seats``: most servers of the hub, or None.

        ``running``: how many servers take a seat now apart from ``admitted`` starts. A server must be counted
        by the time its ticket is done.
        """
        self._clock = clock
        self._seats = seats
        self._running = running
        self._pace = pace or Pace()
        self._courses: dict[str, Course[_Start]] = {}
        self._lanes: dict[str, Lane[Ticket]] = {}
        self._tickets: dict[Ticket, None] = {}
        self._waiting = 0
        self._waiting_since = 0.0
        self._completions: deque[float] = deque()
        self._positions: dict[tuple[str, str], Position] | None = None
        self._numbers = itertools.count()
        self._recheck: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Starts that wait for their turn."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Starts that were admitted and are not done."""
        return len(self._tickets)

    @property
    def admitted(self) -> tuple[Wish, ...]:
        """Starts that were admitted and are not done, oldest first."""
        return tuple(ticket.wish for ticket in self._tickets)

    @property
    def limit(self) -> int:
        """How many starts may be in flight, not counting those that Swarm has no node for."""
        return self._pace.limit

    def lengths(self) -> Mapping[str, int]:
        """Waiting starts by course; 0 for a course that had some before."""
        return {name: len(course) for name, course in self._courses.items()}

    def use_machines(self, count: int) -> None:
        """How many machines take new servers now; the limit goes with it."""
        pace = self._pace.on(count)
        if pace is not self._pace:
            self._pace = pace
            self._pump()

    def use_seats(self, count: int) -> None:
        """How many servers the hub may have."""
        self._seats = count
        self.wake()

    def wake(self) -> None:
        """Look again who may start: called when a server has ended, its seat is taken at once."""
        self._pump()

    async def admit(self, wish: Wish, deadline: float) -> Ticket:
        """Wait for the turn of ``wish``, at most until ``deadline`` (clock seconds). Raises QueueTimeout."""
        admitted = asyncio.get_running_loop().create_future()
        start = _Start(wish.lane, (wish.since, next(self._numbers)), wish, admitted)
        self._join(start)
        if start.ticket:
            return start.ticket
        try:
            async with asyncio.timeout(max(deadline - self._clock(), 0)):
                return await start.admitted
        except TimeoutError:
            if start.ticket:
                return start.ticket
            position = self.position(wish)
            self._leave(start)
            raise QueueTimeout(position.place, position.reason, position.detail) from None
        except BaseException:
            self._leave(start)
            raise

    def position(self, wish: Wish) -> Position:
        """Where a start stands, also one that Swarm has no node for; else NOT_WAITING."""
        if self._positions is None:
            self._positions = self._all_positions()
        found = self._positions.get((wish.user, wish.server), NOT_WAITING)
        rate = self._rate() if found.place and found.reason is QueueReason.TURN else None
        return replace(found, estimate=found.place / rate) if rate else found

    # Starts that wait

    def _join(self, start: _Start) -> None:
        if not self._waiting:
            self._waiting_since = self._clock()
            self._completions.clear()
        self._courses.setdefault(start.wish.course, Course()).add(start)
        self._lanes.setdefault(start.lane, Lane()).users += 1
        self._waiting += 1
        self._pump()

    def _leave(self, start: _Start) -> None:
        """A start is given up that waits, or that was admitted a moment ago and does not know it yet."""
        if start.ticket:
            start.ticket.done(False)
        elif self._remove(start):
            self._release(start.lane)
            self._pump()

    def _remove(self, start: _Start) -> bool:
        found = self._courses[start.wish.course].remove(start)
        self._waiting -= found
        return found

    def _release(self, name: str) -> None:
        """A lane that nobody uses is forgotten, and with it that it was full."""
        self._lanes[name].users -= 1
        if not self._lanes[name].users:
            del self._lanes[name]

    # Starts in flight

    def _admit(self, start: _Start, now: float) -> None:
        self._remove(start)
        if start.admitted.cancelled():  # given up in this very turn of the loop: ``admit`` cannot know yet
            self._release(start.lane)
            return
        self._courses[start.wish.course].give(now)
        ticket = Ticket(self, start.wish, now)
        self._tickets[ticket] = self._lanes[start.lane].unplaced[ticket] = None
        start.admitted.set_result(ticket)

    def _placed(self, ticket: Ticket) -> None:
        if not ticket.is_done and self._lanes[ticket.wish.lane].place(ticket, self.limit):
            self._pump()

    def _unplaced(self, ticket: Ticket, reason: str) -> None:
        if not ticket.is_done and self._lanes[ticket.wish.lane].refuse(ticket, reason):
            ticket.was_refused = True
            self._pump()

    def _done(self, ticket: Ticket, ok: bool, engine_failed: bool) -> None:
        if ticket.is_done:
            return
        ticket.is_done = True
        now = self._clock()
        lane = self._lanes[ticket.wish.lane]
        if ok:
            lane.place(ticket, self.limit)
        lane.forget(ticket)
        del self._tickets[ticket]
        self._release(ticket.wish.lane)
        if engine_failed:
            self._pace = self._pace.failed(now, ticket.admitted_at)
        elif ok and not ticket.was_refused:
            self._pace = self._pace.completed(now)
        if not ticket.was_refused:
            self._completions.append(now)
        self._pump()

    # Turns

    def _pump(self) -> None:
        """Admit whoever may start now."""
        self._positions = None
        now = self._clock()
        others = self._running() if self._seats is not None and self._waiting else 0
        while (start := self._next(others, now)) and self._moving() < self.limit:
            self._admit(start, now)
        self._pace = self._pace.held(now) if start else self._pace.slack()
        if self._waiting and self._seats_taken(others) and self._recheck is None:
            self._recheck = asyncio.get_running_loop().call_later(SEATS_RECHECK, self._look_again)

    def _look_again(self) -> None:
        self._recheck = None
        self._pump()

    def _next(self, others: int, now: float) -> _Start | None:
        """The start that nothing but the limit may hold; ``others``: running servers."""
        if not self._waiting or self._seats_taken(others):
            return None
        return next_up(
            self._courses.values(), (name for name, lane in self._lanes.items() if lane.admits), now
        )

    def _moving(self) -> int:
        return len(self._tickets) - sum(len(lane.refused) for lane in self._lanes.values())

    def _seats_taken(self, others: int) -> bool:
        return self._seats is not None and others + len(self._tickets) >= self._seats

    # What a waiting student is told

    def _rate(self) -> float | None:
        """Starts that leave the flight per second; None while too little is known."""
        now = self._clock()
        while self._completions and self._completions[0] < now - RATE_MEMORY:
            self._completions.popleft()
        seconds = min(now - self._waiting_since, RATE_MEMORY)
        if len(self._completions) < RATE_LEAST or seconds <= 0:
            return self._pace.rate
        return len(self._completions) / seconds

    def _all_positions(self) -> dict[tuple[str, str], Position]:
        """Everybody's position without estimates: made once for a change, however many pages ask."""
        if self._seats is not None and self._seats_taken(self._running()):
            return self._positions_among(self._lanes, 0, QueueReason.SEATS, "")
        free = (name for name, lane in self._lanes.items() if lane.blocked is None)
        positions = self._positions_among(free, 0, QueueReason.TURN, "")
        for name, lane in self._lanes.items():
            if lane.blocked is None:
                continue
            positions |= self._positions_among([name], len(lane.unplaced), QueueReason.CAPACITY, lane.blocked)
            for ahead, ticket in enumerate(lane.refused):
                key = (ticket.wish.user, ticket.wish.server)
                positions[key] = Position(ahead + 1, ahead, QueueReason.CAPACITY, None, lane.blocked)
        return positions

    def _positions_among(
        self, lanes: Iterable[str], first: int, reason: QueueReason, detail: str
    ) -> dict[tuple[str, str], Position]:
        """Positions of the waiting starts of these lanes, with ``first`` others ahead of them all."""
        order = line_up(self._courses.values(), lanes, self._clock())
        return {
            (start.wish.user, start.wish.server): Position(ahead + 1, ahead, reason, None, detail)
            for ahead, start in enumerate(order, first)
        }
