"""A small engine over HTTP: enough of Docker's API for ``Swarm``, with versions that really conflict."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CREATED = "2026-03-02T09:00:00.123456789Z"


def node_json(number: int, **spec: Any) -> dict[str, Any]:
    return {
        "ID": f"node{number}",
        "Version": {"Index": 10},
        "CreatedAt": CREATED,
        "UpdatedAt": CREATED,
        "Spec": {"Role": "worker", "Availability": "pause", "Labels": {"theirs": "kept"}, **spec},
        "Description": {
            "Hostname": f"host{number}",
            "Engine": {"EngineVersion": "26.1.5", "Labels": {"org.swarmhub.instance": f"i-{number}"}},
        },
        "Status": {"State": "ready", "Addr": f"10.0.0.{number}"},
    }


def manager_json() -> dict[str, Any]:
    data = node_json(9, Role="manager", Availability="active")
    data["Status"]["Addr"] = "0.0.0.0"
    data["ManagerStatus"] = {"Leader": True, "Reachability": "reachable", "Addr": "10.0.0.9:2377"}
    return data


def service_json(**labels: str) -> dict[str, Any]:
    return {
        "ID": "service1",
        "Version": {"Index": 20},
        "CreatedAt": CREATED,
        "UpdatedAt": CREATED,
        "Spec": {
            "Name": "lab-ada",
            "Labels": {"org.swarmhub.hub": "lab", "org.swarmhub.user": "ada", **labels},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "a@sha256:1", "Healthcheck": {"StartInterval": 500000000}},
                "ForceUpdate": 3,
                "Runtime": "container",
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "UpdateConfig": {"Parallelism": 1, "Order": "start-first", "MaxFailureRatio": 0},
            "EndpointSpec": {"Mode": "dnsrr"},
            "FieldOfANewerEngine": {"kept": True},
        },
        "UpdateStatus": {"State": "completed", "StartedAt": CREATED},
    }


def task_json(**changes: Any) -> dict[str, Any]:
    return {
        "ID": "task1",
        "ServiceID": "service1",
        "NodeID": "node1",
        "CreatedAt": CREATED,
        "DesiredState": "running",
        "Spec": {"ForceUpdate": 3},
        "Status": {"State": "running", "Message": "started"},
        **changes,
    }


class Engine:
    """The state behind the API; ``before_update`` runs before each update is judged, to write in between."""

    def __init__(self) -> None:
        self.nodes = {n["ID"]: n for n in (node_json(1), manager_json())}
        self.services = {"service1": service_json()}
        self.tasks = [task_json()]
        self.logins: list[str | None] = []
        """The registry login of each request, None without one."""
        self.requests: list[tuple[str, str, dict[str, list[str]]]] = []
        self.before_update: Callable[[], None] = lambda: None
        self.down = False

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        parts = path.strip("/").split("/")[1 if path.startswith("/v1") else 0 :]
        self.requests.append((method, "/".join(parts), query))
        if self.down:
            return 503, {"message": "the swarm has no leader"}
        return self._route(method, parts, query, body)

    def _route(
        self, method: str, parts: list[str], query: dict[str, list[str]], body: Any
    ) -> tuple[int, Any]:
        match method, parts:
            case "GET", ["nodes" | "services" as kind]:
                return 200, list(getattr(self, kind).values())
            case "GET", ["tasks"]:
                return 200, self.tasks
            case "GET", ["swarm"]:
                return 200, {"ID": "cluster0", "JoinTokens": {"Worker": "SWMTKN-w", "Manager": "SWMTKN-m"}}
            case _, ["nodes" | "services" as kind, key]:
                return self._one(method, getattr(self, kind), key)
            case "POST", ["nodes" | "services" as kind, key, "update"]:
                return self._update(getattr(self, kind)[key], query, body)
        return 404, {"message": "no such path"}

    def _one(self, method: str, items: dict[str, Any], key: str) -> tuple[int, Any]:
        if key not in items:
            return 404, {"message": "not found"}
        if method == "DELETE":
            del items[key]
            return 200, {}
        return 200, items[key]

    def _update(self, item: dict[str, Any], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        self.before_update()
        if query["version"] != [str(item["Version"]["Index"])]:
            return 500, {"message": "rpc error: update out of sequence"}
        item["Spec"] = copy.deepcopy(body)
        item["Version"]["Index"] += 1
        return 200, {}


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    """Serve ``engine`` on a free port of the loopback address; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            engine.logins.append(self.headers.get("X-Registry-Auth"))
            status, answer = engine.answer(self.command, url.path, parse_qs(url.query), body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _handle  # noqa: N815

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
