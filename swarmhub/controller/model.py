"""The world as one cycle of the controller sees it: frozen values that answer questions about themselves.

All times are timezone-aware UTC, all durations ``timedelta``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from swarmhub_agent.protocol import LABEL_INSTANCE, LABEL_POOL, Report

from swarmhub.spawner.states import TaskState

LABEL_NOTICE = "org.swarmhub.notice"
"""Node label: JSON list of notices, so that a restarted controller keeps the deadline."""
LABEL_REASON = "org.swarmhub.reason"
"""Node label: why *we* hold the node back; a paused node without it was paused by an operator."""

LAUNCHING_TRANSITION = "autoscaling:EC2_INSTANCE_LAUNCHING"
TERMINATING_TRANSITION = "autoscaling:EC2_INSTANCE_TERMINATING"


class MemberState(StrEnum):
    """Where an instance and its node stand, seen as one thing."""

    MANAGER = "manager"
    """A Swarm manager: shown, never touched."""
    FOREIGN = "foreign"
    """A worker that names no instance: somebody else's, never touched."""
    LAUNCHING = "launching"
    """The instance exists, its node has not joined yet."""
    JOINING = "joining"
    """The node is in the swarm; its instance or its agent is not known yet."""
    CHECKING = "checking"
    """The agent reports; the fitness checks are not all good yet."""
    ACTIVE = "active"
    """Takes servers."""
    UNFIT = "unfit"
    """Still not fit after the time allowed for checking."""
    PAUSED = "paused"
    """Held back by an operator; respected."""
    DRAINING = "draining"
    """Its instance will go; servers are moving away."""
    EMPTY = "empty"
    """Its instance will go and no server is left on it: the agent may leave."""
    LEFT = "left"
    """Its engine left the swarm."""
    LOST = "lost"
    """The swarm does not hear it, AWS has not said that its instance is gone."""
    GHOST = "ghost"
    """A node without an instance."""
    GONE = "gone"
    """An instance on its way out, without a node."""

    @property
    def is_pending(self) -> bool:
        """On its way to ACTIVE."""
        return self in {MemberState.LAUNCHING, MemberState.JOINING, MemberState.CHECKING}

    @property
    def is_alive(self) -> bool:
        """May hold running servers."""
        return self in {MemberState.ACTIVE, MemberState.PAUSED, MemberState.DRAINING, MemberState.LOST}

    @property
    def is_leaving(self) -> bool:
        """On its way out of the swarm."""
        return self in {MemberState.DRAINING, MemberState.EMPTY} or self.is_final

    @property
    def is_final(self) -> bool:
        """Nothing runs there any more; what is left is removed."""
        return self in {MemberState.LEFT, MemberState.GHOST, MemberState.GONE}

    @property
    def is_settled(self) -> bool:
        """Nothing is expected to happen soon: the loop may slow down."""
        return not (self.is_pending or self.is_leaving or self is MemberState.LOST)


@dataclass(frozen=True, slots=True)
class Settings:
    """The controller's time limits. Sources are named; everything else is DESIGN.md's."""

    report_fresh: timedelta = timedelta(seconds=15)
    """A report older than this proves nothing: agents send one every 2 s."""
    view_fresh: timedelta = timedelta(seconds=15)
    """An AWS answer older than this removes no node (three missed polls of 5 s)."""
    absence_silence: timedelta = timedelta(seconds=6)
    """A Ready node that AWS does not list is believed absent only after its agent is silent this long."""
    join_grace: timedelta = timedelta(seconds=30)
    """EC2's lists are eventually consistent: a node this young may precede its instance."""
    hard_drain_before: timedelta = timedelta(seconds=15)
    """Drain this long before the deadline: servers that found no seat elsewhere get time to save and end."""
    move_retry: timedelta = timedelta(seconds=60)
    """A move that has not happened after this long is asked for again."""
    agent_silence: timedelta = timedelta(seconds=30)
    """An empty leaving node whose agent is silent this long has its hook completed by the controller."""
    checking_limit: timedelta = timedelta(minutes=5)
    """A node not fit this long after it joined is called unfit."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Swarm node."""

    id: str
    hostname: str
    role: str
    """``worker`` or ``manager``."""
    availability: str
    """``active``, ``pause`` or ``drain``."""
    status: str
    """``ready``, ``down``, ``unknown`` or ``disconnected``."""
    address: str
    """IP address as the managers see it; for a manager that of its Swarm port."""
    labels: Mapping[str, str]
    engine_labels: Mapping[str, str]
    version: int
    created_at: datetime

    @property
    def is_worker(self) -> bool:
        return self.role == "worker"

    @property
    def is_ready(self) -> bool:
        return self.status == "ready"

    @property
    def claim(self) -> str | None:
        """The instance id this node says it is: the engine's label, or else the one we set."""
        return self.engine_labels.get(LABEL_INSTANCE) or self.labels.get(LABEL_INSTANCE) or None

    @property
    def was_activated(self) -> bool:
        """We set both labels at activation; notebook services are constrained to the second."""
        return LABEL_INSTANCE in self.labels and LABEL_POOL in self.labels


