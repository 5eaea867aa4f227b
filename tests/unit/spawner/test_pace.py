"""The learned limit, against simulated swarms: their rate of work depends on how many starts share it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from swarmhub.spawner.pace import FRESH, TOP, Measured, Pace

TICK = 0.1
WATCH_LAG = 0.25
Rate = Callable[[int], float]
"""Starts per second that a swarm completes, from how many are in flight."""


def shared(rate: float) -> Rate:
    """Processor sharing: the work is shared by all that are in flight, its rate stays."""
    return lambda _: rate


def parallel(rate: float, knee: int) -> Rate:
    """Each start has a fixed speed, until ``knee`` of them use all there is."""
    return lambda in_flight: rate * min(1.0, in_flight / knee)


def thrashing(rate: float, knee: int, steepness: float) -> Rate:
    """Beyond ``knee`` the starts get in each other's way."""
    return lambda in_flight: rate * min(1.0, (knee / max(in_flight, 1)) ** steepness)


@dataclass(frozen=True)
class Storm:
    """What came of many starts asked for at once."""

    seconds: float
    pace: Pace
    mean: float
    """Seconds until a server was ready, on average."""


def storm(starts: int, rate: Rate, pace: Pace, *, constant: int = 0, alone: float = 0.5) -> Storm:
    """Run ``starts`` starts under ``pace`` or a constant limit; ``alone``: seconds without any load."""
    chance = random.Random(1)
    now = next_look = waited = 0.0
    waiting, ready = starts, 0
    in_flight: list[list[float]] = []
    unseen = 0
    while ready < starts:
        limit = constant or pace.limit
        while waiting and len(in_flight) + unseen < limit:
            in_flight.append([alone * chance.uniform(0.8, 1.2), chance.uniform(0.8, 1.2)])
            waiting -= 1
        pace = pace.held(now) if waiting else pace.slack()
        working = [start for start in in_flight if start[0] <= 0]
        share = rate(len(in_flight)) * TICK / len(working) if working else 0.0
        for start in in_flight:
            if start[0] > 0:
                start[0] -= TICK
            else:
                start[1] -= share
        now += TICK
        still = [start for start in in_flight if start[1] > 0]
        unseen += len(in_flight) - len(still)
        in_flight = still
        if now >= next_look:
            next_look = now + WATCH_LAG
            for _ in range(unseen):
                pace = pace.completed(now)
            ready, waited, unseen = ready + unseen, waited + unseen * now, 0
    return Storm(now, pace, waited / starts)


def best_constant(starts: int, rate: Rate) -> float:
    """Seconds that the storm takes under the best of many constant limits."""
    return min(storm(starts, rate, Pace(), constant=limit).seconds for limit in (4, 8, 16, 32, 64, 128))


@pytest.mark.parametrize(
    ("starts", "rate"),
    [
        pytest.param(120, shared(5), id="lab of 120, two small workers"),
        pytest.param(120, shared(2), id="lab of 120, slow images"),
        pytest.param(500, shared(5), id="500, two small workers"),
        pytest.param(500, parallel(5, 8), id="500, fixed speed each"),
        pytest.param(500, thrashing(5, 16, 0.5), id="500, thrashing beyond 16"),
        pytest.param(3000, thrashing(5, 16, 1.0), id="3000, thrashing badly beyond 16"),
        pytest.param(3000, thrashing(5, 8, 0.5), id="3000, thrashing beyond 8"),
    ],
)
def test_a_storm_takes_at_most_a_tenth_longer_than_under_the_best_constant(starts: int, rate: Rate) -> None:
    assert storm(starts, rate, Pace(machines=2)).seconds <= 1.1 * best_constant(starts, rate)


@pytest.mark.parametrize("rate", [shared(20), parallel(20, 64)])
def test_machines_faster_than_expected_cost_a_climb_once(rate: Rate) -> None:
    first = storm(500, rate, Pace(machines=2))
    assert first.seconds <= 1.5 * best_constant(500, rate)
    assert storm(500, rate, first.pace).seconds <= 1.1 * best_constant(500, rate)


