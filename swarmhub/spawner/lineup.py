"""Who waits in which order, and what a full swarm stops: the queue's memory, without clock and tasks.

``Lane`` and ``Course`` are changed in place (500 starts may wait in them); the functions are pure.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Generic, TypeVar

SCOUTS = 2
"""Starts without a node that Swarm holds of a full lane; two, so that two seats are taken in one go."""
SHARE_MEMORY = 60.0
"""Seconds after which an admission weighs half in the share of its course."""


@dataclass(eq=False)
class Entry:
    """A start that waits; ``order``: when it was first asked for, then a number of its own."""

    lane: str
    order: tuple[float, int]


E = TypeVar("E", bound=Entry)
T = TypeVar("T", bound=Hashable)

_by_order = attrgetter("order")


@dataclass
class Lane(Generic[T]):
    """Admitted starts that want the same seats."""

    unplaced: dict[T, None] = field(default_factory=dict)
    """Those that Swarm has to find a node for, oldest first."""
    refused: dict[T, None] = field(default_factory=dict)
    """Those of them that Swarm says it has no node for."""
    blocked: str | None = None
    """Swarm's reason, from the first refusal until one is placed and nobody is refused any more."""
    allowance: int | None = None
    """How many may be unplaced; None: any number."""
    users: int = 0
    """Starts of this lane, waiting and admitted."""

    @property
    def admits(self) -> bool:
        """One more may go to Swarm."""
        return self.allowance is None or len(self.unplaced) < self.allowance

    def refuse(self, start: T, reason: str) -> bool:
        """Swarm has no node for ``start``: from now on only scouts go there. False if that is no news."""
        if start in self.refused and self.blocked == reason:
            return False
        if start not in self.refused:
            self.allowance = SCOUTS
            self.unplaced[start] = self.refused[start] = None
        self.blocked = reason
        return True

    def place(self, start: T, limit: int) -> bool:
        """Swarm found a node for ``start``. False if that is no news.

        While others are refused, that was just one seat. Else the lane opens by degrees: each placement
        allows one more, which doubles with every round, until ``limit`` would hold them anyway. One seat that
        came free shall not bring in thirty starts (TCP's slow start, for the same reason).
        """
        if start not in self.unplaced:
            return False
        self.forget(start)
        if not self.refused and self.allowance is not None:
            self.blocked = None
            self.allowance = self.allowance + 1 if self.allowance + 1 < limit else None
        return True

    def forget(self, start: T) -> None:
        """``start`` is over, or has its node."""
        self.unplaced.pop(start, None)
        self.refused.pop(start, None)


@dataclass
class Course(Generic[E]):
    """One course's waiting starts, and what it was given lately."""

    lines: dict[str, list[E]] = field(default_factory=dict)
    """By lane, oldest first; no empty lines."""
    given: float = 0.0
    given_at: float = 0.0

    def share(self, now: float) -> float:
        """Admissions lately: one counts 1 at first, half after SHARE_MEMORY seconds, and so on."""
        return float(self.given * 0.5 ** ((now - self.given_at) / SHARE_MEMORY))

    def give(self, now: float) -> None:
        """One of its starts is admitted."""
        self.given, self.given_at = self.share(now) + 1, now

    def __len__(self) -> int:
        return sum(map(len, self.lines.values()))

    def add(self, entry: E) -> None:
        """Line up; whoever asked earlier stays in front."""
        insort(self.lines.setdefault(entry.lane, []), entry, key=_by_order)

    def remove(self, entry: E) -> bool:
        """Leave the line; False if it was in none."""
        line = self.lines.get(entry.lane, [])
        at = bisect_left(line, entry.order, key=_by_order)
        if at == len(line) or line[at] is not entry:
            return False
        del line[at]
        if not line:
            del self.lines[entry.lane]
        return True

    def among(self, lanes: Iterable[str]) -> list[E]:
        """Its starts of these lanes, oldest first."""
        return list(heapq.merge(*(self.lines[lane] for lane in lanes if lane in self.lines), key=_by_order))


def next_up(courses: Iterable[Course[E]], lanes: Iterable[str], now: float) -> E | None:
    """Whose turn it is among these lanes: the oldest start of the course that was given least lately."""
    open_lanes = frozenset(lanes)
    best: tuple[float, tuple[float, int]] | None = None
    chosen: E | None = None
    for course in courses:
        heads = [line[0] for lane, line in course.lines.items() if lane in open_lanes]
        if not heads:
            continue
        head = min(heads, key=_by_order)
        rank = (course.share(now), head.order)
        if best is None or rank < best:
            best, chosen = rank, head
    return chosen


def line_up(courses: Iterable[Course[E]], lanes: Iterable[str], now: float) -> list[E]:
    """All starts of these lanes in the order in which ``next_up`` would choose them, all at once."""
    lanes = list(lanes)
    shares = [(course.share(now), course.among(lanes)) for course in courses]
    heap = [(share, entries[0].order, 0, entries) for share, entries in shares if entries]
    heapq.heapify(heap)
    order: list[E] = []
    while heap:
        share, _, at, entries = heap[0]
        order.append(entries[at])
        if at + 1 < len(entries):
            heapq.heapreplace(heap, (share + 1, entries[at + 1].order, at + 1, entries))
        else:
            heapq.heappop(heap)
    return order
