"""What all spawners of one hub process share: configuration, Docker, watch, queue and preparation."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from http import HTTPStatus
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

from docker.errors import APIError, DockerException, NotFound
from requests import RequestException
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential

from swarmhub.config import Config, most_seats
from swarmhub.spawner import metrics, orphans
from swarmhub.spawner.docker_calls import Connect, DockerApi, DockerCalls, asks_for_another_client
from swarmhub.spawner.errors import ConfigFailure, EngineFailure, NetworkFailure
from swarmhub.spawner.names import service_name
from swarmhub.spawner.orphans import Known, OrphanSweep
from swarmhub.spawner.outcome import log_tail
from swarmhub.spawner.preparation import Preparation
from swarmhub.spawner.queue import StartQueue
from swarmhub.spawner.readback import dropped_silently
from swarmhub.spawner.spec import LABEL_HUB
from swarmhub.spawner.swarm_files import create_token_secret, remove_secret
from swarmhub.spawner.tokens import SecretRef
from swarmhub.spawner.view import ClusterView
from swarmhub.spawner.watch import TaskWatch

T = TypeVar("T")

_DOCKER_THREADS = 8
ENGINE_PATIENCE = 90.0
"""Seconds a call is tried again while no manager answers: more than an engine takes to restart."""
CONFIGS_EVERY = 3600.0
"""Seconds between looks for configs that no service uses any more."""
CONFIGS_GRACE = 3 * 3600.0
"""Seconds since a config was last needed: a start may wait for its turn for so long."""
LOG_LINES = 8
"""Lines of a crashed server's log that its student is shown."""
LOGS_WITHIN = 5.0
"""Seconds a crashed server's log is waited for; the message goes without it then."""

log = logging.getLogger(__name__)


class NameTakenError(Exception):
    """There is a service of that name."""