def test_what_thrashing_taught_is_kept_for_the_next_storm() -> None:
    rate = thrashing(5, 8, 1.0)
    taught = storm(500, rate, Pace(machines=2)).pace
    assert storm(120, rate, taught).seconds < 0.5 * storm(120, rate, Pace(machines=2)).seconds
    assert 5 <= taught.limit <= 12


def test_where_many_are_needed_in_flight_the_limit_rises() -> None:
    assert storm(1000, parallel(20, 64), Pace(machines=2)).pace.limit >= 64


def test_fewer_in_flight_with_the_same_rate_are_preferred_because_the_first_are_ready_earlier() -> None:
    everyone_at_once = storm(120, shared(5), Pace(), constant=128)
    paced = storm(120, shared(5), Pace(machines=2))
    assert paced.mean < 0.75 * everyone_at_once.mean


@pytest.mark.parametrize("machines", [0, 1, 2, 10])
def test_sixteen_a_machine_to_begin_with(machines: int) -> None:
    assert Pace().on(machines).limit == 16 * max(machines, 1)


@pytest.mark.parametrize("machines", [1, 2, 7])
def test_never_fewer_than_two_nor_more_than_64_a_machine(machines: int) -> None:
    assert [Pace(machines, step=step).limit for step in (0, TOP)] == [2 * machines, 64 * machines]
    pace = Pace(machines)
    for now in range(20):
        pace = pace.failed(now + 0.5, now)
    assert pace.limit == 2 * machines
    endless = storm(2000, lambda in_flight: 5.0 * in_flight, Pace(1))
    assert endless.pace.limit == 64


def test_completions_teach_nothing_while_the_limit_keeps_nobody_waiting() -> None:
    pace = Pace()
    for now in range(500):
        pace = pace.slack().completed(float(now))
    assert pace == Pace()


def test_slack_in_between_begins_the_measurement_anew() -> None:
    pace = Pace().held(0)
    for now in range(20):
        pace = pace.completed(float(now))
    assert pace.window is not None
    assert pace.window.count > 0
    again = pace.slack().held(100)
    assert again.window is not None
    assert again.window.count == 0
    assert again.window.opened == 100


def test_failures_of_one_generation_halve_the_limit_once() -> None:
    pace = Pace(machines=2).failed(10, admitted_at=5)
    assert pace.limit == 16
    assert pace.failed(11, admitted_at=6).limit == 16
    assert pace.failed(12, admitted_at=10.5).limit == 8


def test_after_a_failure_the_limit_climbs_again_if_that_pays() -> None:
    cut = Pace(machines=2).failed(1, admitted_at=0).failed(3, admitted_at=2)
    assert cut.limit == 8
    assert storm(500, parallel(20, 32), cut).pace.limit >= 23


def test_other_machines_keep_the_limit_per_machine_and_forget_the_rates() -> None:
    taught = storm(500, thrashing(5, 8, 1.0), Pace(machines=2)).pace
    assert taught.measured
    assert taught.on(2) is taught
    more = taught.on(4)
    assert more.limit == pytest.approx(2 * taught.limit, abs=1)
    assert not more.measured


def generation(pace: Pace, now: float, every: float = 1.0) -> Pace:
    """Complete starts from ``now`` on until something is learned of them."""
    seen, pace = pace.measured, pace.held(now)
    for completion in range(1, 200):
        pace = pace.completed(now + completion * every)
        if pace.measured is not seen:
            return pace
    raise AssertionError("a generation must teach something")


def test_a_limit_measured_again_is_believed_half() -> None:
    worse = {step: Measured(0.1, 0) for step in (5, 7)}
    once = generation(Pace(measured=worse), 0, every=1.0)
    twice = generation(once.slack(), 50, every=0.5)
    assert once.step == twice.step == 6
    assert [pace.rate for pace in (once, twice)] == pytest.approx([1.0, 1.5], rel=0.05)


def test_old_rates_are_not_believed() -> None:
    pace = generation(Pace(), 0)
    soon = generation(pace, 150)
    assert set(soon.measured) == {6, 5}
    later = generation(pace.slack(), 150 + FRESH)
    assert set(later.measured) == {5}
