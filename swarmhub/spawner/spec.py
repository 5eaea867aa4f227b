"""From what a server needs to what Docker is asked for. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from docker.types import (
    ContainerSpec,
    EndpointSpec,
    Mount,
    Placement,
    Resources,
    RestartPolicy,
    ServiceMode,
    TaskTemplate,
    UpdateConfig,
)
from swarmhub_agent.protocol import LABEL_POOL

LABEL_HUB = "org.swarmhub.hub"
LABEL_SERVER = "org.swarmhub.server"
LABEL_USER = "org.swarmhub.user"
LABEL_COURSE = "org.swarmhub.course"

HOME = "/home/jovyan"
"""Where the home is mounted: the user and path every Jupyter image uses."""
STOP_GRACE = 30
"""Seconds between SIGTERM and SIGKILL: time for JupyterLab to save and end its kernels."""

_SECOND = 10**9
"""Docker counts durations in nanoseconds, cores too."""
_SHM_SHARE = 2
"""/dev/shm may take this fraction (1/2) of the memory limit; Docker's own 64M breaks parallel libraries."""


@dataclass(frozen=True)
class HomeMount:
    """The student's home on the node, and whose it is."""

    path: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Extras:
    """The operator's own settings, in docker-py's keyword names; see ``merge`` for how they combine."""

    container: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    task: Mapping[str, Any] = field(default_factory=dict)
    endpoint: Mapping[str, Any] = field(default_factory=dict)
    create: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ServerRequest:
    """Everything a student's server is made of."""

    name: str
    """Service name."""
    hub: str
    user: str
    server: str
    """JupyterHub's name of the server, empty for the default one."""
    image: str
    """By digest, so that starting a task needs no registry."""
    command: tuple[str, ...]
    env: Mapping[str, str | None]
    port: int
    base_url: str
    """URL prefix of the server, with slashes at both ends."""
    network: str
    course: str = ""
    pool: str = ""
    """Empty: any worker."""
    home: HomeMount | None = None
    mounts: tuple[Mount, ...] = ()
    """More mounts, beside the home."""
    memory: int | None = None
    """Limit, bytes."""
    memory_reservation: int | None = None
    """Bytes."""
    cpu: float | None = None
    """Limit, cores."""
    cpu_reservation: float | None = None
    """Cores."""
    start_period: float = 180.0
    """Seconds in which failing health checks do not count."""
    extras: Extras = Extras()


def service_body(request: ServerRequest) -> dict[str, Any]:
    """Keyword arguments of docker-py's ``create_service`` for this server."""
    extras = request.extras
    container = merge(_container(request), extras.container)
    resources = merge(_resources(request), extras.resources)
    placement = merge(_placement(request), extras.placement)
    task = merge(
        {
            "container_spec": ContainerSpec(**container),
            "resources": Resources(**resources),
            # on-failure: a student's own shutdown (exit 0) stays down, everything else is replaced by Swarm.
            # Ten times in ten minutes, then a server that only crashes gives its seat back.
            "restart_policy": RestartPolicy(
                condition="on-failure", delay=_SECOND, max_attempts=10, window=600 * _SECOND
            ),
            "placement": Placement(**placement),
            # Only here: the service-wide field was removed with API 1.44 (docker-py#3362).
            "networks": [request.network] if request.network else [],
            # The controller moves a server by counting this up.
            "force_update": 0,
        },
        extras.task,
    )
    create = {
        "name": request.name,
        "labels": _labels(request),
        "task_template": TaskTemplate(**task),
        "mode": ServiceMode("replicated", replicas=1),
        # start-first: the new task serves before the old one stops. continue: a paused or rolled back update
        # would leave the server on a machine that is going away; the controller decides again on its own.
        "update_config": UpdateConfig(parallelism=1, order="start-first", failure_action="continue"),
        "endpoint_spec": EndpointSpec(**merge({"mode": "dnsrr"}, extras.endpoint)),
    }
    return merge(create, extras.create)


def merge(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``extra`` merged into it, neither changed.

    Mappings merge key by key, lists are joined (an extra constraint does not lose ours), None removes the
    key, everything else replaces.
    """
    merged = dict(base)
    for key, value in extra.items():
        ours = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(ours, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(ours, value)
        elif isinstance(ours, list) and isinstance(value, (list, tuple)):
            merged[key] = [*ours, *value]
        else:
            merged[key] = value
    return merged


def _labels(request: ServerRequest) -> dict[str, str]:
    return {
        LABEL_HUB: request.hub,
        LABEL_USER: request.user,
        LABEL_SERVER: request.server,
        LABEL_COURSE: request.course,
        LABEL_POOL: request.pool,
    }


def _container(request: ServerRequest) -> dict[str, Any]:
    shm = request.memory // _SHM_SHARE if request.memory else None
    mounts = [
        *request.mounts,
        Mount(target="/dev/shm", source=None, type="tmpfs", tmpfs_size=shm, tmpfs_mode=0o1777),
    ]
    env = dict(request.env)
    kwargs: dict[str, Any] = {
        "image": request.image,
        "args": list(request.command),
        "env": env,
        "labels": _labels(request),
        "mounts": mounts,
        "healthcheck": _healthcheck(request),
        "stop_grace_period": STOP_GRACE * _SECOND,
        "init": True,
        "cap_drop": ["ALL"],
    }
    if request.home:
        home = request.home
        mounts.insert(0, Mount(target=HOME, source=home.path, type="bind"))
        # The uid is in no passwd file: getpass.getuser() and shells need these words.
        env.update({"HOME": HOME, "USER": "jovyan", "LOGNAME": "jovyan"})
        kwargs |= {"user": f"{home.uid}:{home.gid}", "workdir": HOME}
    return kwargs


def _healthcheck(request: ServerRequest) -> dict[str, Any]:
    """Docker's HealthConfig; docker-py's own type has no StartInterval (API 1.44).

    Swarm kills unhealthy tasks, and a notebook may well block its server for a minute: two and a half minutes
    of silence are allowed. During the start the first success counts at once.
    """
    url = f"http://127.0.0.1:{request.port}{request.base_url}api"
    return {
        "Test": ["CMD-SHELL", f"curl -fsS -o /dev/null --max-time 8 {shlex.quote(url)}"],
        "Interval": 30 * _SECOND,
        "Timeout": 10 * _SECOND,
        "Retries": 5,
        "StartPeriod": int(request.start_period * _SECOND),
        "StartInterval": _SECOND // 2,
    }


def _resources(request: ServerRequest) -> dict[str, Any]:
    return {
        "mem_limit": request.memory,
        "mem_reservation": request.memory_reservation,
        "cpu_limit": _nano(request.cpu),
        "cpu_reservation": _nano(request.cpu_reservation),
    }


def _nano(cores: float | None) -> int | None:
    return None if cores is None else round(cores * _SECOND)


def _placement(request: ServerRequest) -> dict[str, Any]:
    constraints = ["node.role==worker"] if request.pool else []
    if request.pool:
        constraints.append(f"node.labels.{LABEL_POOL}=={request.pool}")
    return {"constraints": constraints}
