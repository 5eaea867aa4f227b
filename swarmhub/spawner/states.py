"""Swarm's task states, and what all tasks of a service together say about a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from swarmhub.spawner.causes import EXIT_KILLED, Cause, named_by


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
ADDRESS_PATIENCE = timedelta(seconds=10)
"""How long a task waits for an address before that is called a full network, while other tasks move on. Swarm
gives addresses within a second, also to 60 tasks at once (FACTS 1)."""
ADDRESS_PATIENCE_ALONE = timedelta(seconds=30)
"""The same where no other task moves, so that a manager which is busy with an election is not blamed."""


class RestartCondition(StrEnum):
    """When Swarm replaces a task that ended (moby ``api/types/swarm/task.go``)."""

    NONE = "none"
    ON_FAILURE = "on-failure"
    ANY = "any"
    """Also the engine's own default."""

    @classmethod
    def _missing_(cls, _value: object) -> RestartCondition:
        # A word from the future: any, under which fewest tasks count as the end. Doubt never kills.
        return cls.ANY

    def replaces(self, state: TaskState) -> bool:
        """Whether a task that ended in ``state`` gets a successor, as long as attempts are left."""
        if self is RestartCondition.ON_FAILURE:
            return state is not TaskState.COMPLETE
        return self is RestartCondition.ANY


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
    error: str = ""
    """Swarm's error alone; a task that waits for a seat has one only once the scheduler has tried."""
    changed_at: datetime = _EPOCH
    """When it got into its state, by the clock of the manager or the worker that said so."""
    restart: RestartCondition = RestartCondition.ON_FAILURE

    @property
    def is_wanted(self) -> bool:
        """Swarm still wants this task; False once it is on its way out."""
        return self.desired.is_alive

    @property
    def is_alive(self) -> bool:
        """Its container runs or will run, wanted or not."""
        return self.state.is_alive

    @property
    def end(self) -> Cause:
        """Why this task ended; only for one that is not alive."""
        if self.state is TaskState.COMPLETE:
            return Cause.SHUT_DOWN
        if self.state is TaskState.ORPHANED:
            return Cause.LOST_NODE
        if self.state is TaskState.REJECTED:
            return named_by(self.error) or Cause.REJECTED
        if self.state is TaskState.FAILED:
            killed = Cause.OUT_OF_MEMORY if self.exit_code == EXIT_KILLED else Cause.CRASHED
            return named_by(self.error) or killed
        return Cause.STOPPED

    def address_on(self, network: str) -> str | None:
        """The task's address on that network."""
        return next((address for name, address in self.addresses if name == network), None)


def parse_task(raw: dict[str, Any]) -> Task:
    """One entry of the engine's task list."""
    status = raw.get("Status") or {}
    container = status.get("ContainerStatus") or {}
    policy = (raw.get("Spec") or {}).get("RestartPolicy") or {}
    return Task(
        id=raw["ID"],
        service_id=raw.get("ServiceID", ""),
        state=TaskState(status.get("State", "")),
        desired=TaskState(raw.get("DesiredState", "")),
        created_at=_time(raw.get("CreatedAt")),
        node_id=raw.get("NodeID") or "",
        addresses=tuple(
            (attachment["Network"]["Spec"]["Name"], address.partition("/")[0])
            for attachment in raw.get("NetworksAttachments") or ()
            for address in attachment.get("Addresses") or ()
        ),
        message=status.get("Err") or status.get("Message") or "",
        exit_code=container.get("ExitCode"),
        error=status.get("Err") or "",
        changed_at=_time(status.get("Timestamp")),
        restart=RestartCondition(policy.get("Condition") or RestartCondition.ANY),
    )


def _time(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else _EPOCH


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
    cause: Cause
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


GONE = ServerState(ServerPhase.GONE, Cause.REMOVED)


@dataclass(frozen=True)
class SwarmTime:
    """What a list says about time, to tell a slow swarm from a stuck task."""

    now: datetime
    """When the list was asked for, by the hub's clock; the hub runs on a manager."""
    last_change: datetime
    """When any task of the swarm changed its state last."""

    def has_no_address(self, task: Task) -> bool:
        """Whether the task has waited for an address for longer than it takes to get one."""
        if task.state not in (TaskState.NEW, TaskState.ALLOCATED) or task.error:
            return False
        others_move = self.last_change - task.created_at > ADDRESS_PATIENCE
        return self.now - task.created_at > (ADDRESS_PATIENCE if others_move else ADDRESS_PATIENCE_ALONE)


def server_state(tasks: Iterable[Task], time: SwarmTime | None = None) -> ServerState:
    """Derive a server's state from all tasks of its (existing) service, in any order.

    Relies on Swarm's restart supervisor: it marks an ended task as unwanted and creates its replacement in
    one transaction (moby/swarmkit ``manager/orchestrator/restart``). So an ended task that is still wanted
    will be replaced if its restart policy says so, and one that is unwanted and without a successor will not.
    Without ``time``, a task that gets no address is not told from one that is starting.
    """
    newest_first = sorted(tasks, key=lambda task: task.created_at, reverse=True)
    newest = newest_first[0] if newest_first else None
    task: Task | None
    alive = [task for task in newest_first if task.is_alive]
    wanted = [task for task in alive if task.is_wanted]
    running = [task for task in wanted if task.state is TaskState.RUNNING]
    failures = tuple(t for t in newest_first if t.state in (TaskState.FAILED, TaskState.REJECTED))
    if running:
        phase, cause, task = ServerPhase.RUNNING, Cause.RUNNING, running[0]
    elif wanted:
        phase, task = ServerPhase.PENDING, wanted[0]
        cause = _pending_cause(task, newest_first, time)
    elif alive:
        phase, cause, task = ServerPhase.STOPPING, Cause.STOPPING, alive[0]
    elif newest is None:
        phase, cause, task = ServerPhase.PENDING, Cause.STARTING, None
    elif newest.is_wanted and newest.restart.replaces(newest.state):
        phase, cause, task = ServerPhase.PENDING, _succeeding(newest), newest
    else:
        phase = ServerPhase.FINISHED if newest.state is TaskState.COMPLETE else ServerPhase.FAILED
        cause, task = newest.end, newest
    return ServerState(phase, cause, task, is_moving=len(alive) > 1, failures=failures)


def _pending_cause(task: Task, newest_first: Sequence[Task], time: SwarmTime | None) -> Cause:
    if task.state is TaskState.PENDING and task.error:
        return Cause.NO_SEAT
    if time and time.has_no_address(task):
        return Cause.NETWORK_FULL
    older = [other for other in newest_first if other.created_at < task.created_at]
    return _succeeding(older[0]) if older else Cause.STARTING


def _succeeding(before: Task) -> Cause:
    """Why a server is pending that had this task before."""
    if before.state is TaskState.ORPHANED:
        return Cause.LOST_NODE
    if before.state is TaskState.FAILED:
        return Cause.REPLACED
    if before.state is TaskState.REJECTED:
        return Cause.RESCHEDULED if before.end is Cause.RESCHEDULED else Cause.REPLACED
    return Cause.RESCHEDULED
