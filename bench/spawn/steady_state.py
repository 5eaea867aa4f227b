"""Nothing happens for a minute: how often is Docker asked, with few servers and with many?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.cloud import counted_engine, hub
from bench.hub_api import Observer, start_all
from bench.results import Measurement, Target
from bench.run import Run, all_ready, case, usernames
from bench.workload import LIGHT

NAME = "steady-state"
START_LIMIT = 295
SETTLE = 45
"""Seconds after the last start: ours looks more often for 30 s after a change."""
MINUTE = 60
TARGETS = (Target(NAME, "most ÷ fewest servers", "ours", 1.2),)


def measure(run: Run) -> Iterator[Measurement]:
    for contender in run.among("ours", "stock"):
        with (
            counted_engine(run.cloud) as (socket, counts),
            hub(run.cloud, contender, LIGHT, socket) as running,
        ):
            rates, already = [], 0
            for count in run.steady_counts:
                names = usernames(run, "steady", count)[already:]
                running.api.create_users(names)
                with Observer.of(running.api, len(names)) as observer:
                    starts = start_all(observer, names, START_LIMIT)
                _, note = all_ready([start.seconds for start in starts], START_LIMIT)
                already = count
                time.sleep(SETTLE)
                before, begin = counts(), time.monotonic()
                time.sleep(MINUTE)
                after, minutes = counts(), (time.monotonic() - begin) / 60
                calls = {verb: (n - before.get(verb, 0)) / minutes for verb, n in after.items()}
                detail = {verb: round(rate, 1) for verb, rate in calls.items() if rate}
                rates.append(sum(calls.values()))
                run.say(f"{contender}: {case(count, LIGHT)}: {rates[-1]:.0f} calls a minute {detail} {note}")
                yield run.measured(
                    NAME, case(count, LIGHT), "/min", contender, rates[-1], note=note, detail=detail
                )
            if rates[0]:
                yield run.measured(NAME, "most ÷ fewest servers", "x", contender, rates[-1] / rates[0])
