"""What the page says while a server starts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from swarmhub.spawner.states import ServerPhase, ServerState, TaskState

_PERCENT = {
    TaskState.NEW: 15,
    TaskState.ALLOCATED: 20,
    TaskState.PENDING: 25,
    TaskState.ASSIGNED: 40,
    TaskState.ACCEPTED: 45,
    TaskState.PREPARING: 50,
    TaskState.READY: 60,
    TaskState.STARTING: 70,
    TaskState.RUNNING: 90,
}
_BEFORE_CREATION = 5


@dataclass(frozen=True)
class Step:
    """One line of the page."""

    percent: int
    message: str

    def after(self, shown: int) -> Step:
        """This step on a bar that stands at ``shown`` already: it never goes back."""
        return Step(max(self.percent, shown), self.message)


def preparing(message: str) -> Step:
    """A step before Swarm knows of the server."""
    return Step(_BEFORE_CREATION, message)


def starting(state: ServerState, node: str) -> Step:
    """Where a server stands that Swarm knows of; ``node``: what to call its machine, empty if it has none."""
    task = state.task
    if task is None or state.phase is ServerPhase.GONE:
        return Step(_PERCENT[TaskState.NEW], "Asking for a seat")
    percent = _PERCENT.get(task.state, _PERCENT[TaskState.NEW])
    worker = f"worker {node}" if node else "a worker"
    if state.phase is ServerPhase.RUNNING:
        return Step(percent, f"Notebook server is running on {worker}, connecting you to it")
    if task.state.is_final:
        return Step(percent, f"An attempt on {worker} failed, trying again: {state.reason or task.state}")
    match task.state:
        case TaskState.NEW | TaskState.ALLOCATED | TaskState.UNKNOWN:
            message = "Asking for a seat"
        case TaskState.PENDING:
            # Swarm's message is "pending task scheduling" until it has tried, then its error says why not.
            message = (
                f"Waiting for a free seat: {state.reason}" if state.reason else "Waiting for a free seat"
            )
        case TaskState.STARTING:
            message = f"Notebook server is starting on {worker}"
        case _:
            message = f"Starting on {worker}"
    return Step(percent, message)
