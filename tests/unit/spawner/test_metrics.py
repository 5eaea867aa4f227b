"""The spawner's figures, as JupyterHub's metrics page shows them."""

import re

import pytest
from prometheus_client import REGISTRY, generate_latest

from swarmhub.spawner import errors, metrics
from swarmhub.spawner.metrics import StartOutcome, set_queue_lengths, start_ended, task_left
from swarmhub.spawner.states import TaskState


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_figure_is_on_the_page_that_jupyterhub_serves() -> None:
    page = generate_latest(REGISTRY).decode()
    names = set(re.findall(r"^# TYPE (swarmhub_\w+) \w+$", page, re.MULTILINE))
    assert {name for name in names if not name.endswith("_created")} == {
        "swarmhub_queue_length",
        "swarmhub_queue_wait_seconds",
        "swarmhub_starts_total",
        "swarmhub_start_seconds",
        "swarmhub_start_limit",
        "swarmhub_starts_in_flight",
        "swarmhub_watch_age_seconds",
        "swarmhub_watch_failures_total",
        "swarmhub_docker_calls_total",
        "swarmhub_docker_call_failures_total",
        "swarmhub_task_state_seconds",
        "swarmhub_orphans",
    }


def test_a_start_that_worked_is_counted_with_its_time() -> None:
    before = value("swarmhub_starts_total", outcome="ready", reason=""), value("swarmhub_start_seconds_sum")
    start_ended(StartOutcome.READY, seconds=2.5)
    assert value("swarmhub_starts_total", outcome="ready", reason="") == before[0] + 1
    assert value("swarmhub_start_seconds_sum") == before[1] + 2.5


def test_a_failed_starts_time_is_not_a_start_time() -> None:
    before = value("swarmhub_start_seconds_count")
    start_ended(StartOutcome.FAILED, reason="capacity", seconds=300)
    assert value("swarmhub_start_seconds_count") == before


def test_a_reason_nobody_declared_cannot_grow_the_page() -> None:
    before = value("swarmhub_starts_total", outcome="failed", reason="other")
    start_ended(StartOutcome.FAILED, reason="user ana: disk /dev/nvme1 is full")
    assert value("swarmhub_starts_total", outcome="failed", reason="other") == before + 1


def test_each_failures_reason_is_a_label_of_its_own() -> None:
    kinds = errors.StartFailure.__subclasses__()
    assert {kind.reason for kind in kinds} == metrics.REASONS


def test_a_course_whose_queue_is_empty_again_stands_at_zero() -> None:
    set_queue_lengths({"intro": 3, "stats": 1})
    set_queue_lengths({"stats": 2})
    assert REGISTRY.get_sample_value("swarmhub_queue_length", {"course": "intro"}) == 0
    assert REGISTRY.get_sample_value("swarmhub_queue_length", {"course": "stats"}) == 2


@pytest.mark.parametrize(("seconds", "counted"), [(1.5, 1.5), (-0.2, 0.0)])
def test_time_in_a_state_is_counted_when_it_is_left(seconds: float, counted: float) -> None:
    before = value("swarmhub_task_state_seconds_sum", state="preparing")
    task_left(TaskState.PREPARING, seconds)
    assert value("swarmhub_task_state_seconds_sum", state="preparing") == pytest.approx(before + counted)
