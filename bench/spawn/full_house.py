"""More servers at once than a class has students: does everybody get one, is anybody refused?"""

from __future__ import annotations

from collections.abc import Iterator

from bench.cloud import hub, raw_floor
from bench.results import Measurement, Target
from bench.run import Run, all_ready, burst, case, problems, usernames, warm_up
from bench.workload import LIGHT

NAME = "full-house"
LIMIT = 295
"""Seconds for one server; the hubs' own limit is 300."""
TARGETS = (
    Target(NAME, "120 light: not ready", "ours", 0),
    Target(NAME, "120 light: refused", "ours", 0),
)


def measure(run: Run) -> Iterator[Measurement]:
    what = case(run.full, LIGHT)
    for contender in run.among("raw", "ours"):
        note, refused = "", 0
        if contender == "raw":
            seconds = raw_floor(run.cloud, LIGHT, run.full, cycle=False, deadline=LIMIT)["first"]
        else:
            with hub(run.cloud, contender, LIGHT) as running:
                warm_up(running, LIMIT)
                starts = burst(running, usernames(run, "full", run.full), LIMIT)
            seconds = [start.seconds for start in starts]
            refused = sum(start.is_refused for start in starts)
            note = problems(starts)
        last, _ = all_ready(seconds, LIMIT)
        missing = sum(value is None for value in seconds)
        run.say(f"{contender}: {what} in {last:.1f} s, {missing} not ready, {refused} refused {note}")
        yield run.measured(NAME, f"{what}: all ready", "s", contender, last)
        yield run.measured(NAME, f"{what}: not ready", "", contender, missing, note=note)
        if contender != "raw":
            yield run.measured(NAME, f"{what}: refused", "", contender, refused)
