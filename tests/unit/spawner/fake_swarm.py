"""A swarm in memory that speaks docker-py's dictionaries: what the spawner's tests run against.

It follows swarmkit where the spawner depends on it: tasks are replaced in one step with their end (as the
restart policy says), start-first updates keep the old task until the new one runs, removed services leave
tasks behind until their containers have ended, a down node's tasks keep saying that they run, secrets and
configs in use cannot be removed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from tests.unit.spawner.fake_files import FileStore, api_error, copied, matching, referred_files

DIGEST = "sha256:" + "d" * 64
ENDED = ("complete", "shutdown", "failed", "rejected", "orphaned")


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
        self.is_manager = True
        """False: the engine answers, but not for the swarm (demoted, or no leader)."""
        self.hangs = threading.Event()
        self.hangs.set()
        """Cleared by a test, every call waits, then fails as a client's timeout does."""
        self.logs: dict[str, bytes] = {}
        """What ``service_logs`` gives, by service name."""
        self.subnets: dict[str, str] = {}
        """Subnets by network name, where not 10.64.0.0/20."""
        self._secrets = FileStore("secret", self._id)
        self._configs = FileStore("config", self._id)
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self._services: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, dict[str, Any]] = {}
        self._nodes: dict[str, dict[str, Any]] = {}
        self._count = itertools.count(1)
        self._time = datetime(2026, 1, 1, tzinfo=UTC)
        self._lock = threading.RLock()
        self.suits: Callable[[dict[str, Any], dict[str, Any]], bool] = _is_ready
        """Whether a task (its ``Spec`` is the template) may run on a node; replace it to test placement."""
        self.creating = threading.Event()
        self.creating.set()
        """Cleared by a test, ``create_service`` waits before it answers."""

    # The engine's API

    def services(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("services"):
            return matching(self._services.values(), filters)

    def tasks(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("tasks"):
            return [copied(task) for task in self._tasks.values()]

    def nodes(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("nodes"):
            return [copied(node) for node in self._nodes.values()]

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
            for file_id in referred_files(body["task_template"]):
                if file_id not in self._secrets.raw and file_id not in self._configs.raw:
                    raise api_error(400, f"invalid reference: {file_id} not found")
            service_id = self._id("service")
            spec = {"Name": body["name"], "Labels": body["labels"], "TaskTemplate": body["task_template"]}
            spec["Mode"] = body.get("mode") or {"Replicated": {"Replicas": 1}}
            self._services[service_id] = {"ID": service_id, "Version": {"Index": 1}, "Spec": spec}
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

    def update_service(self, service: str, version: int, **body: Any) -> dict[str, Any]:
        with self._call("update_service"):
            found = self._find(service)
            if version != found["Version"]["Index"]:
                raise api_error(500, "rpc error: code = Unknown desc = update out of sequence")
            changed = {"name": "Name", "labels": "Labels", "task_template": "TaskTemplate"}
            wanted = {
                changed[key]: value for key, value in body.items() if key in changed and value is not None
            }
            is_other = (
                wanted.get("TaskTemplate", found["Spec"]["TaskTemplate"]) != found["Spec"]["TaskTemplate"]
            )
            self._services[found["ID"]] = {
                "ID": found["ID"],
                "Version": {"Index": version + 1},
                "Spec": found["Spec"] | wanted,
            }
            if is_other:
                for task in self._of(found["ID"]):
                    if task["DesiredState"] == "running" and not task["NodeID"]:
                        task["DesiredState"] = "shutdown"
                        self._to(task, "shutdown")
                self._add_task(found["ID"])
            return {"Warnings": None}

    def service_logs(self, service: str, **wanted: Any) -> Iterator[bytes]:
        with self._call("service_logs"):
            return iter([self.logs.get(self._find(service)["Spec"]["Name"], b"")])

    def create_secret(
        self, name: str, data: bytes | str, labels: dict[str, str] | None = None, driver: Any = None
    ) -> dict[str, Any]:
        with self._call("create_secret"):
            return self._secrets.create(name, data, {"Labels": labels or {}})

    def secrets(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("secrets"):
            # The engine never gives a secret's content back.
            return [
                raw | {"Spec": {key: value for key, value in raw["Spec"].items() if key != "Data"}}
                for raw in matching(self._secrets.raw.values(), filters)
            ]

    def remove_secret(self, id: str) -> bool:  # docker-py's name
        with self._call("remove_secret"):
            return self._secrets.remove(id, self._services.values())

    def create_config(
        self,
        name: str,
        data: bytes | str,
        labels: dict[str, str] | None = None,
        templating: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        with self._call("create_config"):
            more = {"Labels": labels or {}} | ({"Templating": templating} if templating else {})
            return self._configs.create(name, data, more)

    def configs(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        with self._call("configs"):
            return matching(self._configs.raw.values(), filters)

    def remove_config(self, id: str) -> bool:  # docker-py's name
        with self._call("remove_config"):
            return self._configs.remove(id, self._services.values())

    def info(self) -> dict[str, Any]:
        with self._call("info"):
            swarm = {"LocalNodeState": "active", "ControlAvailable": self.is_manager, "Error": ""}
            return {"Swarm": swarm}

    def version(self, api_version: bool = True) -> dict[str, Any]:
        with self._call("version"):
            return {"Version": "26.1.5", "ApiVersion": "1.45"}

    def inspect_network(self, net_id: str) -> dict[str, Any]:
        with self._call("inspect_network"):
            if net_id not in self.networks:
                raise api_error(404, f"network {net_id} not found")
            subnet = self.subnets.get(net_id, "10.64.0.0/20")
            return {"Name": net_id, "Driver": "overlay", "IPAM": {"Config": [{"Subnet": subnet}]}}

    def inspect_node(self, node_id: str) -> dict[str, Any]:
        with self._call("inspect_node"):
            if node_id not in self._nodes:
                raise api_error(404, f"node {node_id} not found")
            return copied(self._nodes[node_id])

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        with self._call("inspect_distribution"):
            if "absent" in image:
                raise api_error(404, "manifest unknown")
            return {"Descriptor": {"digest": DIGEST}}

    def events(self, *, filters: dict[str, Any], decode: bool) -> Iterator[dict[str, Any]]:
        return iter(())

    # What happens to a swarm

    def add_node(self, name: str, *, instance: str = "", labels: dict[str, str] | None = None) -> str:
        with self._lock:
            node_id = self._id("node")
            of_instance = {"org.swarmhub.instance": instance} if instance else {}
            self._nodes[node_id] = {
                "ID": node_id,
                "Spec": {"Labels": of_instance | (labels or {}), "Availability": "active"},
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

    def set_state(
        self, service: str, state: str, *, message: str = "", error: str = "", exit_code: int | None = None
    ) -> None:
        """The newest task reaches ``state``; one that ends is replaced if its restart policy says so."""
        with self._lock:
            task = self.newest(service)
            self._to(task, state, Message=message, Err=error)
            if exit_code is not None:
                task["Status"]["ContainerStatus"] = {"ExitCode": exit_code}
            if state == "running":
                self._start(task)
            if state in ENDED:
                task["DesiredState"] = "shutdown"
                condition = (task["Spec"].get("RestartPolicy") or {}).get("Condition", "on-failure")
                if condition == "any" or (condition == "on-failure" and state != "complete"):
                    self._add_task(task["ServiceID"])

    def give_up(self, service: str) -> None:
        """The restart policy's attempts are used up: the newest task failed for good."""
        with self._lock:
            task = self.newest(service)
            task["DesiredState"] = "shutdown"
            self._to(task, "failed", ContainerStatus={"ExitCode": 137})

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
        if not self.hangs.is_set():
            self.hangs.wait(5)
            raise requests.ReadTimeout("the engine did not answer in time")
        if self.is_away:
            raise requests.ConnectionError("the engine is away")
        if not self.is_manager and name != "info":
            raise api_error(503, "This node is not a swarm manager.")
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
        task = self._tasks[f"task-{number}"] = {
            "ID": f"task-{number}",
            "ServiceID": service_id,
            "CreatedAt": self._now(),
            "NodeID": "",
            "DesiredState": "running",
            "Spec": self._services[service_id]["Spec"]["TaskTemplate"],
            "Status": {},
        }
        self._to(task, "pending", Err="no suitable node (insufficient resources on 2 nodes)")
        self._place(task)

    def _now(self) -> str:
        """The time as the engine writes it, later with every call."""
        self._time = max(self._time + timedelta(microseconds=1), datetime.now(UTC))
        return f"{self._time:%Y-%m-%dT%H:%M:%S.%f}789Z"

    def _to(self, task: dict[str, Any], state: str, **status: Any) -> None:
        task["Status"] = task["Status"] | status | {"State": state, "Timestamp": self._now()}

    def _place(self, task: dict[str, Any]) -> None:
        ready = [node for node in self._nodes.values() if self.suits(task, node)]
        if not ready:
            return
        number = int(task["ID"].partition("-")[2])
        task["NodeID"] = ready[number % len(ready)]["ID"]
        self._to(task, "assigned", Message="scheduler assigned task to node", Err="")
        task["NetworksAttachments"] = [
            {
                "Network": {"Spec": {"Name": network}},
                "Addresses": [f"10.64.{number // 256}.{number % 256}/20"],
            }
            for network in self.networks
        ]
        if self.runs_at_once:
            self._to(task, "running")
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
                self._to(task, "shutdown")
            if task["DesiredState"] == "remove":
                del self._tasks[task_id]


def _is_ready(_task: dict[str, Any], node: dict[str, Any]) -> bool:
    return bool(node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active")
