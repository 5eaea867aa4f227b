"""How many starts may be in flight at once, learned from what the swarm manages. Pure.

Little's law (in flight = rate x time in flight) says what to look for. Below the knee every further start in
flight raises the rate of completed starts; beyond it the rate stays and each start only takes longer; further
out it falls, because starts get in each other's way. So the rate alone tells where we are, and the fewest
starts in flight that reach the best rate are the right number: the last server is ready as early as with
more, the first ones much earlier.

No model of the swarm is needed: count the completions of one generation (as many as may be in flight), go to
a neighbouring limit, count again, keep the better one. That is hill climbing on throughput, as .NET's thread
pool does it. TCP lent two habits: learn nothing while the limit does not bind (RFC 7661), and halve on
failure, once for all that was in flight then (RFC 5681). Netflix's concurrency-limits compares latencies
instead of rates: with light and heavy images in one queue, a latency says more about the image than about the
load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FEWEST = 2
"""Starts in flight per machine at the lowest step: one whose container is made, one that warms up."""
TOP = 10
"""Highest step. Two steps double the limit, so that is 64 per machine."""
FIRST = 6
"""Step to begin with: 16 per machine. Alone, a light server is ready in about a second, and raw Swarm
completes 4 to 6 a second on two small workers, fewer with 60 at once than with 30: Little's law asks for
about 6 in flight there, and 32 leave room for machines that are five times as fast."""
WORTH = 0.05
"""A higher limit must raise the rate by more than this part to be kept; less is within the noise."""
SMALLEST_WINDOW = 8
"""Completions in a measurement at least; with fewer, chance decides."""
SHORTEST_WINDOW = 1.0
"""Seconds a measurement takes at least: the watch sees completions up to 0.25 s late, several at once."""
FRESH = 300.0
"""Seconds that a measured rate is believed: machines, images and neighbours change."""


@dataclass(frozen=True)
class Measured:
    """Completed starts per second at one step, and when that was found (clock seconds)."""

    rate: float
    at: float


@dataclass(frozen=True)
class Window:
    """Completions since ``opened``, after ``skip`` more that began under another load."""

    opened: float
    skip: int
    count: int = 0


@dataclass(frozen=True)
class Pace:
    """What is known about the swarm's pace. Times are seconds of one clock, passed in."""

    machines: int = 1
    step: int = FIRST
    measured: Mapping[int, Measured] = field(default_factory=dict)
    """By step, on this number of machines."""
    window: Window | None = None
    cut_at: float = float("-inf")
    """When a failure last halved the limit."""

    @property
    def limit(self) -> int:
        """Starts that may be in flight, 2 to 64 per machine."""
        return _limit(self.machines, self.step)

    @property
    def rate(self) -> float | None:
        """Completed starts per second last measured under this limit; None while nothing is."""
        found = self.measured.get(self.step)
        return found.rate if found else None

    def on(self, machines: int) -> Pace:
        """The same limit per machine on another number of machines (one is assumed if there is none)."""
        machines = max(machines, 1)
        if machines == self.machines:
            return self
        return replace(self, machines=machines, measured={}, window=None)

    def held(self, now: float) -> Pace:
        """The limit keeps a start waiting: from now on completions show what the limit is worth."""
        if self.window is not None:
            return self
        return replace(self, window=Window(now, skip=_settling(self.limit, self.limit)))

    def slack(self) -> Pace:
        """The limit keeps nobody waiting: completions now show the demand, not what the swarm can do."""
        return self if self.window is None else replace(self, window=None)

    def completed(self, now: float) -> Pace:
        """A start became a running server; may change the limit."""
        window = self.window
        if window is None:
            return self
        if window.skip:
            return replace(self, window=Window(now, window.skip - 1))
        window = replace(window, count=window.count + 1)
        seconds = now - window.opened
        if window.count < max(self.limit, SMALLEST_WINDOW) or seconds < SHORTEST_WINDOW:
            return replace(self, window=window)
        return self._learn(window.count / seconds, now)

    def failed(self, now: float, admitted_at: float) -> Pace:
        """The engine failed a start (5xx, time-out) admitted then: halve the limit.

        Starts admitted before the last cut do not cut again: they tell the same story.
        """
        if admitted_at <= self.cut_at:
            return self
        return replace(self, step=max(self.step - 2, 0), measured={}, window=None, cut_at=now)

    def _learn(self, rate: float, now: float) -> Pace:
        known = {step: found for step, found in self.measured.items() if now - found.at < FRESH}
        if self.step in known:
            rate = (rate + known[self.step].rate) / 2
        known[self.step] = Measured(rate, now)
        step = _next_step(known)
        skip = 0 if step == self.step else _settling(self.limit, _limit(self.machines, step))
        return replace(self, step=step, measured=known, window=Window(now, skip))


def _limit(machines: int, step: int) -> int:
    return round(machines * FEWEST * 2 ** (step / 2))


def _settling(before: int, after: int) -> int:
    """Completions to let pass before measuring: what is too many now, and half a generation to get mixed.

    Right after many starts began together, they also end together, and their rate says little.
    """
    return max(before - after, 0) + after // 2


def _next_step(known: Mapping[int, Measured]) -> int:
    """The lowest step that is as good as the best one, or its neighbour if nothing is known of that one."""
    best = max(found.rate for found in known.values())
    good = min(step for step, found in known.items() if found.rate >= best * (1 - WORTH))
    if good > 0 and good - 1 not in known:
        return good - 1
    if good < TOP and good + 1 not in known:
        return good + 1
    return good
