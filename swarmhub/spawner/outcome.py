"""What a starting server's state means for its start: it runs, it waits, or it has failed. Pure."""

from __future__ import annotations

from swarmhub.spawner.errors import (
    CapacityFailure,
    CrashedFailure,
    EngineFailure,
    ImageFailure,
    NetworkFailure,
    RejectedFailure,
    StartFailure,
)
from swarmhub.spawner.states import ServerPhase, ServerState, Task, TaskState

MAX_ATTEMPTS = 3
"""Failed tasks after which a start is given up: one may be a bad machine's fault, three on end are not."""


def running_address(state: ServerState, network: str) -> str | None:
    """The address of a server that runs, None while it is on its way; StartFailure if it never will."""
    task = state.task
    if state.phase is ServerPhase.RUNNING and task is not None:
        return task.address_on(network)
    if state.phase is ServerPhase.GONE:
        raise CrashedFailure("Your server was removed while it was starting")
    if len(state.failures) >= MAX_ATTEMPTS:
        raise _failure_of(state.failures[0])
    if state.phase.is_final and task is not None:
        raise _failure_of(task)
    return None


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
        return CapacityFailure(f"There was no free seat {within}; please try again", task.message)
    if task.state in (TaskState.ASSIGNED, TaskState.ACCEPTED, TaskState.PREPARING):
        return ImageFailure(f"A machine did not get your course's image ready {within}", task.message)
    return CrashedFailure(f"Your notebook server did not answer {within}", task.message)


def _failure_of(task: Task) -> StartFailure:
    if task.state is TaskState.REJECTED:
        return RejectedFailure("No machine could start your server", task.message)
    code = "" if task.exit_code is None else f" with exit code {task.exit_code}"
    return CrashedFailure(f"Your notebook server ended{code} while it was starting", task.message)
