"""When a start has succeeded, failed, or run out of time, and what the student is told."""

import pytest

from swarmhub.spawner.errors import (
    CapacityFailure,
    CrashedFailure,
    EngineFailure,
    ImageFailure,
    NetworkFailure,
    RejectedFailure,
    StartFailure,
)
from swarmhub.spawner.outcome import late, running_address
from swarmhub.spawner.states import GONE, ServerState, Task, TaskState, server_state


def task(state: str, desired: str = "running", **more: object) -> Task:
    return Task("t", "s", TaskState(state), TaskState(desired), **more)  # type: ignore[arg-type]


def test_a_running_task_gives_its_address() -> None:
    state = server_state([task("running", addresses=(("notebooks", "10.64.0.7"),))])
    assert running_address(state, "notebooks") == "10.64.0.7"


@pytest.mark.parametrize("state", ["new", "pending", "preparing", "starting"])
def test_a_server_on_its_way_is_waited_for(state: str) -> None:
    assert running_address(server_state([task(state)]), "notebooks") is None


def test_one_failure_is_waited_out_and_three_are_not() -> None:
    failed = task("rejected", "shutdown", message="invalid mount config")
    assert running_address(server_state([failed, task("new")]), "notebooks") is None
    with pytest.raises(RejectedFailure, match=r"No machine could start your server .*invalid mount config"):
        running_address(server_state([failed, failed, failed, task("new")]), "notebooks")


def test_a_server_that_ends_while_starting_has_crashed() -> None:
    with pytest.raises(CrashedFailure, match="ended with exit code 0 while it was starting"):
        running_address(server_state([task("complete", "shutdown", exit_code=0)]), "notebooks")


def test_a_server_removed_while_starting_is_a_failure() -> None:
    with pytest.raises(CrashedFailure, match="removed"):
        running_address(GONE, "notebooks")


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (None, EngineFailure),
        (server_state([]), NetworkFailure),
        (server_state([task("new")]), NetworkFailure),
        (server_state([task("pending")]), CapacityFailure),
        (server_state([task("preparing")]), ImageFailure),
        (server_state([task("starting")]), CrashedFailure),
        (server_state([task("rejected", "shutdown"), task("new")]), RejectedFailure),
    ],
)
def test_a_start_out_of_time_is_named_by_where_it_got_stuck(
    state: ServerState | None, failure: type[StartFailure]
) -> None:
    assert type(late(state, 180)) is failure


def test_the_student_reads_swarms_reason() -> None:
    error = late(server_state([task("pending", message="no suitable node")]), 180)
    assert error.jupyterhub_message == (
        "There was no free seat within 180 seconds; please try again (no suitable node)"
    )
    assert (error.reason, error.status_code) == ("capacity", 503)
    assert isinstance(error, Exception)
