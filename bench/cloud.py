"""The local cloud as the benchmarks use it: hubs of their own on the manager, the raw floor, clearing up.

Everything made here has a name that begins with ``bench``; nothing else is ever removed.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

import requests

from bench.hub_api import HubApi
from bench.workload import PROGRAMS, Workload
from tests.support.local_cloud import REPOSITORY, instances, manager, on_instance
from tests.support.polling import eventually

MANAGER = "172.31.250.10"
HUB_PORTS = {"ours": 8101, "stock": 8102}
PROXY_PORTS = {"ours": 8111, "stock": 8112}
COUNTER_PORT = 8121
SCRATCH = "/run/swarmhub-bench"
"""On the manager, in memory: the hubs' database, the counting socket, stock's packages."""
ENGINE_SOCKET = "/var/run/docker.sock"
HUB_START = 120
"""Seconds a hub may take until it answers."""
CLEAR = 180
"""Seconds until nothing of an earlier run is left: 30 s of grace for each container, many at once."""
INSTALL = 180
"""Seconds for pip."""
SETTLE = 3
"""Seconds of rest between runs, for the engines to finish what nobody sees."""
USER = "20000:100"


@dataclass(frozen=True)
class Cloud:
    """The images of the running cloud, and what all contenders run with."""

    hub_image: str
    proxy_image: str
    notebook_image: str
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    network: str = "notebooks"

    @classmethod
    def running(cls) -> Cloud:
        lines = (REPOSITORY / "var/etc/manager.env").read_text().split()
        images = dict(line.split("=", 1) for line in lines)
        return cls(
            images["SWARMHUB_HUB_IMAGE"],
            images["SWARMHUB_PROXY_IMAGE"],
            images["SWARMHUB_NOTEBOOK_IMAGE"],
        )


@dataclass(frozen=True)
class Hub:
    """A hub of the benchmarks that answers."""

    spawner: str
    api: HubApi
    proxy: str
    """The proxy's address, ``host:port``."""
    token: str

    def began_at(self, name: str) -> datetime | None:
        """When the JupyterLab that answers for that user began, by its own word; None: none answers."""
        try:
            answer = requests.get(
                f"http://{self.proxy}/user/{name}/api/status",
                headers={"Authorization": f"token {self.token}"},
                timeout=5,
                allow_redirects=False,
            )
        except requests.RequestException:
            return None
        return datetime.fromisoformat(answer.json()["started"]) if answer.ok else None


def prepare(cloud: Cloud) -> None:
    """Clear what an interrupted run left, and give stock the packages that our image lacks.

    Our hub's image has no aiodns (docs/decisions/0006-no-aiodns.md); whoever installs JupyterHub has it.
    """
    clear()
    manager("rm", "-rf", SCRATCH)
    manager("mkdir", "-p", SCRATCH)
    wanted = locked_requirements((REPOSITORY / "requirements/hub.txt").read_text(), ("aiodns", "pycares"))
    install = "pip install --quiet --require-hashes --no-deps --target /bench/stock --requirement /tmp/wanted"
    manager(
        "docker", "run", "--rm", "--env", f"WANTED={wanted}", "--volume", f"{SCRATCH}:/bench",
        cloud.hub_image, "sh", "-c", f'echo "$WANTED" >/tmp/wanted && {install}',
        timeout=INSTALL,
    )  # fmt: skip


def locked_requirements(locked: str, names: tuple[str, ...]) -> str:
    """The lines (versions and hashes) of these packages in a requirements file."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", locked)
    return "\n".join(
        "\n".join(line for line in block.splitlines() if not line.lstrip().startswith("#"))
        for block in blocks
        if block.split("==")[0] in names
    )


def create_service(
    name: str, image: str, *arguments: str, environment: dict[str, str], command: list[str]
) -> None:
    """A service on the manager; ``arguments``: more options of ``docker service create``."""
    env = [part for key, value in environment.items() for part in ("--env", f"{key}={value}")]
    manager(
        "docker", "service", "create", "--detach", "--name", name, "--network", "notebooks",
        "--constraint", "node.role==manager", "--endpoint-mode", "dnsrr", "--restart-delay", "1s", "--init",
        *env, *arguments, image, *command,
    )  # fmt: skip


def bind(source: str, target: str) -> tuple[str, str]:
    return ("--mount", f"type=bind,source={source},target={target}")


@contextmanager
def hub(cloud: Cloud, spawner: str, workload: Workload, engine: str = ENGINE_SOCKET) -> Iterator[Hub]:
    """A hub with that spawner and a proxy of its own; they and all servers are gone afterwards."""
    port, proxy_port = HUB_PORTS[spawner], PROXY_PORTS[spawner]
    url = f"http://{MANAGER}:{port}"
    settings = {
        "spawner": spawner,
        "token": cloud.token,
        "hub_url": url,
        "state": "/bench/state",
        "notebook_image": cloud.notebook_image,
        "network": cloud.network,
        "user": USER,
        "workload": workload.as_json(),
    }
    environment = {
        "BENCH_SETTINGS": json.dumps(settings),
        "BENCH_CONFIG": (PROGRAMS / "hub_config.py").read_text(),
    }
    if spawner == "stock":
        environment["PYTHONPATH"] = "/bench/stock"
    clear()
    manager("sh", "-c", f"rm -rf {SCRATCH}/state && mkdir {SCRATCH}/state")
    create_service(
        "bench_proxy", cloud.proxy_image, "--publish", f"mode=host,target=8000,published={proxy_port}",
        environment={"CONFIGPROXY_AUTH_TOKEN": cloud.token},
        command=[
            "--ip=0.0.0.0", "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001", f"--default-target={url}",
        ],
    )  # fmt: skip
    create_service(
        "bench_hub", cloud.hub_image, *bind(engine, ENGINE_SOCKET), *bind(SCRATCH, "/bench"),
        "--publish", f"mode=host,target=8081,published={port}",
        environment=environment,
        command=["sh", "-c", 'echo "$BENCH_CONFIG" >/tmp/hub.py && exec jupyterhub --config /tmp/hub.py'],
    )  # fmt: skip
    try:
        api = HubApi(f"{url}/hub/api", cloud.token)
        eventually(f"the hub with the {spawner} spawner", api.answers, seconds=HUB_START, every=0.1)
        yield Hub(spawner, api, f"{MANAGER}:{proxy_port}", cloud.token)
    finally:
        clear()


@contextmanager
def counted_engine(cloud: Cloud) -> Iterator[tuple[str, Callable[[], dict[str, int]]]]:
    """Path of a socket that passes the engine's API on, and the calls so far by method and path."""
    socket = f"{SCRATCH}/counted.sock"
    address = f"http://{MANAGER}:{COUNTER_PORT}/counts"

    def counts() -> dict[str, int]:
        answer = requests.get(address, timeout=5)
        answer.raise_for_status()
        found: dict[str, int] = answer.json()
        return found

    manager("docker", "service", "rm", "benchcounter", check=False)
    create_service(
        "benchcounter", cloud.hub_image, *bind(ENGINE_SOCKET, ENGINE_SOCKET), *bind(SCRATCH, "/bench"),
        "--publish", f"mode=host,target={COUNTER_PORT},published={COUNTER_PORT}",
        environment={"COUNTER": (PROGRAMS / "count_calls.py").read_text()},
        command=["sh", "-c", f'exec python -c "$COUNTER" /bench/counted.sock {COUNTER_PORT}'],
    )  # fmt: skip
    try:
        eventually("the counter of calls", lambda: _answers(address), seconds=60)
        yield socket, counts
    finally:
        manager("docker", "service", "rm", "benchcounter", check=False)


