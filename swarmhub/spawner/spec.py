"""From what a server needs to what Docker is asked for. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from docker.types import (
    ConfigReference,
    ContainerSpec,
    EndpointSpec,
    Mount,
    Placement,
    Resources,
    RestartPolicy,
    SecretReference,
    ServiceMode,
    TaskTemplate,
    UpdateConfig,
)
from swarmhub_agent.protocol import LABEL_POOL

from swarmhub.config import HOME
from swarmhub.spawner.folders import FolderMount
from swarmhub.spawner.health import health_check, no_health_check
from swarmhub.spawner.identity import HomeMount, identity_env
from swarmhub.spawner.placement import constraints
from swarmhub.spawner.tokens import TOKEN_FILE, SecretRef, command_with_token, without_token

__all__ = [
    "HOME",
    "LABEL_COURSE",
    "LABEL_HUB",
    "LABEL_SERVER",
    "LABEL_SPEC",
    "LABEL_USER",
    "SPEC_VERSION",
    "STOP_GRACE",
    "Extras",
    "FileRef",
    "FolderMount",
    "HomeMount",
    "SecretRef",
    "ServerRequest",
    "labels",
    "merge",
    "service_body",
]

LABEL_HUB = "org.swarmhub.hub"
LABEL_SERVER = "org.swarmhub.server"
LABEL_USER = "org.swarmhub.user"
LABEL_COURSE = "org.swarmhub.course"
LABEL_SPEC = "org.swarmhub.spec"
LABEL_HEALTH = "org.swarmhub.health"
"""The engine's HealthConfig as JSON, for when the service is moved (``swarmhub.spawner.health``)."""

SPEC_VERSION = 2
"""Which generation of this module made a service: counted up when services must be told apart by it. 1 had no
such label, no name files, no limits on processes and files, and the token in its environment."""
STOP_GRACE = 30
"""Seconds between SIGTERM and SIGKILL: time for JupyterLab to save and end its kernels."""

_SECOND = 10**9
"""Docker counts durations in nanoseconds, cores too."""
_SHM_SHARE = 2
"""/dev/shm may take this fraction (1/2) of the memory limit; Docker's own 64M breaks parallel libraries."""


@dataclass(frozen=True)
class FileRef:
    """A Swarm config, and the absolute path at which the container finds it, readable by everybody."""

    config_id: str
    config_name: str
    target: str


@dataclass(frozen=True)
class Extras:
    """The operator's own settings, in docker-py's keyword names; see ``merge`` for how they combine.

    Except in ``create``, a key that starts with a capital is the Engine API's own (``OomScoreAdj``), for what
    docker-py does not know.
    """

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
    require: Mapping[str, str] = field(default_factory=dict)
    """Node labels that must match."""
    prefer: Mapping[str, str] = field(default_factory=dict)
    """Node labels that must match at first; ``placement.relaxed`` gives them up."""
    home: HomeMount | None = None
    """Also whom the server runs as; without one that is the image's own user."""
    full_name: str = ""
    """Of the student, for the name files."""
    folders: tuple[FolderMount, ...] = ()
    mounts: tuple[Mount, ...] = ()
    """More mounts, beside home and folders."""
    files: tuple[FileRef, ...] = ()
    token_secret: SecretRef | None = None
    """Where the API token is; without one it stays in ``env``."""
    has_shell: bool = True
    """The image has ``/bin/sh``: the health check and ``token_secret`` need it."""
    memory: int | None = None
    """Limit, bytes."""
    memory_reservation: int | None = None
    """Bytes."""
    cpu: float | None = None
    """Limit, cores."""
    cpu_reservation: float | None = None
    """Cores."""
    generic_resources: Mapping[str, int] = field(default_factory=dict)
    """Pieces by kind, such as ``{"gpu": 1}``; the engine says which ones in ``DOCKER_RESOURCE_<KIND>``."""
    shared_memory: int | None = None
    """Size of ``/dev/shm``, bytes; None: half the memory limit."""
    pids: int | None = None
    """Limit of processes and threads together."""
    open_files: int | None = None
    """Limit for each process."""
    start_period: float = 180.0
    """Seconds in which failing health checks do not count."""
    spec_version: int = SPEC_VERSION
    extras: Extras = Extras()


