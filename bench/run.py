"""What a benchmark is given to run with, and what the benchmarks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.cloud import Cloud, Hub
from bench.hub_api import Observer, Start, start_all, stop_all
from bench.results import Measurement
from bench.workload import Workload

STOP_LIMIT = 90
"""Seconds for a stop: ours waits 45 s at most."""


@dataclass(frozen=True)
class Run:
    """One round of one benchmark."""

    cloud: Cloud
    contenders: tuple[str, ...]
    """In the order of this round; a benchmark leaves out those that it has nothing for."""
    counts: tuple[int, ...]
    """Light servers at once."""
    lab_count: int
    """JupyterLab servers at once."""
    steady_counts: tuple[int, ...]
    """Light servers while nothing happens, ascending; the last also for a restart of the hub."""
    full: int
    """Light servers for the full house."""
    round: int
    say: Callable[[str], None]
    """Progress, a line each."""

    def among(self, *contenders: str) -> list[str]:
        return [contender for contender in self.contenders if contender in contenders]

    def measured(
        self,
        benchmark: str,
        what: str,
        unit: str,
        contender: str,
        value: float,
        *,
        note: str = "",
        detail: Mapping[str, float] | None = None,
    ) -> Measurement:
        return Measurement(benchmark, what, unit, contender, self.round, value, note, detail or {})


def usernames(run: Run, label: str, count: int) -> list[str]:
    """Names that no earlier run of this hub used: a start is a first start."""
    return [f"{label}{run.round}-{count}-{number}" for number in range(count)]


def warm_up(hub: Hub, limit: float) -> None:
    """The first start pays for imports and connections."""
    burst(hub, ["warm"], limit)


def burst(hub: Hub, names: Sequence[str], limit: float) -> list[Start]:
    """Start all at once, then stop them."""
    hub.api.create_users(names)
    with Observer.of(hub.api, len(names)) as observer:
        starts = start_all(observer, names, limit)
        stop_all(observer, names, STOP_LIMIT)
    return starts


def all_ready(seconds: Sequence[float | None], limit: float) -> tuple[float, str]:
    """Seconds until the last of them, and what to say if some did not come: then ``limit``."""
    missing = sum(value is None for value in seconds)
    if missing:
        return limit, f"{missing} of {len(seconds)} not ready within {limit:g} s"
    return max(value for value in seconds if value is not None), ""


def problems(starts: Sequence[Start]) -> str:
    """``2 refused (HTTP 429), 1 late``; empty if there were none."""
    found = [start.problem for start in starts if start.problem]
    return ", ".join(f"{found.count(problem)} {problem}" for problem in dict.fromkeys(found))


def case(count: int, workload: Workload) -> str:
    return f"{count} {workload.name}"
