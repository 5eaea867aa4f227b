"""The Docker edge: one look at the swarm, and the few changes the controller makes to it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import docker
import requests
from docker.auth import get_config_header, resolve_repository_name
from docker.errors import APIError, DockerException, NotFound
from docker.utils import kwargs_from_env
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from swarmhub.controller.model import SwarmView
from swarmhub.controller.parse import node_from, servers_from
from swarmhub.images import resolve_image
from swarmhub.registries import Credentials, authenticate
from swarmhub.spawner.spec import LABEL_HEALTH, LABEL_HUB

T = TypeVar("T")

CALL_TIMEOUT_S = 10
"""Per request to the engine; an engine that needs longer is not working."""
THREADS = 4
_CONFLICTS = frozenset({409, 500})
"""Answers to an update with an outdated version: engines say 500 up to 28, newer ones 409."""


class SwarmError(Exception):
    """The engine could not be asked, or refused."""


@dataclass(frozen=True, slots=True)
class JoinSecret:
    """What a worker needs to join, and the cluster it joins."""

    cluster_id: str
    worker_token: str


# docker-py's stubs are partly untyped and leave out the helpers used below: its client is Any here.
def default_client() -> Any:
    """A client of the local engine, or of ``DOCKER_HOST``."""
    return docker.APIClient(**kwargs_from_env(), version="auto", timeout=CALL_TIMEOUT_S)


class Swarm:
    """The swarm of one hub. Every method raises SwarmError when the engine does not do it."""

    def __init__(
        self,
        hub: str,
        clock: Callable[[], datetime],
        make_client: Callable[[], Any] = default_client,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._make_client = make_client
        self._local = threading.local()
        self.credentials = Credentials((), clock)
        """The logins of the hub's registries; replaced with the configuration."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    async def snapshot(self) -> SwarmView:
        """All nodes, and this hub's servers with their tasks.

        Nodes are listed before tasks: a node listed as paused can have no task that the task list misses.
        """

        def look(client: Any) -> SwarmView:
            taken_at = self._clock()
            only_ours = {"label": f"{LABEL_HUB}={self._hub}"}
            nodes = tuple(node_from(data) for data in client.nodes())
            services, tasks = client.services(filters=only_ours), client.tasks(filters=only_ours)
            return SwarmView(taken_at, nodes, servers_from(services, tasks))

        return await self._call(look)

    async def has_node(self, node_id: str) -> bool:
        def look(client: Any) -> bool:
            try:
                return bool(client.inspect_node(node_id)["ID"] == node_id)
            except NotFound:
                return False

        return await self._call(look)

    async def join_secret(self) -> JoinSecret:
        def look(client: Any) -> JoinSecret:
            data = client.inspect_swarm()
            return JoinSecret(data["ID"], data["JoinTokens"]["Worker"])

        return await self._call(look)

    async def set_node(self, node_id: str, availability: str, labels: Mapping[str, str | None]) -> None:
        """Set availability and labels (None removes one), keeping what else somebody has set meanwhile."""

        def change(client: Any) -> None:
            node = client.inspect_node(node_id)
            merged = {**(node["Spec"].get("Labels") or {}), **labels}
            spec = {
                **node["Spec"],
                "Availability": availability,
                "Labels": {key: value for key, value in merged.items() if value is not None},
            }
            if spec != node["Spec"]:
                client.update_node(node_id, node["Version"]["Index"], spec)

        await self._call(lambda client: _retrying(lambda: change(client)))

    async def force_update(self, service_id: str, seen_counter: int) -> bool:
        """Have the service's tasks replaced in its own update order; False if that was asked for already.

        ``seen_counter`` is the ``ForceUpdate`` the decision is based on. The specification goes back exactly
        as it came, with the health check of its label: docker-py's ``update_service`` would build it anew
        from the parts it knows.
        """

        def change(client: Any) -> bool:
            service = client.inspect_service(service_id)
            spec, template = service["Spec"], service["Spec"]["TaskTemplate"]
            if template.get("ForceUpdate", 0) != seen_counter:
                return False
            template = {**template, "ForceUpdate": seen_counter + 1}
            if health := spec.get("Labels", {}).get(LABEL_HEALTH):
                template["ContainerSpec"] = {**template["ContainerSpec"], "Healthcheck": json.loads(health)}
            spec = {**spec, "TaskTemplate": template}
            params = {"version": service["Version"]["Index"], "registryAuthFrom": "spec"}
            url = client._url("/services/{0}/update", service_id)
            # The login kept with the service may have ended; with none, the engine takes the kept one.
            registry, _ = resolve_repository_name(template["ContainerSpec"]["Image"])
            login = get_config_header(client, registry)
            headers = {"X-Registry-Auth": login} if login else {}
            client._raise_for_status(client._post_json(url, data=spec, params=params, headers=headers))
            return True

        return await self._call(lambda client: _retrying(lambda: change(client)))

    async def remove_node(self, node_id: str) -> None:
        """Remove the node by force; one that is not there any more is no error."""

        def change(client: Any) -> None:
            try:
                client.remove_node(node_id, force=True)
            except NotFound:
                return

        await self._call(change)

    async def resolve(self, reference: str) -> str:
        """``reference`` by digest. Raises ImageError, too."""
        return await self._call(lambda client: resolve_image(client, reference, credentials=self.credentials))

    async def _call(self, work: Callable[[Any], T]) -> T:
        def run() -> T:
            # requests' sessions are not meant to be shared by threads.
            client = getattr(self._local, "client", None)
            if client is None:
                client = self._local.client = self._make_client()
            authenticate(client, self.credentials)
            return work(client)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, run)
        except (DockerException, requests.RequestException) as error:
            raise SwarmError(f"Docker: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise SwarmError(f"Docker answered something unexpected: {error!r}") from error


def _retrying(change: Callable[[], T]) -> T:
    """Read, change and write again when somebody else wrote in between."""
    retrying = Retrying(
        stop=stop_after_attempt(4),
        wait=wait_fixed(0.05),
        retry=retry_if_exception(_is_conflict),
        reraise=True,
    )
    return retrying(change)


def _is_conflict(error: BaseException) -> bool:
    response = error.response if isinstance(error, APIError) else None
    return response is not None and response.status_code in _CONFLICTS
