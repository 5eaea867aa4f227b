"""When a start has succeeded, failed, or run out of time, and what the student is told."""

import pytest

from swarmhub.spawner.causes import Cause
from swarmhub.spawner.errors import (
    CapacityFailure,
    CrashedFailure,
    EngineFailure,
    ImageFailure,
    MemoryFailure,
    MountFailure,
    NetworkFailure,
    RejectedFailure,
    StartFailure,
)
from swarmhub.spawner.outcome import LONGEST_LOG, _failure_of, late, log_tail, running_address
from swarmhub.spawner.states import GONE, ServerState, Task, TaskState, server_state

NO_IMAGE = "No such image: registry:5000/course@sha256:0"
NO_FOLDER = 'invalid mount config for type "bind": bind source path does not exist: /srv/swarmhub/homes/ana'


def task(state: str, desired: str = "running", **more: object) -> Task:
    return Task("t", "s", TaskState(state), TaskState(desired), **more)


def test_a_running_task_gives_its_address() -> None:
    state = server_state([task("running", addresses=(("notebooks", "10.64.0.7"),))])
    assert running_address(state, "notebooks") == "10.64.0.7"


@pytest.mark.parametrize("state", ["new", "pending", "preparing", "starting"])
def test_a_server_on_its_way_is_waited_for(state: str) -> None:
    assert running_address(server_state([task(state)]), "notebooks") is None


def rejected(error: str) -> Task:
    return task("rejected", "shutdown", error=error, message=error)


@pytest.mark.parametrize(
    ("error", "failure", "reason"),
    [
        (NO_IMAGE, ImageFailure, "image"),
        (NO_FOLDER, MountFailure, "mount"),
        ("news", RejectedFailure, "rejected"),
    ],
)
def test_the_same_rejection_twice_fails_a_start_at_once(
    error: str, failure: type[StartFailure], reason: str
) -> None:
    once = [rejected(error), task("new")]
    assert running_address(server_state(once), "notebooks") is None
    with pytest.raises(failure) as raised:
        running_address(server_state([rejected(error), *once]), "notebooks")
    assert raised.value.reason == reason
    assert error in raised.value.jupyterhub_message


@pytest.mark.parametrize(
    "failed",
    [
        rejected("another reason"),
        task("failed", "shutdown", error=NO_IMAGE),
    ],
)
def test_two_failures_that_differ_are_waited_out_and_three_are_not(failed: Task) -> None:
    two = [rejected(NO_IMAGE), failed, task("new")]
    assert running_address(server_state(two), "notebooks") is None
    with pytest.raises(ImageFailure):
        running_address(server_state([rejected(NO_IMAGE), failed, rejected("x"), task("new")]), "notebooks")


def test_nodes_that_lose_their_label_do_not_fail_a_start_at_once() -> None:
    moved = rejected("assigned node no longer meets constraints")
    assert running_address(server_state([moved, moved, task("new")]), "notebooks") is None


@pytest.mark.parametrize(
    "cause", [cause for cause in Cause if cause.is_failure and cause is not Cause.REMOVED]
)
def test_every_way_to_fail_has_a_sentence_of_its_own(cause: Cause) -> None:
    ended = next(task_ for task_ in ENDED if task_.end is cause)
    sentence = _failure_of(ended).sentence
    assert [other.end for other in ENDED if _failure_of(other).sentence == sentence] == [cause]


ENDED = [
    task("orphaned"),
    task("shutdown"),
    task("failed", exit_code=1),
    task("failed", exit_code=137),
    task("failed", exit_code=137, error="task: non-zero exit (137): dockerexec: unhealthy container"),
    task("rejected", error="something new"),
    task("rejected", error=NO_IMAGE),
    task("rejected", error=NO_FOLDER),
    task("rejected", error="node is missing network attachments, ip addresses may be exhausted"),
]


def test_a_server_that_was_killed_is_told_about_memory() -> None:
    with pytest.raises(MemoryFailure, match="more memory than it may use") as raised:
        running_address(server_state([task("failed", "shutdown", exit_code=137)]), "notebooks")
    assert (raised.value.exit_code, raised.value.reason, raised.value.wants_log) == (137, "memory", True)


def test_the_last_lines_of_a_log_are_shown_clean() -> None:
    raw = (
        b"\x1b[32m[I 2026]\x1b[0m Starting\r\n"
        b"10%\r55%\r100%\n"
        b"\n   \n"
        b"http://0.0.0.0/lab?token=abcdef&x=1\n"
        b"\xff\x00ModuleNotFoundError: No module named 'nope'\n"
    )
    assert log_tail(raw, 3) == (
        "100%\nhttp://0.0.0.0/lab?token=…&x=1\n�ModuleNotFoundError: No module named 'nope'"
    )
    assert log_tail(raw, 1) == "�ModuleNotFoundError: No module named 'nope'"
    assert log_tail(b"") == ""


def test_a_long_log_is_cut_at_its_beginning() -> None:
    tail = log_tail(b"x" * 5000 + b"the end")
    assert len(tail) == LONGEST_LOG
    assert tail.endswith("the end")


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
    reason = "no suitable node (insufficient resources on 1 node)"
    error = late(server_state([task("pending", message=reason, error=reason)]), 180)
    assert error.sentence == "There was no free seat within 180 seconds: 1 machine is full. Please try again"
    assert error.jupyterhub_message == f"{error.sentence} ({reason})"
    assert (error.reason, error.status_code) == ("capacity", 503)
    assert isinstance(error, Exception)
