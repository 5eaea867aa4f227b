"""Nodes and instances paired into members, each with its state and the reason as a sentence. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmhub_agent.protocol import AgentPhase, Notice, NoticeKind

from swarmhub.controller.model import (
    LABEL_REASON,
    TERMINATING_TRANSITION,
    Fleet,
    Instance,
    MemberState,
    Node,
    ReceivedReport,
    Settings,
)
from swarmhub.controller.notices import describe, merge, persisted


@dataclass(frozen=True, slots=True)
class Member:
    """An instance and its node, seen as one thing; one of the two may be missing."""

    state: MemberState
    reason: str
    node: Node | None = None
    instance: Instance | None = None
    notices: tuple[Notice, ...] = ()
    servers: tuple[str, ...] = ()
    """Names of the servers with a task on the node that has not ended."""
    fit: bool = False
    """Every condition for activation holds now."""
    heard_at: datetime | None = None
    """When its agent last spoke; the controller's start if it never did."""

    @property
    def key(self) -> str:
        """The node id, or the instance id where there is no node."""
        return self.node.id if self.node else self.instance.id if self.instance else ""

    @property
    def deadline(self) -> datetime | None:
        """When the instance goes, if anybody said."""
        return min((n.deadline for n in self.notices if n.deadline), default=None)

    @property
    def may_leave(self) -> bool:
        return self.state is MemberState.EMPTY


def assess(fleet: Fleet, settings: Settings) -> tuple[Member, ...]:
    """Every node and every instance without a node, as members: nodes by host name, then instances by id."""
    held: dict[str, set[str]] = defaultdict(set)
    for server in fleet.servers:
        for task in server.tasks:
            if task.is_alive and task.node_id:
                held[task.node_id].add(server.name)
    nodes = sorted(fleet.nodes, key=lambda n: (n.hostname, n.id))
    members = [_of_node(fleet, settings, node, tuple(sorted(held[node.id]))) for node in nodes]
    claimed = {node.claim for node in nodes}
    lone = sorted((i for i in fleet.instances if i.id not in claimed), key=lambda i: i.id)
    members += [_of_instance(i) for i in lone if i.pool and not i.is_terminated]
    return tuple(members)


def _of_instance(instance: Instance) -> Member:
    word = instance.lifecycle_state or instance.ec2_state or "unknown"
    if instance.is_terminating:
        return Member(MemberState.GONE, f"instance is {word} and has no node", instance=instance)
    return Member(MemberState.LAUNCHING, f"instance is {word}; its node has not joined", instance=instance)


@dataclass(frozen=True, slots=True)
class _Case:
    """A worker node that says it is an instance, and everything that is known about it."""

    fleet: Fleet
    settings: Settings
    node: Node
    claimed: Instance | None
    """The instance it says it is, if AWS lists it."""
    received: ReceivedReport | None
    servers: tuple[str, ...]

    @property
    def heard_at(self) -> datetime:
        started = self.fleet.started_at
        return max(self.received.received_at, started) if self.received else started

    @property
    def mismatch(self) -> str | None:
        """The engine's label is self-asserted: a worker must not be able to speak for another's instance."""
        instance = self.claimed
        if instance is None or not instance.private_ip or instance.private_ip == self.node.address:
            return None
        return (
            f"it says it is instance {instance.id}, whose address is {instance.private_ip}, "
            f"but it joined from {self.node.address}"
        )

    @property
    def instance(self) -> Instance | None:
        return None if self.mismatch else self.claimed

    @property
    def silence(self) -> str | None:
        """The sentence about an agent that has not reported lately."""
        if self.received is None:
            return "waiting for its agent's first report"
        silence = self.fleet.now - self.received.received_at
        if silence <= self.settings.report_fresh:
            return None
        return f"its agent has been silent for {_seconds(silence)}"

    @property
    def bad_checks(self) -> str:
        checks = self.received.report.checks if self.received else ()
        return "; ".join(f"{check.name}: {check.detail}" for check in checks if not check.ok)


def _of_node(fleet: Fleet, settings: Settings, node: Node, servers: tuple[str, ...]) -> Member:
    claimed = fleet.instance(node.claim) if node.claim else None
    if not node.is_worker:
        return Member(MemberState.MANAGER, "a manager; never touched", node, claimed, servers=servers)
    if node.claim is None:
        reason = "its engine names no instance; never touched"
        return Member(MemberState.FOREIGN, reason, node, servers=servers)
    case = _Case(fleet, settings, node, claimed, fleet.reports.get(node.id), servers)
    notices = merge(
        case.received.report.notices if case.received else (),
        persisted(node),
        _from_aws(fleet, case.instance),
    )
    state, reason = _leaving(case, notices) or _staying(case) or _arriving(case)
    return Member(
        state,
        reason,
        node,
        case.instance,
        notices=notices,
        servers=servers,
        fit=(state, reason) == _FIT,
        heard_at=case.heard_at,
    )


_Verdict = tuple[MemberState, str]
_FIT: _Verdict = (MemberState.CHECKING, "all checks are good; activating it")


