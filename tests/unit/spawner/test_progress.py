"""What the page says while a server starts."""

import pytest

from swarmhub.spawner.progress import Step, preparing, starting
from swarmhub.spawner.states import Task, TaskState, server_state

ORDER = [state for state in TaskState if state.is_pending and state is not TaskState.UNKNOWN]


def step(state: str, desired: str = "running", message: str = "", node: str = "") -> Step:
    found = server_state([Task("t", "s", TaskState(state), TaskState(desired), message=message)])
    return starting(found, node)


def test_waiting_for_a_seat_gives_swarms_reason() -> None:
    reason = "no suitable node (insufficient resources on 2 nodes)"
    assert step("pending", message=reason).message == f"Waiting for a free seat: {reason}"


def test_the_worker_is_named_once_it_is_chosen() -> None:
    assert step("preparing", node="i-0abc").message == "Starting on worker i-0abc"
    assert step("starting", node="i-0abc").message == "Notebook server is starting on worker i-0abc"


def test_a_failed_attempt_is_told_with_its_reason() -> None:
    failed = step("rejected", message="no such image", node="i-0abc")
    assert failed.message == "An attempt on worker i-0abc failed, trying again: no such image"


def test_the_percentage_grows_with_swarms_states() -> None:
    percents = [step(state).percent for state in [*ORDER, TaskState.RUNNING]]
    assert percents == sorted(set(percents))
    assert preparing("x").percent < percents[0]
    assert percents[-1] < 100


@pytest.mark.parametrize("state", TaskState)
def test_every_state_has_a_message(state: TaskState) -> None:
    assert step(state).message
    assert 0 < step(state).percent < 100


def test_the_bar_never_goes_back() -> None:
    assert Step(25, "again").after(70) == Step(70, "again")
    assert Step(70, "on").after(25) == Step(70, "on")
