"""The spawner's figures at the hub's own ``/hub/metrics``.

JupyterHub serves prometheus_client's default registry there, so being registered is all it takes. Every label
has few values: courses of the configuration, words of an enum, names of the engine's API calls; never a user.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from swarmhub.spawner.states import TaskState

_WAIT_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
"""Seconds: from a start that is let through at once to a class that waits for machines to be bought."""
_START_BUCKETS = (0.5, 1, 2, 3, 5, 8, 12, 20, 30, 60, 120, 180, 300, 600)
"""Seconds: a light server on an idle swarm takes 0.7 s (FACTS 1); JupyterHub's patience ends in minutes."""
_STATE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600, 4 * 3600)
"""Seconds: tasks pass most states in a fraction of one, and run for a lesson."""

QUEUE_LENGTH = Gauge("swarmhub_queue_length", "Starts waiting for their turn or for a free seat.", ["course"])
QUEUE_WAIT_SECONDS = Histogram(
    "swarmhub_queue_wait_seconds", "How long starts waited for their turn.", buckets=_WAIT_BUCKETS
)
STARTS = Counter(
    "swarmhub_starts", "Starts that ended, by how and by the failure's reason.", ["outcome", "reason"]
)
START_SECONDS = Histogram(
    "swarmhub_start_seconds",
    "From the request to a running server, for starts that worked.",
    buckets=_START_BUCKETS,
)
START_LIMIT = Gauge("swarmhub_start_limit", "Starts that may be in flight at once, as learned.")
STARTS_IN_FLIGHT = Gauge("swarmhub_starts_in_flight", "Starts that Swarm works on now.")
WATCH_AGE_SECONDS = Gauge(
    "swarmhub_watch_age_seconds", "Age of the hub's newest task list; NaN before the first one."
)
WATCH_FAILURES = Counter("swarmhub_watch_failures", "Task lists that Docker did not answer.")
DOCKER_CALLS = Counter("swarmhub_docker_calls", "Calls to the engine's API.", ["verb"])
DOCKER_CALL_FAILURES = Counter("swarmhub_docker_call_failures", "Calls that raised an error.", ["verb"])
TASK_STATE_SECONDS = Histogram(
    "swarmhub_task_state_seconds",
    "How long tasks stayed in a state they have left.",
    ["state"],
    buckets=_STATE_BUCKETS,
)
ORPHANS = Gauge("swarmhub_orphans", "Swarm objects of this hub that belong to no server it knows.")

REASONS = frozenset(
    {
        "capacity",
        "config",
        "crashed",
        "engine",
        "image",
        "memory",
        "mount",
        "network",
        "quota",
        "rejected",
    }
)
"""What ``reason`` may be in ``swarmhub_starts_total``: those of ``errors.py``; empty where nothing failed."""


class StartOutcome(StrEnum):
    """How a start ended."""

    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The student or the hub gave up on it."""


def start_ended(outcome: StartOutcome, *, reason: str = "", seconds: float | None = None) -> None:
    """Count a start.

    ``reason``: the failure's, any other word counts as ``other``. ``seconds`` it took, counted if it worked.
    """
    STARTS.labels(outcome.value, reason if not reason or reason in REASONS else "other").inc()
    if outcome is StartOutcome.READY and seconds is not None:
        START_SECONDS.observe(seconds)


def set_queue_lengths(lengths: Mapping[str, int]) -> None:
    """Set the queue's length for each course; a course not named has nobody waiting."""
    known = {sample.labels["course"] for metric in QUEUE_LENGTH.collect() for sample in metric.samples}
    for course in known | set(lengths):
        QUEUE_LENGTH.labels(course).set(lengths.get(course, 0))


def task_left(state: TaskState, seconds: float) -> None:
    """A task has left ``state`` after ``seconds``; clocks of two machines may disagree: never below zero."""
    TASK_STATE_SECONDS.labels(state.value).observe(max(seconds, 0.0))