def raw_floor(
    cloud: Cloud, workload: Workload, count: int, *, cycle: bool, deadline: float
) -> dict[str, list[float | None]]:
    """See programs/raw_floor.py: seconds by server, ``first`` and with ``cycle`` also ``again``."""
    order = {
        "count": count,
        "cycle": cycle,
        "image": cloud.notebook_image,
        "network": cloud.network,
        "user": USER,
        "deadline": deadline,
        "workload": workload.as_json(),
    }
    printed = manager(
        "docker", "run", "--rm", "--name", "benchraw", "--network", cloud.network,
        "--volume", f"{ENGINE_SOCKET}:{ENGINE_SOCKET}", cloud.hub_image,
        "python", "-c", (PROGRAMS / "raw_floor.py").read_text(), json.dumps(order),
        timeout=2 * deadline + 120,
    )  # fmt: skip
    result: dict[str, list[float | None]] = json.loads(printed)
    wait_until_idle()
    return result


def server_tasks() -> set[str]:
    """Id and state of every task that belongs to a server of a hub of the benchmarks and should run."""
    found = [name for name in _services() if name.startswith("bench-")]
    if not found:
        return set()
    listed = manager(
        "docker", "service", "ps", "--no-trunc", "--filter", "desired-state=running", "--format",
        "{{.ID}} {{.CurrentState}}", *found,
    )  # fmt: skip
    return {task.split()[0] for task in listed.splitlines() if task.split()[1] == "Running"}


def hub_started_at() -> float:
    """When the benchmark's hub started: seconds since 1970, on this machine's clock; 0: it does not run."""
    filters = ("-f", "label=com.docker.swarm.service.name=bench_hub", "-f", "status=running")
    containers = manager("docker", "ps", "-q", *filters).split()
    if not containers:
        return 0.0
    started = manager(
        "docker", "inspect", *containers, "--format", "{{.State.StartedAt}}", check=False
    ).split()
    return max((float(manager("date", "+%s.%N", "-d", moment)) for moment in started), default=0.0)


def clear() -> None:
    """Remove all that benchmarks made, and wait until nothing of it runs any more."""
    manager("docker", "rm", "--force", "benchraw", check=False)
    # The hub first: it would take a server that vanishes for one to look after.
    manager("docker", "service", "rm", "bench_hub", check=False)
    wait_until_idle(remove=True)
    for kind in ("secret", "config"):
        left = manager("docker", kind, "ls", "-q", "--filter", "label=org.swarmhub.hub=bench").split()
        if left:
            manager("docker", kind, "rm", *left, check=False)


def wait_until_idle(*, remove: bool = False) -> None:
    """Nothing of an earlier run may still be stopping on the workers."""
    keep = () if remove else ("bench_hub", "bench_proxy")

    def idle() -> bool:
        left = [name for name in _services() if name not in (*keep, "benchcounter")]
        if remove and left:
            manager("docker", "service", "rm", *left, check=False)
        if remove and manager("docker", "ps", "-q", "-f", "name=^bench_").strip():
            return False
        return not left and not any(_containers_on(container) for container in _machines())

    eventually("the earlier run is gone", idle, seconds=CLEAR, every=0.5)
    time.sleep(SETTLE)


def _services() -> list[str]:
    names = manager("docker", "service", "ls", "--format", "{{.Name}}").split()
    return [name for name in names if name.startswith("bench")]


def _machines() -> list[str]:
    return [str(i["container"]) for i in instances() if i["state"] == "running" and i["pool"]]


def _containers_on(container: str) -> bool:
    """Whether a server of the benchmarks runs on that worker; a worker that does not answer runs none."""
    return bool(on_instance(container, "docker", "ps", "-q", "-f", "name=^bench", check=False).strip())


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False
