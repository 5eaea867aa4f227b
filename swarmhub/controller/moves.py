"""Where a server is going, and whether it must be asked to move. Pure.

A move is a service update that raises ``ForceUpdate``: with order start-first Swarm starts a healthy task on
a node that takes tasks, then stops the old one. Swarm's own counter says whether a move was asked for (a task
with a lower count than its service is to be replaced), so nothing about moves is kept in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from swarmhub.controller.model import Server, Settings, Task

_FAILED = frozenset({"paused", "rollback_paused", "rollback_completed"})
"""Update states in which Swarm has given up."""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a server stands with regard to the nodes that will go."""

    needed: bool
    """True: ask now."""
    node_id: str
    """The node it has to leave; empty if it does not have to."""
    reason: str


def move_of(server: Server, leaving: Mapping[str, str], now: datetime, settings: Settings) -> Move:
    """Whether ``server`` must be asked to move off a leaving node (``leaving``: node id → why it goes)."""
    task = server.newest
    if task is None:
        return Move(False, "", "no task is wanted")
    if task.node_id not in leaving:
        return Move(False, "", _settled(server, task, leaving))
    why = leaving[task.node_id]
    if not _asked(server, task):
        return Move(True, task.node_id, why)
    if server.update_state in _FAILED:
        return Move(True, task.node_id, f"{why}; the last move is {server.update_state}, asking again")
    asked_at = max(server.updated_at, server.update_started_at or server.updated_at)
    if now - asked_at >= settings.move_retry:
        limit = int(settings.move_retry.total_seconds())
        return Move(True, task.node_id, f"{why}; still there {limit} s after it was asked to move")
    return Move(False, task.node_id, f"{why}; asked to move, Swarm is starting its successor")


def _asked(server: Server, task: Task) -> bool:
    """An update that replaces ``task`` is asked for: by counter, or one in flight begun after the task."""
    if task.force_update < server.force_update:
        return True
    started = server.update_started_at
    return server.update_state == "updating" and started is not None and task.created_at <= started


def _settled(server: Server, task: Task, leaving: Mapping[str, str]) -> str:
    old = [t for t in server.tasks if t.is_wanted and t.node_id in leaving]
    if not task.node_id:
        where = "it still runs on a node that will go and " if old else ""
        return f"{where}waits for a seat: {task.error or task.message or 'not scheduled yet'}"
    if old:
        return f"moving to node {task.node_id}: {leaving[old[0].node_id]}"
    return task.error or task.message
