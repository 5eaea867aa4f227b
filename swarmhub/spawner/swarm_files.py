"""Files of servers that the swarm keeps: configs, shared by all servers, and one secret for each start.

Configs are named after their content, so that any number of hubs, starts and restarts come to the same one;
they never change, and those that no service refers to any more are swept away.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any

from docker.errors import APIError, NotFound
from tenacity import retry, retry_if_exception, stop_after_attempt

from swarmhub.spawner.docker_calls import Ask, DockerApi
from swarmhub.spawner.spec import LABEL_HUB, FileRef
from swarmhub.spawner.tokens import SecretRef, secret_name

_HASH = 12
"""Hexadecimal digits of the content's hash in a config's name."""
_MAX_PREFIX = 24
"""Characters of hub and of purpose in a config's name, of which Swarm allows 64."""
_ATTEMPTS = 3


def _is_conflict(error: BaseException) -> bool:
    return isinstance(error, APIError) and error.status_code == HTTPStatus.CONFLICT


@dataclass(frozen=True)
class FileContent:
    """A file that every server, or every server of a course, finds at ``target``."""

    purpose: str
    """A word for its name in the swarm, such as ``passwd``."""
    target: str
    """Absolute path in the container."""
    content: str
    is_templated: bool = False
    """Swarm expands ``{{...}}`` in it on the worker, for each task."""


class SwarmFiles:
    """The configs of one hub. ``clock`` gives Unix seconds, which the engine's own dates are compared with.

    Methods raise what Docker's client raises.
    """

    def __init__(self, docker: Ask, hub: str, clock: Callable[[], float]) -> None:
        self._docker = docker
        self._hub = hub
        self._clock = clock
        self._ids: dict[str, asyncio.Task[str]] = {}
        self._used: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def ensure(self, file: FileContent) -> FileRef:
        """The file as a config, made if the swarm has none with this content. Known ones need no call."""
        name = config_name(self._hub, file)
        self._used[name] = self._clock()
        task = self._ids.get(name)
        if task is None:
            # One for all: a hundred first starts at once need the same few configs, or fail together.
            task = self._ids[name] = asyncio.ensure_future(self._make(name, file))
            task.add_done_callback(partial(self._forget_failure, name))
        return FileRef(await asyncio.shield(task), name, file.target)

    def _forget_failure(self, name: str, task: asyncio.Task[str]) -> None:
        if (task.cancelled() or task.exception()) and self._ids.get(name) is task:
            del self._ids[name]

    async def _make(self, name: str, file: FileContent) -> str:
        async with self._lock:
            return await self._docker(lambda api: self._find_or_create(api, name, file))

    # A config can appear between the look and the creation: another hub process made it.
    @retry(retry=retry_if_exception(_is_conflict), stop=stop_after_attempt(_ATTEMPTS), reraise=True)
    def _find_or_create(self, api: DockerApi, name: str, file: FileContent) -> str:
        for found in api.configs(filters={"name": [name]}):
            # The engine's filter also finds names that only start like this one.
            if found["Spec"]["Name"] == name:
                return str(found["ID"])
        templating = {"Name": "golang"} if file.is_templated else None
        labels = {LABEL_HUB: self._hub}
        return str(api.create_config(name, file.content.encode(), labels=labels, templating=templating)["ID"])

    def forget(self) -> bool:
        """Ask the swarm again for every file; True if any was known.

        For a service that Swarm refused with status 400, which is also its answer to a config that is gone
        (removed by hand, or another hub's sweep): build the request again, once, if this is True.
        """
        had_any = bool(self._ids)
        self._ids.clear()
        return had_any

    async def sweep(self, services: Iterable[Mapping[str, Any]], grace: float) -> tuple[str, ...]:
        """Remove this hub's configs that no service refers to; returns the names of those removed.

        ``services``: the engine's list of them. A config younger than ``grace`` seconds, or asked for within
        them, stays: its service may be about to be created. One that is in use after all stays too, since
        Swarm itself refuses.
        """
        referenced = referenced_configs(services)
        label = {"label": [f"{LABEL_HUB}={self._hub}"]}
        removed = []
        for config in await self._docker(lambda api: api.configs(filters=label)):
            name, config_id = config["Spec"]["Name"], config["ID"]
            # Forgotten first, and with the lock: no start is given the config's id while it is removed.
            async with self._lock:
                last_needed = max(self._used.get(name, 0.0), created_at(config))
                if config_id in referenced or self._clock() - last_needed < grace:
                    continue
                self._ids.pop(name, None)
                if await self._docker(partial(_remove_config, config_id=config_id)):
                    removed.append(name)
        return tuple(removed)


async def create_token_secret(docker: Ask, service: str, token: str, labels: Mapping[str, str]) -> SecretRef:
    """A new secret with the server's API token, for the service of this name; labels as the service has.

    Raises what Docker's client raises.
    """
    name = secret_name(service, secrets.token_hex(4))
    created = await docker(lambda api: api.create_secret(name, f"{token}\n".encode(), labels=dict(labels)))
    return SecretRef(created["ID"], name)


async def remove_secret(docker: Ask, secret_id: str) -> bool:
    """Remove a secret; True if it is gone, also if it was before, False while a service still uses it.

    Raises what Docker's client raises otherwise.
    """
    return await docker(lambda api: _remove(api.remove_secret, secret_id))


def _remove_config(api: DockerApi, config_id: str) -> bool:
    return _remove(api.remove_config, config_id)


def _remove(remove: Callable[[str], bool], object_id: str) -> bool:
    try:
        remove(object_id)
    except NotFound:
        return True
    except APIError as error:
        # "is in use by the following service": the only reason Swarm has to refuse (controlapi/secret.go).
        if error.status_code != HTTPStatus.BAD_REQUEST:
            raise
        return False
    return True


def config_name(hub: str, file: FileContent) -> str:
    """``<hub>-<purpose>-<hash>``, at most 64 characters: a function of hub, content and templating."""
    identity = "\0".join((hub, file.purpose, str(file.is_templated), file.content))
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    words = (re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:_MAX_PREFIX] for text in (hub, file.purpose))
    return "-".join(word for word in (*words, digest) if word)


def referenced_configs(services: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Ids of the configs that these services (the engine's list) mount."""
    return frozenset(
        config["ConfigID"]
        for service in services
        for config in service["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("Configs") or ()
    )


def created_at(raw: Mapping[str, Any]) -> float:
    """Unix seconds at which the engine made the object."""
    return datetime.fromisoformat(raw["CreatedAt"]).timestamp()
