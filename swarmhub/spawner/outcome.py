"""What a starting server's state means for its start: it runs, it waits, or it has failed. Pure."""

from __future__ import annotations

import re

from swarmhub.spawner.causes import Cause, plain
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
from swarmhub.spawner.states import ServerPhase, ServerState, Task, TaskState

MAX_ATTEMPTS = 3
"""Failed tasks after which a start is given up: one may be a bad machine's fault, three on end are not."""
SAME_REJECTIONS = 2
"""Rejections on end with the very same error after which a start is given up: the next would be the same."""
LONGEST_LOG = 1500
"""Characters of a server's log that a person is shown at most."""

_FAILURES: dict[Cause, tuple[type[StartFailure], str]] = {
    Cause.IMAGE: (ImageFailure, "The machines cannot get your course's image"),
    Cause.MOUNT: (
        MountFailure,
        "A folder that your server needs is missing on the machine it was to start on",
    ),
    Cause.NETWORK_FULL: (NetworkFailure, "The network had no free address for your server"),
    Cause.REJECTED: (RejectedFailure, "No machine could start your server"),
    Cause.RESCHEDULED: (RejectedFailure, "Your server was moved away from each machine it was to start on"),
    Cause.UNHEALTHY: (CrashedFailure, "Your notebook server started, but did not answer"),
    Cause.OUT_OF_MEMORY: (
        MemoryFailure,
        "Your notebook server was stopped while it was starting, most likely because it needed more memory "
        "than it may use",
    ),
    Cause.LOST_NODE: (CrashedFailure, "The machine of your server was lost while it was starting"),
    Cause.STOPPED: (CrashedFailure, "Your server was stopped while it was starting"),
}
"""What a student is told of each way in which a task ends, except an exit code."""


def running_address(state: ServerState, network: str) -> str | None:
    """The address of a server that runs, None while it is on its way; StartFailure if it never will."""
    task = state.task
    if state.phase is ServerPhase.RUNNING and task is not None:
        return task.address_on(network)
    if state.phase is ServerPhase.GONE:
        raise CrashedFailure("Your server was removed while it was starting")
    if len(state.failures) >= MAX_ATTEMPTS or _are_the_same(state.failures[:SAME_REJECTIONS]):
        raise _failure_of(state.failures[0])
    if state.phase.is_final and task is not None:
        raise _failure_of(task)
    return None


def _are_the_same(failures: tuple[Task, ...]) -> bool:
    return (
        len(failures) == SAME_REJECTIONS
        and all(task.state is TaskState.REJECTED for task in failures)
        and len({task.error for task in failures}) == 1
        # That a node lost its label says nothing about the next one.
        and failures[0].end is not Cause.RESCHEDULED
    )


def late(state: ServerState | None, seconds: float) -> StartFailure:
    """The failure of a start that ran out of time, from where it got stuck; None: nothing was heard of it."""
    within = f"within {seconds:.0f} seconds"
    if state is None:
        return EngineFailure(f"Docker did not report on your server {within}")
    task = state.task
    if state.failures:
        return _failure_of(state.failures[0])
    if task is None or task.state in (TaskState.NEW, TaskState.ALLOCATED):
        return NetworkFailure(f"The network had no free address for your server {within}")
    if task.state is TaskState.PENDING:
        why = f": {plain(task.error)}" if task.error else ""
        return CapacityFailure(f"There was no free seat {within}{why}. Please try again", task.message)
    if task.state in (TaskState.ASSIGNED, TaskState.ACCEPTED, TaskState.PREPARING):
        return ImageFailure(f"A machine did not get your course's image ready {within}", task.message)
    return CrashedFailure(f"Your notebook server did not answer {within}", task.message)


def _failure_of(task: Task) -> StartFailure:
    known = _FAILURES.get(task.end)
    if known:
        kind, sentence = known
        return kind(sentence, task.message, exit_code=task.exit_code)
    code = "" if task.exit_code is None else f" with exit code {task.exit_code}"
    return CrashedFailure(
        f"Your notebook server ended{code} while it was starting", task.message, exit_code=task.exit_code
    )


_UNREADABLE = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f]"
)
_TOKEN = re.compile(r"(token=)[^\s&\"']+")


def log_tail(raw: bytes, lines: int = 8) -> str:
    """The last lines of a server's output, for people.

    ``raw``: output as docker-py gives it, stdout and stderr in one. Colours and control characters are taken
    out, and tokens in addresses; at most ``lines`` lines that are not empty, and ``LONGEST_LOG`` characters.
    """
    # A progress bar goes back to the start of its line: what stands there in the end counts.
    text = raw.decode(errors="replace").replace("\r\n", "\n")
    shown = [_UNREADABLE.sub("", line.rpartition("\r")[2]).rstrip() for line in text.split("\n")]
    tail = "\n".join([line for line in shown if line][-lines:])
    tail = _TOKEN.sub(r"\1…", tail)
    return tail if len(tail) <= LONGEST_LOG else f"…{tail[-LONGEST_LOG + 1 :]}"
