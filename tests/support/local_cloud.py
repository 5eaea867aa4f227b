"""The running local cloud as tests see it: the fake cloud's control port and the manager's docker command."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

REPOSITORY = Path(__file__).resolve().parents[2]
CONTROL = "http://127.0.0.1:8090"
HUB = "http://127.0.0.1:8000"


def run(*command: str, timeout: float = 60, check: bool = True, stdin: str = "") -> str:
    """The command's standard output; with ``check`` a failure raises with what it printed."""
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        timeout=timeout,
        capture_output=True,
        text=True,
        input=stdin,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} exited {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def manager(*command: str, timeout: float = 60, check: bool = True) -> str:
    """Output of a command on the manager instance."""
    return run("docker", "compose", "exec", "-T", "manager", *command, timeout=timeout, check=check)


def on_instance(container: str, *command: str, timeout: float = 60, check: bool = True) -> str:
    """Output of a command inside an instance's container."""
    return run("docker", "exec", container, *command, timeout=timeout, check=check)


def rows(text: str) -> list[dict[str, str]]:
    """Docker's ``--format json`` output: one JSON object a line."""
    return [json.loads(line) for line in text.splitlines() if line.strip()]


@dataclass(frozen=True)
class NodeRow:
    id: str
    hostname: str
    status: str
    availability: str
    is_manager: bool


def nodes() -> list[NodeRow]:
    return [
        NodeRow(r["ID"], r["Hostname"], r["Status"], r["Availability"], bool(r["ManagerStatus"]))
        for r in rows(manager("docker", "node", "ls", "--format", "json"))
    ]


def workers() -> list[NodeRow]:
    return [node for node in nodes() if not node.is_manager]


def active_workers() -> list[NodeRow]:
    return [node for node in workers() if (node.status, node.availability) == ("Ready", "Active")]


def status() -> dict[str, Any]:
    """``swarmhub status --json``."""
    document: dict[str, Any] = json.loads(manager("swarmhub", "status", "--json"))
    return document


def instances() -> list[dict[str, Any]]:
    answer = requests.get(f"{CONTROL}/instances", timeout=10)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()
    return found


def live_worker_instances() -> list[dict[str, Any]]:
    return [
        i
        for i in instances()
        if i["state"] == "running" and i["lifecycle_state"] == "InService" and i["pool"]
    ]


def control(instance_id: str, action: str, body: dict[str, Any] | None = None) -> None:
    answer = requests.post(f"{CONTROL}/instances/{instance_id}/{action}", json=body or {}, timeout=10)
    assert answer.ok, f"{action} of {instance_id}: {answer.status_code} {answer.text}"


def hooks(instance_id: str) -> list[dict[str, Any]]:
    """The lifecycle actions the fake Auto Scaling group has run for an instance, oldest first."""
    answer = requests.get(f"{CONTROL}/hooks", timeout=10)
    answer.raise_for_status()
    return [hook for hook in answer.json() if hook["instance_id"] == instance_id]


def node_of_instance(instance_id: str) -> NodeRow | None:
    """The swarm's node of an instance, by the label that the agent writes at boot."""
    for node in workers():
        labels = json.loads(
            manager("docker", "node", "inspect", node.id, "--format", "{{json .Description.Engine.Labels}}")
        )
        if (labels or {}).get("org.swarmhub.instance") == instance_id:
            return node
    return None


def node_of_server(user: str, server: str = "") -> str | None:
    """Id of the node where the server's task that should run is running; None while there is none."""
    found = rows(
        manager(
            "docker", "service", "ls", "--format", "json",
            "--filter", f"label=org.swarmhub.user={user}", "--filter", f"label=org.swarmhub.server={server}",
        )
    )  # fmt: skip
    if not found:
        return None
    tasks = manager(
        "docker", "service", "ps", found[0]["ID"], "--no-trunc", "-q", "--filter", "desired-state=running"
    ).split()
    for task in tasks:
        state, node = manager("docker", "inspect", task, "--format", "{{.Status.State}} {{.NodeID}}").split(
            " ", 1
        )
        if state == "running":
            return node.strip()
    return None
