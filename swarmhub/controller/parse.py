"""Docker's JSON as the model's values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from swarmhub.controller.model import Node, Server, Task
from swarmhub.spawner.spec import LABEL_USER
from swarmhub.spawner.states import TaskState

Json = Mapping[str, Any]


def node_from(data: Json) -> Node:
    """A node of ``GET /nodes``."""
    spec, description = data["Spec"], data.get("Description") or {}
    status, manager = data.get("Status") or {}, data.get("ManagerStatus") or {}
    # A manager's Status.Addr may be 0.0.0.0; the address of its Swarm port is the one it is reached at.
    address = manager["Addr"].rsplit(":", 1)[0] if manager.get("Addr") else status.get("Addr", "")
    return Node(
        id=data["ID"],
        hostname=description.get("Hostname", ""),
        role=spec.get("Role", "worker"),
        availability=spec.get("Availability", "active"),
        status=status.get("State", "unknown"),
        address=address,
        labels=spec.get("Labels") or {},
        engine_labels=(description.get("Engine") or {}).get("Labels") or {},
        version=data["Version"]["Index"],
        created_at=moment(data["CreatedAt"]),
    )


def servers_from(services: Iterable[Json], tasks: Iterable[Json]) -> tuple[Server, ...]:
    """The notebook servers of ``GET /services`` with their tasks of ``GET /tasks``, by name."""
    by_service: dict[str, list[Task]] = {}
    for data in tasks:
        by_service.setdefault(data.get("ServiceID", ""), []).append(task_from(data))
    servers = (server_from(data, tuple(by_service.get(data["ID"], ()))) for data in services)
    return tuple(sorted((s for s in servers if LABEL_USER in s.labels), key=lambda s: s.name))


def server_from(data: Json, tasks: tuple[Task, ...]) -> Server:
    """A service of ``GET /services``."""
    spec, update = data["Spec"], data.get("UpdateStatus") or {}
    return Server(
        id=data["ID"],
        name=spec["Name"],
        version=data["Version"]["Index"],
        labels=spec.get("Labels") or {},
        force_update=spec["TaskTemplate"].get("ForceUpdate", 0),
        updated_at=moment(data["UpdatedAt"]),
        image=(spec["TaskTemplate"].get("ContainerSpec") or {}).get("Image", ""),
        update_state=update.get("State") or None,
        update_started_at=moment(update["StartedAt"]) if update.get("StartedAt") else None,
        tasks=tasks,
    )


def task_from(data: Json) -> Task:
    """A task of ``GET /tasks``."""
    status = data.get("Status") or {}
    return Task(
        id=data["ID"],
        node_id=data.get("NodeID", ""),
        state=TaskState(status.get("State", "")),
        desired=TaskState(data.get("DesiredState", "")),
        created_at=moment(data["CreatedAt"]),
        force_update=(data.get("Spec") or {}).get("ForceUpdate", 0),
        message=status.get("Message", ""),
        error=status.get("Err", ""),
    )


def moment(text: str) -> datetime:
    """Docker's RFC 3339 time with nanoseconds; what is finer than a microsecond is cut off."""
    return datetime.fromisoformat(text)
