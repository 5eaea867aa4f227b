"""A student stops and starts again at once: is the second start as fast as the first?

A start is over when the hub calls the server ready and the server answers through the proxy, saying that it
began after the stop: stock does not wait for the old server's end, and may take its last answers for the new
one's. Stock is installed as its users install it: with aiodns, which keeps a server's old address as long as
Docker's DNS says, ten minutes. Its column is bounded by the limit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from bench.cloud import Hub, hub, raw_floor, wait_until_idle
from bench.hub_api import Observer, Start, start_one, stop_one
from bench.results import Measurement, Target, percentile
from bench.run import STOP_LIMIT, Run, problems, usernames, warm_up
from bench.workload import LAB

NAME = "stop-start"
LIMIT = 120
"""Seconds for one server; who is later counts as that."""
USERS = 10
PROBE = 0.1
"""Seconds between two requests to a server that the hub calls ready."""
TARGETS = (Target(NAME, "p95, again ÷ first", "ours", 1.2),)


def measure(run: Run) -> Iterator[Measurement]:
    count = min(USERS, run.lab_count)
    for contender in run.among("raw", "ours", "stock"):
        note = ""
        if contender == "raw":
            result = raw_floor(run.cloud, LAB, count, cycle=True, deadline=LIMIT)
            first, again = result["first"], result["again"]
        else:
            with hub(run.cloud, contender, LAB) as running:
                warm_up(running, LIMIT)
                wait_until_idle()
                starts = _cycle(running, usernames(run, "cycle", count))
            first, again = ([start.seconds for start in part] for part in starts)
            note = problems(starts[1])
        yield from _results(run, contender, first, again, note)


def _cycle(running: Hub, names: list[str]) -> tuple[list[Start], list[Start]]:
    running.api.create_users(names)
    with Observer.of(running.api, len(names)) as observer, ThreadPoolExecutor(len(names)) as pool:
        first = list(pool.map(lambda name: _start(running, observer, name), names))
        return first, list(pool.map(lambda name: _again(running, observer, name), names))


def _again(running: Hub, observer: Observer, name: str) -> Start:
    """Start again in the moment the stop is done."""
    if not stop_one(observer, name, STOP_LIMIT):
        return Start(None, "not stopped")
    return _start(running, observer, name)


def _start(running: Hub, observer: Observer, name: str) -> Start:
    """Seconds until the new server answers the student; a problem names what the hub said too early."""
    asked, begin = datetime.now(UTC), time.monotonic()
    start = start_one(observer, name, LIMIT)
    if start.seconds is None:
        return start
    problem = ""
    while time.monotonic() < begin + LIMIT:
        began = running.began_at(name)
        if began and began > asked:
            return Start(time.monotonic() - begin, problem)
        problem = "called ready while the old server answered" if began else "called ready without an answer"
        time.sleep(PROBE)
    return Start(None, problem)


def _results(
    run: Run,
    contender: str,
    first: Sequence[float | None],
    again: Sequence[float | None],
    note: str,
) -> Iterator[Measurement]:
    bounded = [[LIMIT if value is None else value for value in part] for part in (first, again)]
    figures = {percent: [percentile(part, percent) for part in bounded] for percent in (50, 95)}
    for percent, (one, two) in figures.items():
        run.say(f"{contender}: p{percent} first start {one:.1f} s, again {two:.1f} s {note}")
        yield run.measured(NAME, f"p{percent}, first start", "s", contender, one)
        yield run.measured(NAME, f"p{percent}, again", "s", contender, two, note=note)
        yield run.measured(NAME, f"p{percent}, again ÷ first", "x", contender, two / one)
        note = ""
