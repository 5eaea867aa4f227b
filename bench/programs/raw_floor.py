"""The floor that Swarm itself sets: services made by docker-py with 8 threads and watched closely.

Runs in a container with docker-py, the engine's socket and the servers' network. Usage: raw_floor.py ORDER,
where ORDER is JSON: ``count``, ``cycle`` (also stop each service and start it again), ``image``, ``network``,
``user``, ``deadline`` (seconds, for each start) and ``workload``. Prints JSON: ``first`` and, with ``cycle``,
``again``: the seconds until each server was ready, null for those that were not within the deadline. Ready is
a server that accepts TCP, or (``ready: http``) that answers a request.
"""

import http.client
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
from docker.types import (
    ContainerSpec,
    EndpointSpec,
    NetworkAttachmentConfig,
    Placement,
    Resources,
    TaskTemplate,
)

LABEL = "org.swarmhub.bench"
OVER = {"complete", "shutdown", "failed", "rejected", "remove", "orphaned"}
PAUSE = 0.05


class Floor:
    """Services of one run; each has a number."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        # docker-py is not typed.
        self.api: Any = docker.APIClient(version="auto")
        self.pool = ThreadPoolExecutor(8)

    def create(self, number: int) -> str:
        """Make the service with that number; its id."""
        workload = self.order["workload"]
        task = TaskTemplate(
            ContainerSpec(
                self.order["image"], command=workload["raw_command"], init=True, user=self.order["user"]
            ),
            resources=Resources(
                mem_limit=workload["memory_limit"],
                mem_reservation=workload["memory_reservation"],
                cpu_reservation=int(workload["cpu_reservation"] * 1e9),
            ),
            networks=[NetworkAttachmentConfig(self.order["network"])],
            placement=Placement(constraints=["node.role==worker"]),
        )
        service = self.api.create_service(
            task,
            name=f"bench-raw-{number}",
            labels={LABEL: "raw"},
            endpoint_spec=EndpointSpec(mode="dnsrr"),
        )
        return str(service["ID"])

    def is_ready(self, address: str) -> bool:
        try:
            if self.order["workload"]["ready"] == "tcp":
                socket.create_connection((address, 8888), timeout=1).close()
                return True
            connection = http.client.HTTPConnection(address, 8888, timeout=1)
            connection.request("GET", "/api")
            connection.getresponse().close()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def start_all(self) -> tuple[dict[str, int], list[float | None]]:
        """Start all at once; number by service id, and seconds by number."""
        begin = time.monotonic()
        services = self.pool.map(self.create, range(self.order["count"]))
        numbers = {service: number for number, service in enumerate(services)}
        return numbers, self.follow(numbers, dict.fromkeys(numbers.values(), begin), {})

    def stop_and_start_all(self, numbers: dict[str, int]) -> list[float | None]:
        """Stop all at once; start each again as soon as nothing of it runs. Seconds by number."""
        list(self.pool.map(self.api.remove_service, numbers))
        return self.follow({}, {}, numbers)

    def follow(
        self, starting: dict[str, int], begins: dict[int, float], stopping: dict[str, int]
    ) -> list[float | None]:
        """Seconds by number until each is ready; those in ``stopping`` are started once they are gone."""
        starting, stopping, begins = dict(starting), dict(stopping), dict(begins)
        seconds: dict[int, float | None] = dict.fromkeys([*starting.values(), *stopping.values()])
        end = time.monotonic() + self.order["deadline"]
        while (starting or stopping) and time.monotonic() < end:
            tasks = self.api.tasks()
            alive = {task["ServiceID"] for task in tasks if task["Status"]["State"] not in OVER}
            for service in set(stopping) - alive:
                number = stopping.pop(service)
                begins[number] = time.monotonic()
                starting[self.create(number)] = number
            known = addresses(tasks)
            candidates = [service for service in starting if service in known]
            answers = self.pool.map(self.is_ready, [known[service] for service in candidates])
            for service, ready in zip(candidates, answers, strict=True):
                if ready:
                    number = starting.pop(service)
                    seconds[number] = time.monotonic() - begins[number]
            time.sleep(PAUSE)
        return [seconds[number] for number in sorted(seconds)]

    def clear(self) -> None:
        for service in self.api.services(filters={"label": f"{LABEL}=raw"}):
            self.api.remove_service(service["ID"])


def addresses(tasks: list[dict[str, Any]]) -> dict[str, str]:
    """Address by service id of every task that runs."""
    return {
        task["ServiceID"]: attachment["Addresses"][0].split("/")[0]
        for task in tasks
        if (task["Status"]["State"], task["DesiredState"]) == ("running", "running")
        for attachment in task.get("NetworksAttachments") or []
    }


def main(order: dict[str, Any]) -> None:
    floor = Floor(order)
    try:
        numbers, first = floor.start_all()
        result = {"first": first}
        if order["cycle"]:
            result["again"] = floor.stop_and_start_all(numbers)
        print(json.dumps(result))
    finally:
        floor.clear()


main(json.loads(sys.argv[1]))
