"""What to do about the difference between the swarm and AWS: one fleet in, actions out. Pure.

Actions come in the order in which they must be done: nodes are held before their servers move.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from swarmhub_agent.protocol import LABEL_INSTANCE, LABEL_POOL, NoticeKind

from swarmhub.controller.members import Member, assess
from swarmhub.controller.model import (
    LABEL_NOTICE,
    LABEL_REASON,
    LAUNCHING_TRANSITION,
    TERMINATING_TRANSITION,
    Fleet,
    Instance,
    MemberState,
    Settings,
)
from swarmhub.controller.moves import move_of
from swarmhub.controller.notices import describe, persisted, to_label


@dataclass(frozen=True, slots=True)
class SetNode:
    """Change a node's availability and labels."""

    node_id: str
    hostname: str
    availability: str
    """``active``, ``pause`` or ``drain``."""
    labels: Mapping[str, str | None] = field(hash=False)
    """Labels to set; None removes one; all others stay."""
    reason: str


@dataclass(frozen=True, slots=True)
class ReplaceInstance:
    """Let Auto Scaling terminate the instance and start another: capacity is not lowered."""

    instance_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class MoveServer:
    """Start the server elsewhere before it stops here."""

    service_id: str
    name: str
    node_id: str
    """The node it leaves: held by us before the move is asked for."""
    force_update: int
    """The service's counter this decision saw: with any other counter the move is already under way."""
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveNode:
    """Remove the node from the swarm, by force: it is gone and Swarm need not know yet."""

    node_id: str
    hostname: str
    reason: str


@dataclass(frozen=True, slots=True)
class CompleteHook:
    """Tell Auto Scaling to go on with an instance that waits in a lifecycle hook."""

    instance_id: str
    group: str
    hook: str
    transition: str
    result: str
    """``CONTINUE`` or ``ABANDON``."""
    reason: str


Action = SetNode | ReplaceInstance | MoveServer | RemoveNode | CompleteHook


def plan(fleet: Fleet, settings: Settings) -> tuple[Action, ...]:
    """Every action this moment asks for; () when the world is as it should be."""
    members = assess(fleet, settings)
    return (
        *_holds(fleet, settings, members),
        *_activations(members),
        *_replacements(fleet, members),
        *_moves(fleet, settings, members),
        *_removals(members),
        *_launch_hooks(fleet, members),
        *_terminate_hooks(fleet, settings, members),
    )


def leaving_nodes(members: tuple[Member, ...]) -> dict[str, str]:
    """Node id → why, of every node whose servers have to go elsewhere."""
    return {m.node.id: describe(m.notices) for m in members if m.node and m.state is MemberState.DRAINING}


def _holds(fleet: Fleet, settings: Settings, members: tuple[Member, ...]) -> Iterator[SetNode]:
    """A noticed node takes nothing new; what is left shortly before the deadline is stopped."""
    for member in members:
        node = member.node
        if node is None or member.state not in {MemberState.DRAINING, MemberState.EMPTY}:
            continue
        reason = describe(member.notices)
        late = member.deadline is not None and fleet.now >= member.deadline - settings.hard_drain_before
        drain = node.availability == "drain" or (late and bool(member.servers))
        availability = "drain" if drain else "pause"
        labels: dict[str, str | None] = {}
        if persisted(node) != member.notices:
            labels[LABEL_NOTICE] = to_label(member.notices)
        if node.labels.get(LABEL_REASON) != reason:
            labels[LABEL_REASON] = reason
        if node.availability != availability or labels:
            seconds = int(settings.hard_drain_before.total_seconds())
            what = f"{reason}; draining {seconds} s before" if late and drain else reason
            yield SetNode(node.id, node.hostname, availability, labels, what)


def _activations(members: tuple[Member, ...]) -> Iterator[SetNode]:
    for member in members:
        node, instance = member.node, member.instance
        if not member.fit or node is None or instance is None:
            continue
        labels = {
            LABEL_INSTANCE: instance.id,
            LABEL_POOL: instance.pool,
            LABEL_REASON: None,
            LABEL_NOTICE: None,
        }
        yield SetNode(node.id, node.hostname, "active", labels, "all checks are good")