def _leaving(case: _Case, notices: tuple[Notice, ...]) -> _Verdict | None:
    """A node on its way out, and why; None for one that stays."""
    if case.received and case.received.report.phase is AgentPhase.LEFT:
        return MemberState.LEFT, "its engine has left the swarm"
    ghost = _replaced(case) or _without_instance(case)
    if ghost:
        return MemberState.GHOST, ghost
    if not notices:
        return None
    why = describe(notices)
    if not case.servers and case.node.availability != "active":
        return MemberState.EMPTY, f"{why}; no server is left, it may leave"
    return MemberState.DRAINING, f"{why}; {_count(case.servers)} to move"


def _staying(case: _Case) -> _Verdict | None:
    """A node that was activated once, or None."""
    node = case.node
    if not node.was_activated:
        return None
    if not node.is_ready:
        return MemberState.LOST, f"the swarm calls it {node.status}; AWS has not said its instance is gone"
    if node.availability == "active":
        # A failed probe is no evidence that a node is dead: it stays, and the reason says what is wrong.
        but = "; ".join(filter(None, (case.silence, case.bad_checks)))
        return MemberState.ACTIVE, f"takes servers; but {but}" if but else "takes servers"
    if LABEL_REASON not in node.labels:
        return MemberState.PAUSED, f"availability {node.availability} was set by an operator"
    return None


def _arriving(case: _Case) -> _Verdict:
    """A node that takes no servers yet: JOINING, CHECKING or UNFIT."""
    missing = next(_missing(case), None)
    if missing is None:
        return _FIT
    state, reason = missing
    age = case.fleet.now - case.node.created_at
    if age > case.settings.checking_limit:
        return MemberState.UNFIT, f"not fit {_seconds(age)} after it joined: {reason}"
    return state, reason


def _missing(case: _Case) -> Iterator[_Verdict]:
    """What keeps the node from being active, the most basic thing first."""
    joining, checking = MemberState.JOINING, MemberState.CHECKING
    node, instance = case.node, case.instance
    if case.mismatch:
        yield joining, case.mismatch
    if not node.is_ready:
        yield joining, f"the swarm calls it {node.status}"
    if instance is None:
        yield joining, f"AWS does not list instance {node.claim} yet"
        return
    if instance.pool is None:
        yield joining, f"instance {instance.id} belongs to no pool"
    if case.silence or case.received is None:
        yield joining, case.silence or ""
        return
    report = case.received.report
    if report.instance_id != instance.id:
        yield joining, f"its agent speaks for {report.instance_id}, its engine for {instance.id}"
    if report.phase is not AgentPhase.MEMBER:
        yield checking, f"its agent is {report.phase}"
    if instance.pool in case.fleet.images_pending:
        yield checking, f"the images of pool {instance.pool} are being resolved"
    if case.received.told != case.fleet.images.get(instance.pool or "", ()):
        # Its checks are about other images, or none: a task must never wait for a pull.
        yield checking, f"its agent is being told the images of pool {instance.pool}"
    if not report.checks:
        yield checking, "its agent has not finished a check yet"
    if case.bad_checks:
        yield checking, case.bad_checks


def _replaced(case: _Case) -> str | None:
    successor = next((n for n in case.fleet.nodes if _replaces(n, case.node)), None)
    return f"its instance {case.node.claim} came back as node {successor.id}" if successor else None


def _without_instance(case: _Case) -> str | None:
    """Why the node has no instance any more, or None. Doubt of any kind is None."""
    fleet, node = case.fleet, case.node
    seen_at = fleet.instances_seen_at
    if seen_at is None or fleet.now - seen_at > case.settings.view_fresh:
        return None
    if case.received and case.received.received_at >= seen_at:
        return None
    if case.claimed is not None:
        return _terminated(case.claimed)
    # An answer without any group speaks of a wrong tag, region or account, not of dead machines.
    believed = bool(fleet.groups) and fleet.now - node.created_at >= case.settings.join_grace
    heard = node.is_ready and fleet.now - case.heard_at < case.settings.absence_silence
    return f"AWS does not list instance {node.claim} any more" if believed and not heard else None


def _terminated(instance: Instance) -> str | None:
    word = instance.ec2_state if instance.ec2_state != "running" else instance.lifecycle_state
    return f"instance {instance.id} is {word}" if instance.is_terminated else None


def _replaces(newer: Node, older: Node) -> bool:
    return (
        newer.claim == older.claim
        and newer.created_at > older.created_at
        and newer.address == older.address
        and newer.is_ready
        and not older.is_ready
    )


def _from_aws(fleet: Fleet, instance: Instance | None) -> tuple[Notice, ...]:
    """The notice in Auto Scaling's own state: the backstop for an agent that cannot speak."""
    if instance is None or not instance.is_terminating or fleet.instances_seen_at is None:
        return ()
    group = fleet.group(instance.group)
    hooks = group.hooks_for(TERMINATING_TRANSITION) if group else ()
    heartbeat = min((hook.heartbeat for hook in hooks), default=None)
    seen_at = fleet.instances_seen_at
    deadline = seen_at + heartbeat if heartbeat is not None else None
    return (Notice(kind=NoticeKind.ASG_TERMINATE, deadline=deadline, seen_at=seen_at),)


def _count(servers: tuple[str, ...]) -> str:
    return f"{len(servers)} server" + ("" if len(servers) == 1 else "s")


def _seconds(duration: timedelta) -> str:
    return f"{int(duration.total_seconds())} s"
