"""A swarm in memory that speaks docker-py's dictionaries: what the spawner's tests run against.

It follows swarmkit where the spawner depends on it: tasks are replaced in one step with their end
(on-failure), start-first updates keep the old task until the new one runs, removed services leave tasks
behind until their containers have ended, a down node's tasks keep saying that they run.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from docker.errors import APIError, NotFound

DIGEST = "sha256:" + "d" * 64
ENDED = ("complete", "shutdown", "failed", "rejected", "orphaned")


def api_error(status: int, text: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return (NotFound if status == 404 else APIError)(text, response=response, explanation=text)


class FakeSwarm:
    """One swarm; thread-safe, because clients call it from threads."""

    def __init__(self, *, networks: tuple[str, ...] = ("notebooks",), runs_at_once: bool = True) -> None:
        self.networks = networks
        self.runs_at_once = runs_at_once
        """New tasks with a node reach ``running`` in the same step."""
        self.stops_at_once = True
        """Containers of unwanted tasks end in the same step."""
        self.is_away = False
        """Every call fails, as while the engine restarts."""
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self._services: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._count = itertools.count(1)
        self._lock = threading.RLock()
        self.creating = threading.Event()
        self.creating.set()
        """Cleared by a test, ``create_service`` waits before it answers."""

    # The engine's API

    def services(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("services"):
            wanted = str((filters or {}).get("label", "")).partition("=")
            return [
                service
                for service in self._services.values()
                if not wanted[0] or service["Spec"]["Labels"].get(wanted[0]) == wanted[2]
            ]

    def tasks(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("tasks"):
            return [_copy(task) for task in self._tasks.values()]

    def nodes(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("nodes"):
            return [_copy(node) for node in self._nodes.values()]

    def inspect_service(self, service: str) -> dict[str, Any]:
        with self._call("inspect_service"):
            return self._find(service)

    def create_service(self, **body: Any) -> dict[str, Any]:
        with self._call("create_service"):
            if any(service["Spec"]["Name"] == body["name"] for service in self._services.values()):
                raise api_error(409, f"name conflicts with an existing object: service {body['name']}")
            for network in body["task_template"]["Networks"]:
                if network["Target"] not in self.networks:
                    raise api_error(404, f"network {network['Target']} not found")
            service_id = self._id("service")
            spec = {"Name": body["name"], "Labels": body["labels"], "TaskTemplate": body["task_template"]}
            self._services[service_id] = {"ID": service_id, "Spec": spec}
            self.bodies.append(body)
            self._add_task(service_id)
        self.creating.wait(5)
        return {"ID": service_id}

    def remove_service(self, service: str) -> bool:
        with self._call("remove_service"):
            service_id = self._find(service)["ID"]
            del self._services[service_id]
            for task in self._of(service_id):
                task["DesiredState"] = "remove"
            self._settle()
            return True

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        with self._call("inspect_distribution"):
            if "absent" in image:
                raise api_error(404, "manifest unknown")
            return {"Descriptor": {"digest": DIGEST}}

    def events(self, *, filters: dict[str, Any], decode: bool) -> Iterator[dict[str, Any]]:
        return iter(())

    # What happens to a swarm

    def add_node(self, name: str, *, instance: str = "") -> str:
        with self._lock:
            node_id = self._id("node")
            self._nodes[node_id] = {
                "ID": node_id,
                "Spec": {"Labels": {"org.swarmhub.instance": instance} if instance else {}},
                "Description": {"Hostname": name, "Engine": {"Labels": {}}},
                "Status": {"State": "ready"},
            }
            for task in self._tasks.values():
                if task["Status"]["State"] == "pending":
                    self._place(task)
            return node_id

    def kill_node(self, node_id: str) -> None:
        """The node dies without notice: Swarm replaces its tasks, which never report their end."""
        with self._lock:
            self._nodes[node_id]["Status"]["State"] = "down"
            for task in list(self._tasks.values()):
                if task["NodeID"] == node_id and task["DesiredState"] == "running":
                    task["DesiredState"] = "shutdown"
                    self._add_task(task["ServiceID"])

    def set_state(self, service: str, state: str, *, message: str = "", exit_code: int | None = None) -> None:
        """The newest task reaches ``state``; a task that ends badly is replaced in the same step."""
        with self._lock:
            task = self.newest(service)
            task["Status"] |= {"State": state, "Message": message}
            if exit_code is not None:
                task["Status"]["ContainerStatus"] = {"ExitCode": exit_code}
            if state == "running":
                self._start(task)
            if state in ENDED:
                task["DesiredState"] = "shutdown"
                if state != "complete":
                    self._add_task(task["ServiceID"])

    def give_up(self, service: str) -> None:
        """The restart policy's attempts are used up: the newest task failed for good."""
        with self._lock:
            task = self.newest(service)
            task["DesiredState"] = "shutdown"
            task["Status"] |= {"State": "failed", "ContainerStatus": {"ExitCode": 137}}

    def update(self, service: str) -> None:
        """A start-first update: a new task, wanted beside the old one until it runs."""
        with self._lock:
            self._add_task(self._find(service)["ID"])

    def end_containers(self) -> None:
        """All containers that were told to stop have stopped."""
        with self._lock:
            self._settle(now=True)

    def newest(self, service: str) -> dict[str, Any]:
        return self._of(self._find(service)["ID"])[-1]

    def address(self, service: str) -> str:
        return str(self.newest(service)["NetworksAttachments"][0]["Addresses"][0]).partition("/")[0]

    @property
    def names(self) -> list[str]:
        return [service["Spec"]["Name"] for service in self._services.values()]

    # Inside

    def _call(self, name: str) -> AbstractContextManager[Any]:
        self.calls.append(name)
        if self.is_away:
            raise requests.ConnectionError("the engine is away")
        return self._lock

    def _id(self, kind: str) -> str:
        return f"{kind}-{next(self._count)}"

    def _find(self, service: str) -> dict[str, Any]:
        for service_id, found in self._services.items():
            if service in (service_id, found["Spec"]["Name"]):
                return found
        raise api_error(404, f"service {service} not found")

    def _of(self, service_id: str) -> list[dict[str, Any]]:
        return [task for task in self._tasks.values() if task["ServiceID"] == service_id]

    def _add_task(self, service_id: str) -> None:
        number = next(self._count)
        created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        task = self._tasks[f"task-{number}"] = {
            "ID": f"task-{number}",
            "ServiceID": service_id,
            "CreatedAt": created.isoformat().replace("+00:00", ".123456789Z"),
            "NodeID": "",
            "DesiredState": "running",
            "Status": {"State": "pending", "Err": "no suitable node (insufficient resources on 2 nodes)"},
        }
        self._place(task)

    def _place(self, task: dict[str, Any]) -> None:
        ready = [node for node in self._nodes.values() if node["Status"]["State"] == "ready"]
        if not ready:
            return
        number = int(task["ID"].partition("-")[2])
        task["NodeID"] = ready[number % len(ready)]["ID"]
        task["Status"] = {"State": "assigned", "Message": "scheduler assigned task to node"}
        task["NetworksAttachments"] = [
            {
                "Network": {"Spec": {"Name": network}},
                "Addresses": [f"10.64.{number // 256}.{number % 256}/20"],
            }
            for network in self.networks
        ]
        if self.runs_at_once:
            task["Status"]["State"] = "running"
            self._start(task)

    def _start(self, started: dict[str, Any]) -> None:
        for task in self._of(started["ServiceID"]):
            if task is not started and task["DesiredState"] == "running":
                task["DesiredState"] = "shutdown"
        self._settle()

    def _settle(self, *, now: bool = False) -> None:
        for task_id, task in list(self._tasks.items()):
            node = self._nodes.get(task["NodeID"])
            is_down = node is not None and node["Status"]["State"] == "down"
            if task["DesiredState"] == "running" or is_down or not (self.stops_at_once or now):
                continue
            if task["Status"]["State"] not in ENDED:
                task["Status"] |= {"State": "shutdown"}
            if task["DesiredState"] == "remove":
                del self._tasks[task_id]


def _copy(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy as if it had been sent: later changes do not show in it."""
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in raw.items()}