def _replacements(fleet: Fleet, members: tuple[Member, ...]) -> Iterator[ReplaceInstance | CompleteHook]:
    """A spot instance that will be taken is given up at once, so that its successor boots meanwhile."""
    for member in members:
        instance = member.instance
        spot = any(n.kind is NoticeKind.SPOT for n in member.notices)
        if instance is None or not spot or instance.is_terminating or member.state is MemberState.GHOST:
            continue
        group = fleet.group(instance.group)
        reason = describe(member.notices)
        if group is None:
            continue
        if instance.lifecycle_state == "Pending:Wait":
            for hook in group.hooks_for(LAUNCHING_TRANSITION):
                yield CompleteHook(instance.id, group.name, hook.name, hook.transition, "ABANDON", reason)
        # Without a terminate hook this call would end the instance, and its servers, on the spot.
        elif group.hooks_for(TERMINATING_TRANSITION) and _may_terminate(instance):
            yield ReplaceInstance(instance.id, f"{reason}; starting its replacement")


def _may_terminate(instance: Instance) -> bool:
    return instance.lifecycle_state in {"InService", "Pending", "Pending:Proceed"}


def _moves(fleet: Fleet, settings: Settings, members: tuple[Member, ...]) -> Iterator[MoveServer]:
    # A drained or dead node needs no moves: Swarm itself starts its servers elsewhere.
    movable = {
        m.node.id for m in members if m.node and m.node.status != "down" and m.node.availability != "drain"
    }
    draining = {a.node_id for a in _holds(fleet, settings, members) if a.availability == "drain"}
    leaving = leaving_nodes(members)
    for server in fleet.servers:
        move = move_of(server, leaving, fleet.now, settings)
        if move.needed and move.node_id in movable - draining:
            yield MoveServer(server.id, server.name, move.node_id, server.force_update, move.reason)


def _removals(members: tuple[Member, ...]) -> Iterator[RemoveNode]:
    for member in members:
        if member.node and member.node.is_worker and member.state in {MemberState.LEFT, MemberState.GHOST}:
            yield RemoveNode(member.node.id, member.node.hostname, member.reason)


def _launch_hooks(fleet: Fleet, members: tuple[Member, ...]) -> Iterator[CompleteHook]:
    for member in members:
        instance = member.instance
        ready = member.state in {MemberState.ACTIVE, MemberState.PAUSED}
        if instance is None or not ready or instance.lifecycle_state != "Pending:Wait":
            continue
        yield from _completions(fleet, instance, LAUNCHING_TRANSITION, "its node is active")


def _terminate_hooks(fleet: Fleet, settings: Settings, members: tuple[Member, ...]) -> Iterator[CompleteHook]:
    """The backstop for agents that cannot complete their hook themselves."""
    seen_at = fleet.instances_seen_at
    if seen_at is None or fleet.now - seen_at > settings.view_fresh:
        return
    holders = {m.node.claim: m for m in members if m.node}
    # A node that cannot name its instance may still be it: it is known by its address.
    addresses = {m.node.address for m in members if m.node and m.instance is None}
    for instance in fleet.instances:
        if instance.lifecycle_state != "Terminating:Wait":
            continue
        member = holders.get(instance.id)
        if member is None:
            if instance.private_ip not in addresses:
                yield from _completions(fleet, instance, TERMINATING_TRANSITION, "its node is gone")
            continue
        silence = fleet.now - (member.heard_at or fleet.started_at)
        if member.state is MemberState.EMPTY and silence >= settings.agent_silence:
            why = (
                f"its node is empty and its agent silent for {int(settings.agent_silence.total_seconds())} s"
            )
            yield from _completions(fleet, instance, TERMINATING_TRANSITION, why)


def _completions(fleet: Fleet, instance: Instance, transition: str, reason: str) -> Iterator[CompleteHook]:
    group = fleet.group(instance.group)
    if group is None:
        return
    for hook in group.hooks_for(transition):
        yield CompleteHook(instance.id, group.name, hook.name, transition, "CONTINUE", reason)
