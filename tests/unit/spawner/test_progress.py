"""What the page says while a server starts."""

from datetime import UTC, datetime

import pytest

from swarmhub.spawner.progress import Step, about, notices, preparing, queued, starting
from swarmhub.spawner.queue import NOT_WAITING, Position, QueueReason
from swarmhub.spawner.states import SwarmTime, Task, TaskState, server_state

ORDER = [state for state in TaskState if state.is_pending and state is not TaskState.UNKNOWN]


NOBODY_FITS = (
    "no suitable node (insufficient resources on 2 nodes; scheduling constraints not satisfied on 1 node)"
)


def task(number: int, state: str, desired: str = "running", message: str = "", error: str = "") -> Task:
    created = datetime(2026, 1, 1, second=number, tzinfo=UTC)
    return Task(
        f"t{number}",
        "s",
        TaskState(state),
        TaskState(desired),
        created,
        message=error or message,
        error=error,
    )


def step(state: str, desired: str = "running", message: str = "", node: str = "", error: str = "") -> Step:
    return starting(server_state([task(1, state, desired, message, error)]), node)


def test_waiting_for_a_seat_gives_the_schedulers_reason_in_plain_words() -> None:
    assert step("pending", error=NOBODY_FITS).message == "Waiting for a free seat: 2 machines are full"


def test_the_schedulers_message_before_it_has_tried_is_no_reason() -> None:
    assert step("pending", message="pending task scheduling").message == "Waiting for a free seat"


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (("failed", "shutdown"), "The attempt before failed. Starting on worker i-2"),
        (("running", "shutdown"), "Your server moves to another machine. Starting on worker i-2"),
        (("orphaned", "shutdown"), "The machine of your server was lost. Starting on worker i-2"),
    ],
)
def test_a_start_over_says_why(before: tuple[str, str], words: str) -> None:
    state = server_state([task(1, *before), task(2, "preparing")])
    assert starting(state, "i-2").message == words


def test_a_server_without_an_address_says_so() -> None:
    now = datetime(2026, 1, 1, minute=1, tzinfo=UTC)
    state = server_state([task(1, "new")], SwarmTime(now, now))
    assert "the network seems to have none free" in starting(state, "").message


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (
            Position(7, 6, QueueReason.TURN, 38.0, ""),
            "You are number 7 in the queue; about 40 seconds. "
            "Others who pressed Start before you come first.",
        ),
        (
            Position(3, 4, QueueReason.CAPACITY, None, NOBODY_FITS),
            "You are number 3 in the queue. There is no free seat now: 2 machines are full.",
        ),
        (
            Position(1, 0, QueueReason.CAPACITY, None, ""),
            "You are number 1 in the queue. There is no free seat now.",
        ),
        (
            Position(1, 0, QueueReason.SEATS, None, ""),
            "You are number 1 in the queue. "
            "All seats of this hub are taken; the next ones that become free are for the queue.",
        ),
        (NOT_WAITING, "Asking for a seat"),
    ],
)
def test_a_place_in_the_queue_comes_with_its_reason_and_an_estimate(position: Position, message: str) -> None:
    assert queued(position).message == message


@pytest.mark.parametrize("reason", QueueReason)
def test_every_reason_to_wait_has_words(reason: QueueReason) -> None:
    assert len(queued(Position(2, 1, reason, None, "")).message) > len("You are number 2 in the queue. ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "a few seconds"),
        (9.0, "about 10 seconds"),
        (41.0, "about 50 seconds"),
        (95.0, "about 2 minutes"),
        (601.0, "about 11 minutes"),
    ],
)
def test_a_wait_is_told_as_one_says_it(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_notices_come_before_everything_else() -> None:
    (first, second) = notices(["Python 3.8 goes in March", "Your home is nearly full"])
    assert (first.message, second.message) == ("Python 3.8 goes in March", "Your home is nearly full")
    waiting = queued(Position(2, 1, QueueReason.TURN, None, ""))
    assert first.percent < preparing("x").percent < waiting.percent < step("new").percent


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
