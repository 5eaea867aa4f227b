"""What the page says while a server starts. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from swarmhub.spawner.causes import Cause, plain
from swarmhub.spawner.queue import Position, QueueReason
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
_NOTICE = 1
_BEFORE_CREATION = 5
_QUEUED = 10
_SOON = 5.0
"""Seconds below which a wait is not worth a figure."""
_LONG = 90.0
"""Seconds from which a wait is told in minutes."""


@dataclass(frozen=True)
class Step:
    """One line of the page."""

    percent: int
    message: str

    def after(self, shown: int) -> Step:
        """This step on a bar that stands at ``shown`` already: it never goes back."""
        return Step(max(self.percent, shown), self.message)


def notices(messages: Iterable[str]) -> tuple[Step, ...]:
    """What the student should know before anything else: a deprecated image, a home that is nearly full."""
    return tuple(Step(_NOTICE, message) for message in messages)


def preparing(message: str) -> Step:
    """A step before Swarm knows of the server."""
    return Step(_BEFORE_CREATION, message)


def queued(position: Position) -> Step:
    """A step of a start that waits for its turn: place, estimate and reason."""
    if position.place < 1:
        return preparing("Asking for a seat")
    wait = "" if position.estimate is None else f"; {about(position.estimate)}"
    place = f"You are number {position.place} in the queue{wait}."
    match position.reason:
        case QueueReason.TURN:
            reason = "Others who pressed Start before you come first."
        case QueueReason.SEATS:
            reason = "All seats of this hub are taken; the next ones that become free are for the queue."
        case QueueReason.CAPACITY:
            reason = (
                f"There is no free seat now: {plain(position.detail)}."
                if position.detail
                else ("There is no free seat now.")
            )
    return Step(_QUEUED, f"{place} {reason}")


def starting(state: ServerState, node: str) -> Step:
    """Where a server stands that Swarm knows of; ``node``: what to call its machine, empty if it has none."""
    task = state.task
    if task is None or state.phase is ServerPhase.GONE:
        return Step(_PERCENT[TaskState.NEW], "Asking for a seat")
    percent = _PERCENT.get(task.state, _PERCENT[TaskState.NEW])
    worker = f"worker {node}" if node else "a worker"
    if state.phase is ServerPhase.RUNNING:
        return Step(percent, f"Notebook server is starting on {worker}")
    if task.state.is_final:
        return Step(percent, f"An attempt on {worker} failed, trying again: {state.reason or task.state}")
    if state.cause is Cause.NETWORK_FULL:
        return Step(percent, "Waiting for an address: the network seems to have none free")
    again = _AGAIN.get(state.cause, "")
    match task.state:
        case TaskState.NEW | TaskState.ALLOCATED | TaskState.UNKNOWN:
            message = "Asking for a seat"
        case TaskState.PENDING:
            message = (
                f"Waiting for a free seat: {plain(task.error)}" if task.error else "Waiting for a free seat"
            )
        case TaskState.STARTING:
            message = f"Notebook server is starting on {worker}"
        case _:
            message = f"Starting on {worker}"
    return Step(percent, f"{again}{message}")


_AGAIN = {
    Cause.REPLACED: "The attempt before failed. ",
    Cause.RESCHEDULED: "Your server moves to another machine. ",
    Cause.LOST_NODE: "The machine of your server was lost. ",
}


def about(seconds: float) -> str:
    """A wait as one says it: in steps of 10 seconds, a long one in minutes; an estimate is no better."""
    if seconds < _SOON:
        return "a few seconds"
    if seconds < _LONG:
        return f"about {math.ceil(seconds / 10) * 10} seconds"
    return f"about {math.ceil(seconds / 60)} minutes"