@dataclass(frozen=True, slots=True)
class Instance:
    """An EC2 instance; ``None`` where AWS did not say."""

    id: str
    group: str | None
    pool: str | None
    lifecycle_state: str | None
    """Auto Scaling's word (``Pending:Wait``, ``InService``, …, or a new one); None outside a group."""
    ec2_state: str | None
    """EC2's word: ``pending``, ``running``, ``shutting-down``, ``terminated``, ``stopping``, ``stopped``."""
    private_ip: str | None
    protected: bool = False

    @property
    def is_terminated(self) -> bool:
        return self.ec2_state in {"shutting-down", "terminated"} or self.lifecycle_state == "Terminated"

    @property
    def is_terminating(self) -> bool:
        """Terminated, or Auto Scaling has decided so (``Terminating``, ``Terminating:Wait``, …)."""
        return self.is_terminated or "Terminat" in (self.lifecycle_state or "")


@dataclass(frozen=True, slots=True)
class Hook:
    """A lifecycle hook of a group."""

    name: str
    transition: str
    heartbeat: timedelta
    """What Auto Scaling waits for a completion before it goes on by itself."""


@dataclass(frozen=True, slots=True)
class Group:
    """An Auto Scaling group of this hub."""

    name: str
    pool: str | None
    desired: int
    minimum: int
    maximum: int
    hooks: tuple[Hook, ...] = ()

    def hooks_for(self, transition: str) -> tuple[Hook, ...]:
        return tuple(hook for hook in self.hooks if hook.transition == transition)


@dataclass(frozen=True, slots=True)
class Task:
    """A Swarm task of a server."""

    id: str
    node_id: str
    """Empty while the task has no seat."""
    state: TaskState
    """Observed state."""
    desired: TaskState
    created_at: datetime
    force_update: int
    """The service's counter when this task was made: lower than the service's means "to be replaced"."""
    message: str = ""
    error: str = ""

    @property
    def is_wanted(self) -> bool:
        """Swarm wants it to run and it has not ended."""
        return self.desired.is_alive and not self.state.is_final

    @property
    def is_alive(self) -> bool:
        """Runs, may run, or has not stopped yet."""
        return self.desired.is_alive or not self.state.is_final


@dataclass(frozen=True, slots=True)
class Server:
    """A student's notebook server: one Swarm service and its tasks."""

    id: str
    name: str
    version: int
    labels: Mapping[str, str]
    force_update: int
    updated_at: datetime
    image: str = ""
    """By digest."""
    update_state: str | None = None
    """Swarm's word for the last update (``updating``, ``paused``, ``completed``, ``rollback_…``)."""
    update_started_at: datetime | None = None
    tasks: tuple[Task, ...] = ()

    @property
    def newest(self) -> Task | None:
        """The newest task that Swarm wants to run: where the server is, or is going."""
        return max((t for t in self.tasks if t.is_wanted), key=lambda t: t.created_at, default=None)


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """An agent's report and when it arrived."""

    report: Report
    received_at: datetime
    told: tuple[str, ...] | None = None
    """The images the agent knew it must hold when it reported; None: we had not said yet."""


@dataclass(frozen=True, slots=True)
class SwarmView:
    """What one look at the Swarm gave."""

    taken_at: datetime
    """Before the first request was sent."""
    nodes: tuple[Node, ...]
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class CloudView:
    """What one complete and successful look at AWS gave."""

    seen_at: datetime
    """Before the first request was sent."""
    instances: tuple[Instance, ...]
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything one cycle decides on."""

    now: datetime
    started_at: datetime
    """When this controller started: before that it heard no agent."""
    nodes: tuple[Node, ...]
    servers: tuple[Server, ...]
    instances: tuple[Instance, ...] = ()
    groups: tuple[Group, ...] = ()
    instances_seen_at: datetime | None = None
    """None: AWS has never answered."""
    reports: Mapping[str, ReceivedReport] = field(default_factory=dict)
    """By node id."""
    images_pending: frozenset[str] = frozenset()
    """Pools whose courses' images are still being resolved."""
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The images a pool's nodes must hold, by digest."""

    def instance(self, instance_id: str) -> Instance | None:
        return next((i for i in self.instances if i.id == instance_id), None)

    def group(self, name: str | None) -> Group | None:
        return next((g for g in self.groups if g.name == name), None)