class Runtime:
    """One a hub process; made by the first spawner that needs it, kept in the hub's settings."""

    def __init__(
        self,
        connect: Connect,
        hub: str,
        config: Config | None,
        *,
        state: Path | None = None,
        events: bool = True,
    ) -> None:
        self.hub = hub
        self.config = config
        self.docker = DockerCalls(connect, threads=_DOCKER_THREADS, name="docker")
        self.watch = TaskWatch(connect, hub, events=events)
        self.watch.listen(self._count_machines)
        self.preparation = Preparation(self.patiently, self.docker.client, hub, config, state)
        self.queue = StartQueue(self.watch.now, config.seats if config else None, self._running)
        self.resumed: dict[tuple[str, str], float] = {}
        """Since when (Unix seconds) starts of an earlier hub process wait, by user and server."""
        self._is_read_back = False
        self._has_started = False
        self._background: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Stop all threads and background tasks."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.watch.close()
        self.docker.close()
        self.preparation.close()

    def start(self, known: Callable[[], Known | None]) -> None:
        """Begin to watch the swarm and to clean up in it; does nothing the second time.

        ``known``: the servers that the hub's database has, asked for in the event loop.
        """
        self.watch.start()
        if self._has_started:
            return
        self._has_started = True
        if self.config:
            self.preparation.pins.keep(self.config.images())
            self.in_background(self._check_networks(self.config), "checking the networks")
        sweep = OrphanSweep(
            look=lambda: self.docker(partial(orphans.find, hub=self.hub)),
            known=known,
            remove=lambda found: self.docker(partial(orphans.remove, found=found)),
            clock=time.monotonic,
            count=metrics.ORPHANS.set,
        )
        self.in_background(sweep.run(), "removing orphans")
        self.in_background(self._sweep_configs(), "removing unused configs")

    async def _check_networks(self, config: Config) -> None:
        """Tell a network that is missing or smaller than its seats need; such tasks hang without an error."""
        sizes = []
        for network in config.networks:
            try:
                found = await self.patiently(partial(_network_size, name=network.name))
            except (DockerException, RequestException) as error:
                log.error("Network %s cannot be used: %s", network.name, error)  # noqa: TRY400 - no defect of ours
                continue
            sizes.append(found)
        if sizes and (most := most_seats(sum(sizes), len(sizes))) < config.seats:
            log.warning("The networks have room for %d servers, not for %d seats", most, config.seats)
            self.queue.use_seats(most)

    async def _sweep_configs(self) -> None:
        label = {"label": f"{LABEL_HUB}={self.hub}"}
        while True:
            await asyncio.sleep(CONFIGS_EVERY)
            try:
                services = await self.docker(lambda api: api.services(filters=label))
                await self.preparation.swarm_files.sweep(services, CONFIGS_GRACE)
            except (DockerException, RequestException) as error:
                log.info("Unused configs stay for now: %s", error)

    def in_background(self, work: Coroutine[Any, Any, Any], what: str) -> asyncio.Task[Any]:
        """Run ``work`` on its own; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work, name=what)
        self._background.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception():
            log.error("%s failed", task.get_name(), exc_info=task.exception())

    def _running(self) -> int:
        """Servers that have a seat, as far as known, without the starts in flight."""
        if self.watch.view is None:
            return 0
        services = self.watch.view.services
        starting = {service_name(self.hub, wish.user, wish.server) for wish in self.queue.admitted}
        return len(set(services.values()) - {services[name] for name in starting if name in services})

    def _count_machines(self, view: ClusterView) -> None:
        self.queue.use_machines(sum(node.takes_servers for node in view.nodes.values()))
        self.count_queue()

    async def patiently(self, call: Callable[[DockerApi], T]) -> T:
        """Run ``call(client)``, again for ``ENGINE_PATIENCE`` while no manager answers.

        A manager's election or restart takes seconds and must not fail a start. Raises what the last try did.
        """
        attempts = AsyncRetrying(
            retry=retry_if_exception(asks_for_another_client),
            stop=stop_after_delay(ENGINE_PATIENCE),
            wait=wait_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        return await attempts(self.docker, call)

    async def create_service(self, body: Mapping[str, Any]) -> str:
        """Create a service and return its id.

        Raises NameTakenError, and StartFailure, told apart by the engine's status code.
        """
        tries = itertools.count()

        def create(api: DockerApi) -> str:
            is_first = next(tries) == 0
            try:
                return str(api.create_service(**body)["ID"])
            except APIError as error:
                if is_first or error.status_code != HTTPStatus.CONFLICT:
                    raise
                # The try before was cut off, and did create it.
                return str(api.inspect_service(body["name"])["ID"])

        try:
            service_id = await self.patiently(create)
        except APIError as error:
            detail = str(error.explanation or error)
            status = error.status_code or HTTPStatus.INTERNAL_SERVER_ERROR
            if status == HTTPStatus.CONFLICT:
                raise NameTakenError(detail) from error
            if status == HTTPStatus.NOT_FOUND:
                raise NetworkFailure("The network of your server does not exist", detail) from error
            if status == HTTPStatus.BAD_REQUEST:
                raise ConfigFailure("Docker refused the server's settings", detail) from error
            raise EngineFailure("Docker could not create your server", detail) from error
        except RequestException as error:
            raise EngineFailure("Docker does not answer", str(error)) from error
        if not self._is_read_back:
            self._is_read_back = True
            self.in_background(self._read_back(service_id, body), "reading a service back")
        return service_id

    async def _read_back(self, service_id: str, body: Mapping[str, Any]) -> None:
        """Say once what of the protections this engine does not know, and drops without a word."""
        service = await self.docker(lambda api: api.inspect_service(service_id))
        for sentence in dropped_silently(body, service["Spec"]):
            log.warning("%s", sentence)

    async def update_service(self, service_id: str, body: Mapping[str, Any]) -> None:
        """Give a service another task template. Raises what Docker's client raises."""

        def update(api: DockerApi) -> None:
            service = api.inspect_service(service_id)
            spec = service["Spec"]
            api.update_service(
                service_id,
                service["Version"]["Index"],
                task_template=body["task_template"],
                name=spec["Name"],
                labels=spec["Labels"],
                mode=spec["Mode"],
                update_config=body["update_config"],
                endpoint_spec=body["endpoint_spec"],
            )

        await self.patiently(update)

    async def service_id(self, name: str) -> str | None:
        """Id of the service with that name, None if there is none. Raises what Docker's client raises."""

        def inspect(api: DockerApi) -> str | None:
            try:
                service_id: str = api.inspect_service(name)["ID"]
            except NotFound:
                return None
            return service_id

        return await self.patiently(inspect)

    async def remove_service(self, service: str) -> bool:
        """Remove a service by id or name; True if it was there. Raises what Docker's client raises."""

        def remove(api: DockerApi) -> bool:
            try:
                api.remove_service(service)
            except NotFound:
                return False
            return True

        return await self.patiently(remove)

    async def create_secret(self, service: str, token: str, labels: Mapping[str, str]) -> SecretRef:
        """The token of one start as a secret. Raises EngineFailure."""
        try:
            return await create_token_secret(self.patiently, service, token, labels)
        except (DockerException, RequestException) as error:
            raise EngineFailure("Docker could not keep your server's token", str(error)) from error

    async def remove_secret(self, secret_id: str) -> None:
        """Remove a start's secret; one that is in use or cannot be removed now is the orphan sweep's."""
        try:
            await remove_secret(self.patiently, secret_id)
        except (DockerException, RequestException) as error:
            log.warning("Secret %s stays for now: %s", secret_id, error)

    async def last_lines(self, service_id: str) -> str:
        """The end of what the server wrote, for people; empty if it cannot be had in time."""
        read = partial(_service_logs, service_id=service_id)
        try:
            async with asyncio.timeout(LOGS_WITHIN):
                return log_tail(await self.docker(read), LOG_LINES)
        except (TimeoutError, DockerException, RequestException) as error:
            log.info("No log of service %s: %s", service_id, error)
            return ""

    async def wait_gone(self, service_id: str, within: float) -> bool:
        """Wait until no task of a removed service is alive; False if one is after ``within`` seconds."""
        now = self.watch.now()
        gone = await self.watch.until(
            lambda view: True if not view.alive_tasks(service_id) else None,
            since=now,
            deadline=now + within,
        )
        return gone is True

    def queue_since(self, user: str, server: str) -> float:
        """When this server was first asked for, by the watch's clock: before now if a start is resumed."""
        asked = self.resumed.pop((user, server), None)
        return self.watch.now() - (max(0.0, time.time() - asked) if asked else 0.0)

    def count_queue(self) -> None:
        """Bring the queue's metrics up to date."""
        metrics.set_queue_lengths(self.queue.lengths())
        metrics.START_LIMIT.set(self.queue.limit)
        metrics.STARTS_IN_FLIGHT.set(self.queue.in_flight)


def _network_size(api: DockerApi, name: str) -> int:
    """Addresses of the network's subnets."""
    blocks = (api.inspect_network(name).get("IPAM") or {}).get("Config") or []
    return sum(ip_network(block["Subnet"]).num_addresses for block in blocks)


def _service_logs(api: DockerApi, service_id: str) -> bytes:
    lines = api.service_logs(service_id, stdout=True, stderr=True, tail=LOG_LINES)
    return lines if isinstance(lines, bytes) else b"".join(lines)
