"""One start of one server: what it has come to, and what its student is told meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import requests
from docker.errors import DockerException

from swarmhub.spawner import metrics, names, outcome, progress
from swarmhub.spawner.causes import Cause
from swarmhub.spawner.errors import (
    CapacityFailure,
    ConfigFailure,
    EngineFailure,
    NetworkFailure,
    StartFailure,
)
from swarmhub.spawner.folders import path_fields
from swarmhub.spawner.knock import first_open
from swarmhub.spawner.placement import relaxed
from swarmhub.spawner.profiles import ServerChoice
from swarmhub.spawner.queue import QueueTimeout, Ticket, Wish
from swarmhub.spawner.runtime import NameTakenError, Runtime
from swarmhub.spawner.spec import STOP_GRACE, labels, service_body
from swarmhub.spawner.states import ServerState
from swarmhub.spawner.view import ClusterView

if TYPE_CHECKING:
    from swarmhub.spawner.spawner import SwarmSpawner

STOP_TIMEOUT = STOP_GRACE + 15.0
"""Seconds a removed service's containers are waited for."""
T = TypeVar("T")


class Start:
    """From the wish to a running task. What it makes is noted in the spawner, which removes it again."""

    def __init__(self, spawner: SwarmSpawner, runtime: Runtime, since: float) -> None:
        """``since``: when the server was first asked for, by the watch's clock."""
        self._spawner = spawner
        self._runtime = runtime
        self._since = since
        self._began = runtime.watch.now()
        self.since_unix = time.time() - (self._began - since)
        """The same in Unix seconds: what outlives this process."""
        self.notices: tuple[str, ...] = ()
        """What the student should read: an image that goes, a home that is nearly full."""
        self._step = progress.preparing("Preparing your server")
        self._wish: Wish | None = None
        self._choice: ServerChoice | None = None
        self._body: dict[str, Any] = {}
        self._candidate: str | None = None
        """Where the server will answer."""

    @property
    def seconds(self) -> float:
        """For how long it goes on."""
        return self._runtime.watch.now() - self._began

    @property
    def step(self) -> progress.Step:
        """Where it stands."""
        position = self._runtime.queue.position(self._wish) if self._wish else None
        return progress.queued(position) if position and position.place else self._step

    async def run(self, deadline: float) -> tuple[str, int]:
        """Address and port of the running, healthy task, until ``deadline`` (watch's clock) at most.

        Raises StartFailure, QueueTimeout, and what Docker's client raises.
        """
        spawner, runtime = self._spawner, self._runtime
        self._choice = choice = await spawner._choose(spawner.user_options)
        spawner.course_name = choice.course if choice else ""
        spawner.last_choice = choice.user_options if choice else None
        self.notices = choice.notices if choice else ()
        if not spawner.network_name:
            raise NetworkFailure("No network is configured", "set network.name or SwarmSpawner.network_name")
        spawner._save_state()
        self._body = await self._prepare(choice)
        view = runtime.watch.view
        await self._remove_leftover(view.services.get(spawner.object_name) if view else None)
        self._wish = Wish(spawner.user.name, spawner.name, spawner.course_name, _lane(choice), self._since)
        with await runtime.queue.admit(self._wish, deadline) as ticket:
            metrics.QUEUE_WAIT_SECONDS.observe(ticket.waited)
            runtime.count_queue()
            self._step = progress.preparing("Asking for a seat")
            try:
                await self._create(choice)
            except EngineFailure:
                ticket.done(False, engine_failed=True)
                raise
            what = (spawner.object_name, spawner.object_id, spawner.image_digest)
            spawner.log.info("Created service %s (%s) from %s", *what)
            return (await self.running_address(deadline, ticket), spawner.port)

    async def _prepare(self, choice: ServerChoice | None) -> dict[str, Any]:
        """Make what the server needs; returns what Docker is asked for when its turn has come."""
        spawner, runtime, preparation = self._spawner, self._runtime, self._runtime.preparation
        self._step = progress.preparing("Opening your home directory")
        storage = spawner._storage()
        slug = Path(spawner.home.path).name if spawner.home else names.home_slug(spawner.user.name)
        spawner.home = home = await preparation.home(storage, slug) if storage else None
        folders: tuple[Any, ...] = ()
        if storage and home:
            if notice := await preparation.check_quota(storage, slug):
                self.notices += (notice,)
            if choice:
                fields = path_fields(spawner.user.name, spawner.name, choice.course) | {"user": slug}
                folders, notices = await preparation.folders(choice, storage, home, fields, spawner._groups)
                self.notices += notices
        self._step = progress.preparing("Looking up the image")
        image = choice.image if choice else str(spawner.image)
        spawner.image_digest = await preparation.image(image) if spawner.pin_image else image
        groups = {folder.gid: folder.name for folder in (choice.folders if choice else ())}
        files = await preparation.files(home.gid, groups) if home else ()
        spawner._pick_network()
        request = await spawner._request(choice, folders, files)
        if request.has_shell:
            creation = runtime.create_secret(request.name, spawner.api_token, labels(request))
            secret = await _kept(creation, spawner._know_secret)
            request = replace(request, token_secret=secret)
        return await spawner._modified(service_body(request))

    async def _create(self, choice: ServerChoice | None) -> None:
        spawner, runtime = self._spawner, self._runtime
        try:
            await _kept(runtime.create_service(self._body), spawner._know_service)
        except NameTakenError:
            # A service that the view did not show yet.
            await self._remove_leftover(await runtime.service_id(spawner.object_name))
            await _kept(runtime.create_service(self._body), spawner._know_service)
        except ConfigFailure:
            # Perhaps a file of the server's was swept away while it waited: one more try with new ones.
            if not runtime.preparation.swarm_files.forget():
                raise
            if spawner._secret:
                await runtime.remove_secret(spawner._secret.id)
            self._body = await self._prepare(choice)
            await _kept(runtime.create_service(self._body), spawner._know_service)

    async def _remove_leftover(self, leftover: str | None) -> None:
        """A service of this name from before: two servers must never write one home."""
        if leftover is None:
            return
        spawner, runtime = self._spawner, self._runtime
        self._step = progress.preparing("Waiting for your previous server to stop")
        spawner.log.warning("Removing leftover service %s (%s)", spawner.object_name, leftover)
        await runtime.remove_service(leftover)
        if not await runtime.wait_gone(leftover, STOP_TIMEOUT):
            raise EngineFailure(f"Your previous server did not stop within {STOP_TIMEOUT:.0f} seconds")

    async def running_address(self, deadline: float, ticket: Ticket | None = None) -> str:
        """Wait until a task of the created service takes connections; its address. Raises StartFailure."""
        knocking = asyncio.ensure_future(first_open(lambda: self._candidate, self._spawner.port))
        watching = asyncio.ensure_future(self._watch(deadline, ticket))
        try:
            await asyncio.wait([knocking, watching], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()
            return knocking.result()
        finally:
            knocking.cancel()
            watching.cancel()

    async def _watch(self, deadline: float, ticket: Ticket | None) -> NoReturn:
        """Follow the service's tasks until one ends in a failure. Raises StartFailure."""
        spawner, watch, choice = self._spawner, self._runtime.watch, self._choice
        seen: ServerState | None = None
        placed_at: float | None = None
        since = watch.now()

        def look(view: ClusterView) -> None:
            nonlocal seen, placed_at
            seen = view.server(spawner.object_id)
            self._step = progress.starting(seen, view.node_name(seen.task))
            self._candidate = outcome.running_address(seen, spawner.network_name)
            if seen.task and seen.task.node_id:
                placed_at = placed_at or view.loaded_at
                if ticket:
                    ticket.placed()
            elif ticket and seen.task and seen.cause is Cause.NO_SEAT:
                ticket.unplaced(seen.task.error)
            if placed_at and view.loaded_at > placed_at + spawner.ready_timeout:
                raise outcome.late(seen, spawner.ready_timeout)

        if choice and choice.prefer:
            await watch.until(look, since=since, deadline=min(deadline, since + choice.relax_after))
            if placed_at is None:
                await self._relax(choice)
        await watch.until(look, since=since, deadline=deadline)
        raise outcome.late(seen, spawner.start_timeout)

    async def _relax(self, choice: ServerChoice) -> None:
        """Give up what is only preferred of a machine."""
        if less := relaxed(self._body, choice.prefer):
            self._spawner.log.info("%s takes any machine now", self._spawner.object_name)
            await self._runtime.update_service(self._spawner.object_id, less)

    async def failure(self, error: Exception) -> Exception:
        """What the student is told of ``error``."""
        if isinstance(error, QueueTimeout):
            return CapacityFailure("There was no free seat for you in time; please try again", str(error))
        if isinstance(error, (DockerException, requests.RequestException)):
            return EngineFailure("Docker could not start your server", str(error))
        if isinstance(error, StartFailure) and error.wants_log and self._spawner.object_id:
            error.add_log(await self._runtime.last_lines(self._spawner.object_id))
        return error


def _lane(choice: ServerChoice | None) -> str:
    """What is asked of a machine: starts with the same words wait for the same seats."""
    if choice is None:
        return ""
    asked = (choice.pool, choice.require, choice.memory_reservation, choice.cpu_reservation, choice.resources)
    return " ".join(map(str, asked))


async def _kept(creation: Awaitable[T], know: Callable[[T], None]) -> T:
    """The result of a call that creates something, told to ``know`` even if this is cancelled meanwhile."""
    task = asyncio.ensure_future(creation)
    try:
        made = await asyncio.shield(task)
    except asyncio.CancelledError:
        # The call cannot be taken back: know what it made before it is removed.
        with suppress(Exception):
            know(await task)
        raise
    know(made)
    return made