def service_body(request: ServerRequest) -> dict[str, Any]:
    """Keyword arguments of docker-py's ``create_service`` for this server."""
    extras = request.extras
    container = _build(ContainerSpec, merge(_container(request), extras.container))
    if "Ulimits" in container:
        container["Ulimits"] = _last_of_each_name(container["Ulimits"])
    task = merge(
        {
            "container_spec": container,
            "resources": _build(Resources, merge(_resources(request), extras.resources)),
            # on-failure: a student's own shutdown (exit 0) stays down, everything else is replaced by Swarm.
            # Ten times in ten minutes, then a server that only crashes gives its seat back.
            "restart_policy": RestartPolicy(
                condition="on-failure", delay=_SECOND, max_attempts=10, window=600 * _SECOND
            ),
            "placement": _build(Placement, merge(_placement(request), extras.placement)),
            # Only here: the service-wide field was removed with API 1.44 (docker-py#3362).
            "networks": [request.network] if request.network else [],
            # The controller moves a server by counting this up.
            "force_update": 0,
        },
        extras.task,
    )
    create = {
        "name": request.name,
        "labels": labels(request) | _health_label(request),
        "task_template": _build(TaskTemplate, task),
        "mode": ServiceMode("replicated", replicas=1),
        # start-first: the new task serves before the old one stops. continue: a paused or rolled back update
        # would leave the server on a machine that is going away; the controller decides again on its own.
        "update_config": UpdateConfig(parallelism=1, order="start-first", failure_action="continue"),
        "endpoint_spec": _build(EndpointSpec, merge({"mode": "dnsrr"}, extras.endpoint)),
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


def labels(request: ServerRequest) -> dict[str, str]:
    """What service, container and secret of a server are labelled with."""
    return {
        LABEL_HUB: request.hub,
        LABEL_USER: request.user,
        LABEL_SERVER: request.server,
        LABEL_COURSE: request.course,
        LABEL_POOL: request.pool,
        LABEL_SPEC: str(request.spec_version),
    }


def _health_label(request: ServerRequest) -> dict[str, str]:
    if not request.has_shell:
        return {}
    return {LABEL_HEALTH: json.dumps(_health(request))}


def _health(request: ServerRequest) -> dict[str, Any]:
    return health_check(request.port, request.base_url, request.start_period)


def _build(kind: Callable[..., dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """One of docker-py's types, with the settings it does not know, which start with a capital."""
    known = {key: value for key, value in settings.items() if not key[:1].isupper()}
    built = kind(**known)
    built.update(merge(built, {key: value for key, value in settings.items() if key not in known}))
    return built


def _last_of_each_name(limits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({limit["Name"]: limit for limit in limits}.values())


def _container(request: ServerRequest) -> dict[str, Any]:
    command, env = request.command, dict(request.env)
    if request.token_secret:
        command, env = command_with_token(command), without_token(env)
    kwargs: dict[str, Any] = {
        "image": request.image,
        "args": list(command),
        "env": {key: _literal(key, value) for key, value in env.items()},
        "labels": labels(request),
        "mounts": _mounts(request),
        "configs": [_config(file) for file in request.files],
        "secrets": [_secret(request.token_secret, request.home)] if request.token_secret else [],
        # Whoever sets a health check of their own wants the engine to check.
        "healthcheck": _health(request) if "healthcheck" in request.extras.container else no_health_check(),
        "stop_grace_period": STOP_GRACE * _SECOND,
        "init": True,
        "cap_drop": ["ALL"],
        "privileges": {"NoNewPrivileges": True},
    }
    if request.open_files:
        limit = {"Name": "nofile", "Soft": request.open_files, "Hard": request.open_files}
        kwargs["Ulimits"] = [limit]
    if request.home:
        home = request.home
        kwargs["env"] |= identity_env(home, request.full_name)
        kwargs |= {"user": f"{home.uid}:{home.gid}", "workdir": HOME}
        if home.groups:
            kwargs["groups"] = [str(group) for group in home.groups]
    return kwargs


def _literal(key: str, value: str | None) -> str | None:
    """A value that reaches the container as it is: Swarm takes ``{{`` in variables for a template.

    JupyterHub's own variables carry names that students choose; the others are the operator's, who may want a
    template (``{{.Node.Hostname}}``).
    """
    if value is None or not key.startswith(("JUPYTERHUB_", "JPY_")):
        return value
    return value.replace("{{", '{{"{{"}}')


def _mounts(request: ServerRequest) -> list[Mount]:
    shm = request.shared_memory or (request.memory // _SHM_SHARE if request.memory else None)
    home = [Mount(target=HOME, source=request.home.path, type="bind")] if request.home else []
    folders = [
        Mount(target=folder.target, source=folder.source, type="bind", read_only=folder.read_only)
        for folder in request.folders
    ]
    shared_memory = Mount(target="/dev/shm", source=None, type="tmpfs", tmpfs_size=shm, tmpfs_mode=0o1777)
    return [*home, *folders, *request.mounts, shared_memory]


def _config(file: FileRef) -> ConfigReference:
    return ConfigReference(file.config_id, file.config_name, file.target, uid="0", gid="0", mode=0o444)


def _secret(secret: SecretRef, home: HomeMount | None) -> SecretReference:
    """Readable by the server's user only; whom the image's own user is, is not known."""
    name = TOKEN_FILE.rpartition("/")[2]
    if home is None:
        return SecretReference(secret.id, secret.name, name, uid="0", gid="0", mode=0o444)
    return SecretReference(secret.id, secret.name, name, uid=str(home.uid), gid=str(home.gid), mode=0o400)


def _resources(request: ServerRequest) -> dict[str, Any]:
    resources: dict[str, Any] = {
        "mem_limit": request.memory,
        "mem_reservation": request.memory_reservation,
        "cpu_limit": _nano(request.cpu),
        "cpu_reservation": _nano(request.cpu_reservation),
    }
    if request.generic_resources:
        resources["generic_resources"] = dict(request.generic_resources)
    if request.pids:
        resources["Limits"] = {"Pids": request.pids}
    return resources


def _nano(cores: float | None) -> int | None:
    return None if cores is None else round(cores * _SECOND)


def _placement(request: ServerRequest) -> dict[str, Any]:
    return {"constraints": constraints(request.pool, request.require, request.prefer)}
