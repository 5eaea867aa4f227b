"""What all spawners of one hub process share: configuration, Docker, watch and shared file system."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

from docker.errors import APIError, NotFound
from tenacity import retry, stop_after_attempt, wait_exponential

from swarmhub.config import Config
from swarmhub.images import ImageError, resolve_image
from swarmhub.spawner.docker_calls import Connect, DockerApi, DockerCalls
from swarmhub.spawner.errors import ConfigFailure, EngineFailure, ImageFailure, MountFailure, NetworkFailure
from swarmhub.spawner.homes import Home, HomeError, ensure_home
from swarmhub.spawner.watch import TaskWatch

_DOCKER_THREADS = 8
_FILE_THREADS = 8


class Runtime:
    """One a hub process; made by the first spawner that needs it, kept in the hub's settings."""

    def __init__(self, connect: Connect, hub: str, config: Config | None, *, events: bool = True) -> None:
        self.hub = hub
        self.config = config
        self.docker = DockerCalls(connect, threads=_DOCKER_THREADS, name="docker")
        self.watch = TaskWatch(connect, hub, events=events)
        self._files = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="homes")
        self._digests: dict[str, asyncio.Task[str]] = {}

    async def close(self) -> None:
        """Stop all threads."""
        await self.watch.close()
        self.docker.close()
        self._files.shutdown(wait=False, cancel_futures=True)

    async def image_digest(self, reference: str) -> str:
        """The image by digest; the registry is asked once per reference, by whoever comes first.

        Raises ImageFailure, and asks again the next time.
        """
        task = self._digests.get(reference)
        if task is None:
            call = self.docker(partial(resolve_image, reference=reference))
            task = self._digests[reference] = asyncio.ensure_future(call)
        try:
            return await asyncio.shield(task)
        except ImageError as error:
            raise ImageFailure("The image of your course cannot be found", str(error)) from error
        finally:
            if (
                task.done()
                and (task.cancelled() or task.exception())
                and self._digests.get(reference) is task
            ):
                del self._digests[reference]

    async def home(self, root: str, slug: str, first_uid: int, gid: int) -> Home:
        """See ``ensure_home``. Raises MountFailure."""
        make = partial(ensure_home, root, slug, first_uid, gid)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._files, make)
        except HomeError as error:
            raise MountFailure("Your home directory cannot be opened", str(error)) from error

    async def create_service(self, body: dict[str, Any]) -> str:
        """Create a service and return its id. Raises StartFailure, told apart by the engine's status code."""
        try:
            service = await self.docker(lambda api: api.create_service(**body))
        except APIError as error:
            detail = str(error.explanation or error)
            status = error.status_code or HTTPStatus.INTERNAL_SERVER_ERROR
            if status == HTTPStatus.NOT_FOUND:
                raise NetworkFailure("The network of your server does not exist", detail) from error
            if status == HTTPStatus.BAD_REQUEST:
                raise ConfigFailure("Docker refused the server's settings", detail) from error
            raise EngineFailure("Docker could not create your server", detail) from error
        service_id: str = service["ID"]
        return service_id

    async def service_id(self, name: str) -> str | None:
        """Id of the service with that name, None if there is none. Raises what Docker's client raises."""

        def inspect(api: DockerApi) -> str | None:
            try:
                service_id: str = api.inspect_service(name)["ID"]
            except NotFound:
                return None
            return service_id

        return await self.docker(inspect)

    @retry(stop=stop_after_attempt(3), wait=wait_exponential(multiplier=0.2, max=2), reraise=True)
    async def remove_service(self, service: str) -> bool:
        """Remove a service by id or name; True if it was there. Raises what Docker's client raises."""

        def remove(api: DockerApi) -> bool:
            try:
                api.remove_service(service)
            except NotFound:
                return False
            return True

        return await self.docker(remove)

    async def wait_gone(self, service_id: str, within: float) -> bool:
        """Wait until no task of a removed service is alive; False if one is after ``within`` seconds."""
        now = self.watch.now()
        gone = await self.watch.until(
            lambda view: True if not view.alive_tasks(service_id) else None,
            since=now,
            deadline=now + within,
        )
        return gone is True
