"""The cluster as one list call saw it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from swarmhub_agent.protocol import LABEL_INSTANCE

from swarmhub.spawner.causes import Cause
from swarmhub.spawner.states import (
    GONE,
    ServerPhase,
    ServerState,
    SwarmTime,
    Task,
    TaskState,
    parse_task,
    server_state,
)


@dataclass(frozen=True)
class Node:
    """One node of the swarm."""

    id: str
    hostname: str
    instance: str
    """EC2 instance id, empty if the node has no such label."""
    is_down: bool
    takes_servers: bool = False
    """An active worker that is up: Swarm may place new tasks on it."""

    @property
    def display_name(self) -> str:
        """What a person is shown."""
        return self.instance or self.hostname or self.id[:12]


def parse_node(raw: dict[str, Any]) -> Node:
    """One entry of the engine's node list."""
    description = raw.get("Description") or {}
    engine_labels = (description.get("Engine") or {}).get("Labels") or {}
    spec = raw.get("Spec") or {}
    labels = spec.get("Labels") or {}
    is_down = (raw.get("Status") or {}).get("State") == "down"
    is_active_worker = spec.get("Role") == "worker" and spec.get("Availability") == "active"
    return Node(
        id=raw["ID"],
        hostname=description.get("Hostname", ""),
        instance=labels.get(LABEL_INSTANCE) or engine_labels.get(LABEL_INSTANCE, ""),
        is_down=is_down,
        takes_servers=is_active_worker and not is_down,
    )


@dataclass(frozen=True)
class Inventory:
    """This hub's services and all nodes: what changes seldom."""

    loaded_at: float
    """Monotonic seconds when the question was asked."""
    services: Mapping[str, str] = field(default_factory=dict)
    """Service id by service id and by name."""
    nodes: Mapping[str, Node] = field(default_factory=dict)


@dataclass(frozen=True)
class ClusterView:
    """This hub's services, all tasks, all nodes."""

    tasks_at: float
    """Monotonic seconds when the tasks were asked for."""
    inventory: Inventory
    tasks: Mapping[str, tuple[Task, ...]] = field(default_factory=dict)
    """Tasks by service id, also of services that are removed but still stopping."""
    time: SwarmTime | None = None
    _states: dict[str, ServerState] = field(default_factory=dict, compare=False, repr=False)
    """What was derived already: each view is asked several times about every server."""

    @property
    def loaded_at(self) -> float:
        """Monotonic seconds of the oldest question in it: what is older than this is in the view."""
        return min(self.tasks_at, self.inventory.loaded_at)

    @property
    def services(self) -> Mapping[str, str]:
        """Service id by service id and by name."""
        return self.inventory.services

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Nodes by id."""
        return self.inventory.nodes

    @property
    def service_count(self) -> int:
        """How many services this hub has, running or not."""
        return len(set(self.services.values()))

    @property
    def own_tasks(self) -> Mapping[str, tuple[Task, ...]]:
        """``tasks`` of this hub's services alone."""
        own = set(self.services.values())
        return {service_id: tasks for service_id, tasks in self.tasks.items() if service_id in own}

    @property
    def ids(self) -> frozenset[str]:
        """Services and nodes that tasks belong to: if they differ from before, the inventory is old."""
        of_nodes = {task.node_id for tasks in self.tasks.values() for task in tasks}
        return frozenset(of_nodes) | self.tasks.keys()

    def server(self, service: str) -> ServerState:
        """State of the server whose service has this id or name.

        A removed service, asked for by id, is stopping until its containers have ended: only then may the
        next server have the home.
        """
        state = self._states.get(service)
        if state is None:
            state = self._states[service] = self._server(service)
        return state

    def _server(self, service: str) -> ServerState:
        service_id = self.services.get(service)
        if service_id is not None:
            return server_state(self.tasks.get(service_id, ()), self.time)
        alive = self.alive_tasks(service)
        return ServerState(ServerPhase.STOPPING, Cause.STOPPING, alive[0]) if alive else GONE

    def alive_tasks(self, service_id: str) -> tuple[Task, ...]:
        """The service's tasks whose containers run or will run, even if the service is removed."""
        return tuple(task for task in self.tasks.get(service_id, ()) if task.is_alive)

    def node_name(self, task: Task | None) -> str:
        """What a person is shown as the task's node; empty while it has none."""
        node = self.nodes.get(task.node_id) if task else None
        return node.display_name if node else ""


def inventory(
    loaded_at: float, services: Iterable[dict[str, Any]], nodes: Iterable[dict[str, Any]]
) -> Inventory:
    """The engine's lists of services and nodes."""
    ids: dict[str, str] = {}
    for raw in services:
        ids[raw["ID"]] = ids[raw["Spec"]["Name"]] = raw["ID"]
    return Inventory(loaded_at, ids, {node.id: node for node in map(parse_node, nodes)})


def cluster_view(
    tasks_at: float, tasks: Iterable[dict[str, Any]], known: Inventory, now: datetime | None = None
) -> ClusterView:
    """The engine's task list as a view. ``now``: the hub's time of day."""
    parsed = [_orphan_if_lost(parse_task(raw), known.nodes) for raw in tasks]
    by_service: dict[str, list[Task]] = {}
    for task in parsed:
        by_service.setdefault(task.service_id, []).append(task)
    last_change = max((task.changed_at for task in parsed), default=None)
    return ClusterView(
        tasks_at=tasks_at,
        inventory=known,
        tasks={service_id: tuple(found) for service_id, found in by_service.items()},
        time=SwarmTime(now, last_change) if now and last_change else None,
    )


def _orphan_if_lost(task: Task, nodes: Mapping[str, Node]) -> Task:
    """A task nobody wants, on a node that is down or gone, will never report its end: count it as ended.

    Swarm itself takes 24 hours to say so. A task still wanted is left alone: that is Swarm's to decide.
    """
    node = nodes.get(task.node_id)
    if task.is_wanted or not task.is_alive or not task.node_id or (node and not node.is_down):
        return task
    return replace(task, state=TaskState.ORPHANED)
