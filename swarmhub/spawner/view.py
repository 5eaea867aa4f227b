"""The cluster as one list call saw it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from swarmhub_agent.protocol import LABEL_INSTANCE

from swarmhub.spawner.states import GONE, ServerPhase, ServerState, Task, TaskState, parse_task, server_state


@dataclass(frozen=True)
class Node:
    """One node of the swarm."""

    id: str
    hostname: str
    instance: str
    """EC2 instance id, empty if the node has no such label."""
    is_down: bool

    @property
    def display_name(self) -> str:
        """What a person is shown."""
        return self.instance or self.hostname or self.id[:12]


def parse_node(raw: dict[str, Any]) -> Node:
    """One entry of the engine's node list."""
    description = raw.get("Description") or {}
    engine_labels = (description.get("Engine") or {}).get("Labels") or {}
    labels = (raw.get("Spec") or {}).get("Labels") or {}
    return Node(
        id=raw["ID"],
        hostname=description.get("Hostname", ""),
        instance=labels.get(LABEL_INSTANCE) or engine_labels.get(LABEL_INSTANCE, ""),
        is_down=(raw.get("Status") or {}).get("State") == "down",
    )


@dataclass(frozen=True)
class ClusterView:
    """This hub's services, all tasks, all nodes."""

    loaded_at: float
    """Monotonic seconds when the question was asked: what is older than this is in the view."""
    services: Mapping[str, str] = field(default_factory=dict)
    """Service id by service id and by name."""
    tasks: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    """Tasks by service id, also of services that are removed but still stopping."""
    nodes: Mapping[str, Node] = field(default_factory=dict)

    def server(self, service: str) -> ServerState:
        """State of the server whose service has this id or name.

        A removed service, asked for by id, is stopping until its containers have ended: only then may the
        next server have the home.
        """
        service_id = self.services.get(service)
        if service_id is not None:
            return server_state(self.tasks.get(service_id, ()))
        alive = self.alive_tasks(service)
        return ServerState(ServerPhase.STOPPING, alive[0]) if alive else GONE

    def alive_tasks(self, service_id: str) -> tuple[Task, ...]:
        """The service's tasks whose containers run or will run, even if the service is removed."""
        return tuple(task for task in self.tasks.get(service_id, ()) if task.is_alive)

    def node_name(self, task: Task | None) -> str:
        """What a person is shown as the task's node; empty while it has none."""
        node = self.nodes.get(task.node_id) if task else None
        return node.display_name if node else ""


def cluster_view(
    loaded_at: float,
    services: Iterable[dict[str, Any]],
    tasks: Iterable[dict[str, Any]],
    nodes: Iterable[dict[str, Any]],
) -> ClusterView:
    """The engine's three lists as a view."""
    known = {node.id: node for node in map(parse_node, nodes)}
    by_service: dict[str, list[Task]] = {}
    for task in map(parse_task, tasks):
        by_service.setdefault(task.service_id, []).append(_orphan_if_lost(task, known))
    ids: dict[str, str] = {}
    for raw in services:
        ids[raw["ID"]] = ids[raw["Spec"]["Name"]] = raw["ID"]
    return ClusterView(
        loaded_at=loaded_at,
        services=ids,
        tasks={service_id: tuple(found) for service_id, found in by_service.items()},
        nodes=known,
    )


def _orphan_if_lost(task: Task, nodes: Mapping[str, Node]) -> Task:
    """A task nobody wants, on a node that is down or gone, will never report its end: count it as ended.

    Swarm itself takes 24 hours to say so. A task still wanted is left alone: that is Swarm's to decide.
    """
    node = nodes.get(task.node_id)
    if task.is_wanted or not task.is_alive or not task.node_id or (node and not node.is_down):
        return task
    return replace(task, state=TaskState.ORPHANED)
