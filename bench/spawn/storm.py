"""A class starts at once: seconds until all servers are ready."""

from __future__ import annotations

from collections.abc import Iterator

from bench.cloud import hub, raw_floor, wait_until_idle
from bench.results import Measurement, Target
from bench.run import Run, all_ready, burst, case, problems, usernames, warm_up
from bench.workload import LAB, LIGHT, Workload

NAME = "storm"
LIMIT = 300
"""Seconds for one server."""
TARGETS = (
    Target(NAME, "30 light", "ours/raw", 1.15),
    Target(NAME, "60 light", "ours/raw", 1.15),
)


def measure(run: Run) -> Iterator[Measurement]:
    for contender in run.among("raw", "ours", "stock"):
        for workload, counts in ((LIGHT, run.counts), (LAB, (run.lab_count,))):
            if contender == "raw":
                yield from _raw(run, workload, counts)
            else:
                yield from _hub(run, contender, workload, counts)


def _raw(run: Run, workload: Workload, counts: tuple[int, ...]) -> Iterator[Measurement]:
    for count in counts:
        result = raw_floor(run.cloud, workload, count, cycle=False, deadline=LIMIT)
        yield _result(run, "raw", case(count, workload), *all_ready(result["first"], LIMIT))


def _hub(run: Run, contender: str, workload: Workload, counts: tuple[int, ...]) -> Iterator[Measurement]:
    with hub(run.cloud, contender, workload) as running:
        warm_up(running, LIMIT)
        wait_until_idle()
        for count in counts:
            starts = burst(running, usernames(run, "storm", count), LIMIT)
            seconds, late = all_ready([start.seconds for start in starts], LIMIT)
            note = f"{late}: {problems(starts)}" if late else ""
            yield _result(run, contender, case(count, workload), seconds, note)
            wait_until_idle()


def _result(run: Run, contender: str, what: str, seconds: float, note: str) -> Measurement:
    run.say(f"{contender}: {what} ready in {seconds:.1f} s {note}")
    return run.measured(NAME, what, "s", contender, seconds, note=note)
