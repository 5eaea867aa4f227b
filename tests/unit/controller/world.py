"""A small fleet for the tests: all is good unless a test says otherwise. Times are relative to NOW."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from swarmhub_agent.protocol import (
    LABEL_INSTANCE,
    LABEL_POOL,
    AgentPhase,
    Check,
    Notice,
    NoticeKind,
    Report,
)

from swarmhub.controller.model import (
    LAUNCHING_TRANSITION,
    TERMINATING_TRANSITION,
    Fleet,
    Group,
    Hook,
    Instance,
    Node,
    ReceivedReport,
    Server,
    Settings,
    Task,
)
from swarmhub.spawner.states import TaskState

NOW = datetime(2026, 3, 2, 10, 0, 0, tzinfo=UTC)
SETTINGS = Settings()
GOOD = (Check(name="disk", ok=True, detail="40 % free"),)
BAD = (Check(name="efs", ok=False, detail="/srv/swarmhub is not mounted"),)
ACTIVE_LABELS = {LABEL_INSTANCE: "i-1", LABEL_POOL: "cpu"}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def ahead(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def node(number: int = 1, **changes: Any) -> Node:
    """A worker that was activated, of instance ``i-<number>``."""
    made = Node(
        id=f"node{number}",
        hostname=f"host{number}",
        role="worker",
        availability="active",
        status="ready",
        address=f"10.0.0.{number}",
        labels={LABEL_INSTANCE: f"i-{number}", LABEL_POOL: "cpu"},
        engine_labels={LABEL_INSTANCE: f"i-{number}", LABEL_POOL: "cpu"},
        version=7,
        created_at=ago(3600),
    )
    return replace(made, **changes)


def joined(number: int = 1, **changes: Any) -> Node:
    """A worker that has joined paused a minute ago and was never activated."""
    return node(number, **{"availability": "pause", "labels": {}, "created_at": ago(60), **changes})


def manager() -> Node:
    return node(9, role="manager")


def instance(number: int = 1, **changes: Any) -> Instance:
    made = Instance(
        id=f"i-{number}",
        group="swarmhub-lab-cpu",
        pool="cpu",
        lifecycle_state="InService",
        ec2_state="running",
        private_ip=f"10.0.0.{number}",
    )
    return replace(made, **changes)


def group(**changes: Any) -> Group:
    hooks = (
        Hook("up", LAUNCHING_TRANSITION, timedelta(seconds=600)),
        Hook("down", TERMINATING_TRANSITION, timedelta(seconds=300)),
    )
    return replace(Group("swarmhub-lab-cpu", "cpu", 2, 0, 5, hooks), **changes)


def report(
    number: int = 1, *, at: datetime | None = None, told: tuple[str, ...] | None = (), **changes: Any
) -> ReceivedReport:
    values: dict[str, Any] = {
        "agent_version": "1",
        "instance_id": f"i-{number}",
        "pool": "cpu",
        "phase": AgentPhase.MEMBER,
        "checks": GOOD,
        **changes,
    }
    return ReceivedReport(Report(**values), at or ago(5), told)


def spot(in_seconds: float = 120) -> Notice:
    return Notice(kind=NoticeKind.SPOT, deadline=ahead(in_seconds), seen_at=ago(1))


def task(node_id: str = "node1", **changes: Any) -> Task:
    made = Task(
        id=f"task-{node_id}",
        node_id=node_id,
        state=TaskState.RUNNING,
        desired=TaskState.RUNNING,
        created_at=ago(1000),
        force_update=0,
    )
    return replace(made, **changes)


def server(*tasks: Task, **changes: Any) -> Server:
    made = Server(
        id="service1",
        name="lab-ada",
        version=3,
        labels={"org.swarmhub.user": "ada", "org.swarmhub.course": "intro"},
        force_update=0,
        updated_at=ago(1000),
        image="a@sha256:1",
        tasks=tasks,
    )
    return replace(made, **changes)


def fleet(**changes: Any) -> Fleet:
    """One active node with its instance and a good report, AWS seen two seconds ago (after the report)."""
    made = Fleet(
        now=NOW,
        started_at=ago(7200),
        nodes=(node(),),
        servers=(),
        instances=(instance(),),
        groups=(group(),),
        instances_seen_at=ago(2),
        reports={"node1": report()},
    )
    return replace(made, **changes)
