"""Swarm's task states, and what all tasks of a service together say about a server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class TaskState(StrEnum):
    """Every state a task can be in or can be wanted in (moby ``api/types/swarm/task.go``)."""

    NEW = "new"
    ALLOCATED = "allocated"
    PENDING = "pending"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    PREPARING = "preparing"
    READY = "ready"
    STARTING = "starting"
    RUNNING = "running"
    COMPLETE = "complete"
    SHUTDOWN = "shutdown"
    FAILED = "failed"
    REJECTED = "rejected"
    REMOVE = "remove"
    ORPHANED = "orphaned"
    UNKNOWN = "unknown"
    """A word this version does not know: counted as pending, because doubt never kills."""

    @classmethod
    def _missing_(cls, _value: object) -> TaskState:
        return cls.UNKNOWN

    @property
    def is_final(self) -> bool:
        """The task's container will never run (again)."""
        return self in _FINAL

    @property
    def is_pending(self) -> bool:
        """On its way to running."""
        return not self.is_final and self is not TaskState.RUNNING

    @property
    def is_alive(self) -> bool:
        """Running or on its way there. As a desired state: Swarm wants this task."""
        return not self.is_final


_FINAL = frozenset(
    {
        TaskState.COMPLETE,
        TaskState.SHUTDOWN,
        TaskState.FAILED,
        TaskState.REJECTED,
        TaskState.REMOVE,
        TaskState.ORPHANED,
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Task:
    """One task, as far as anybody here needs it."""

    id: str
    service_id: str
    state: TaskState
    desired: TaskState
    created_at: datetime = _EPOCH
    node_id: str = ""
    """Empty until the scheduler has chosen a node."""
    addresses: tuple[tuple[str, str], ...] = ()
    """(network name, IPv4 address) pairs."""
    message: str = ""
    """Swarm's own sentence about the state; its error where there is one."""
    exit_code: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Swarm still wants this task; False once it is on its way out."""
        return self.desired.is_alive

    @property
    def is_alive(self) -> bool:
        """Its container runs or will run, wanted or not."""
        return self.state.is_alive

    def address_on(self, network: str) -> str | None:
        """The task's address on that network."""
        return next((address for name, address in self.addresses if name == network), None)


def parse_task(raw: dict[str, Any]) -> Task:
    """One entry of the engine's task list."""
    status = raw.get("Status") or {}
    container = status.get("ContainerStatus") or {}
    return Task(
        id=raw["ID"],
        service_id=raw.get("ServiceID", ""),
        state=TaskState(status.get("State", "")),
        desired=TaskState(raw.get("DesiredState", "")),
        created_at=datetime.fromisoformat(raw["CreatedAt"]) if raw.get("CreatedAt") else _EPOCH,
        node_id=raw.get("NodeID") or "",
        addresses=tuple(
            (attachment["Network"]["Spec"]["Name"], address.partition("/")[0])
            for attachment in raw.get("NetworksAttachments") or ()
            for address in attachment.get("Addresses") or ()
        ),
        message=status.get("Err") or status.get("Message") or "",
        exit_code=container.get("ExitCode"),
    )


class ServerPhase(StrEnum):
    """Where a server stands."""

    PENDING = "pending"
    """Starting, or being replaced: Swarm wants a task that does not run yet."""
    RUNNING = "running"
    """A wanted task runs (and is healthy: Swarm reports it as running only then)."""
    STOPPING = "stopping"
    """Nothing is wanted any more, but a container still runs."""
    FINISHED = "finished"
    """The server ended by itself without an error: the student shut it down."""
    FAILED = "failed"
    """It ended with an error and Swarm will not start it again."""
    GONE = "gone"
    """There is no such service."""

    @property
    def is_pending(self) -> bool:
        """Expected to run soon."""
        return self is ServerPhase.PENDING

    @property
    def is_alive(self) -> bool:
        """There is, or will be, a server."""
        return self in (ServerPhase.PENDING, ServerPhase.RUNNING, ServerPhase.STOPPING)

    @property
    def is_final(self) -> bool:
        """Swarm does nothing more for it."""
        return not self.is_alive


@dataclass(frozen=True)
class ServerState:
    """What all tasks of a server's service say together."""

    phase: ServerPhase
    task: Task | None = None
    """The task to look at: the newest one running, else the newest one that matters."""
    is_moving: bool = False
    """More than one container of this server exists or is about to."""
    failures: tuple[Task, ...] = ()
    """Tasks that failed or were rejected, newest first (Swarm keeps the last five)."""

    @property
    def exit_status(self) -> int | None:
        """JupyterHub's ``poll()`` answer: None while alive, else an exit code."""
        if self.phase.is_alive:
            return None
        if self.phase is ServerPhase.FAILED:
            return (self.task.exit_code if self.task else None) or 1
        return 0

    @property
    def reason(self) -> str:
        """Swarm's sentence about the task, empty if there is none."""
        return self.task.message if self.task else ""


GONE = ServerState(ServerPhase.GONE)


def server_state(tasks: Iterable[Task]) -> ServerState:
    """Derive a server's state from all tasks of its (existing) service, in any order.

    Relies on Swarm's restart supervisor: it marks an ended task as unwanted and creates its replacement in
    one transaction (moby/swarmkit ``manager/orchestrator/restart``). So an ended task that is still wanted
    will be replaced, and one that is unwanted and without a successor will not.
    """
    newest_first = sorted(tasks, key=lambda task: task.created_at, reverse=True)
    newest = newest_first[0] if newest_first else None
    task: Task | None
    alive = [task for task in newest_first if task.is_alive]
    wanted = [task for task in alive if task.is_wanted]
    running = [task for task in wanted if task.state is TaskState.RUNNING]
    if running:
        phase, task = ServerPhase.RUNNING, running[0]
    elif wanted:
        phase, task = ServerPhase.PENDING, wanted[0]
    elif alive:
        phase, task = ServerPhase.STOPPING, alive[0]
    elif newest and newest.state is TaskState.COMPLETE:
        phase, task = ServerPhase.FINISHED, newest
    elif newest is None or newest.is_wanted:
        phase, task = ServerPhase.PENDING, newest
    else:
        phase, task = ServerPhase.FAILED, newest
    failures = tuple(t for t in newest_first if t.state in (TaskState.FAILED, TaskState.REJECTED))
    return ServerState(phase, task, is_moving=len(alive) > 1, failures=failures)
