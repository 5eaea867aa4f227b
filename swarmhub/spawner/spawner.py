"""The spawner: JupyterHub's start, poll and stop, in terms of Swarm services."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import requests
from docker.errors import DockerException
from traitlets import default, observe

from swarmhub.spawner import names, outcome, progress
from swarmhub.spawner.errors import EngineFailure, NetworkFailure
from swarmhub.spawner.homes import Home
from swarmhub.spawner.routes import RouteKeeper
from swarmhub.spawner.runtime import Runtime
from swarmhub.spawner.settings import RUNTIME_KEY, SpawnerSettings
from swarmhub.spawner.spec import STOP_GRACE, service_body
from swarmhub.spawner.states import ServerState
from swarmhub.spawner.view import ClusterView

POLL_TIMEOUT = 10.0
"""Seconds ``poll()`` waits for news before it says that nothing is known against the server."""
STOP_TIMEOUT = STOP_GRACE + 15.0
"""Seconds a removed service's containers are waited for."""
START_MARGIN = 2.0
"""Seconds our own start deadline comes before JupyterHub's, whose error would not say the cause."""


class SwarmSpawner(SpawnerSettings):
    """Runs each server as a Swarm service with one replica, reached by its task's own address.

    Configuration made for dockerspawner's SwarmSpawner keeps its meaning (``image``, ``network_name``,
    ``mem_limit``, ``mem_guarantee``, ``cpu_limit``, ``cpu_guarantee``, ``volumes``, ``extra_*_spec``), except
    ``name_template`` and ``prefix``: names are made so that they are always valid and never collide.
    """

    _starting = False
    _step = progress.preparing("Preparing your server")
    _keeper: RouteKeeper | None = None

    @default("object_name")
    def _object_name_default(self) -> str:
        return names.service_name(self._runtime.hub, self.user.name, self.name)

    @observe("image")
    def _image_changed(self, _change: Any) -> None:
        """The name does not depend on the image (it does in dockerspawner)."""

    @property
    def _routes(self) -> RouteKeeper:
        if self._keeper is None:
            self._keeper = RouteKeeper(self)
        return self._keeper

    # What the hub's database keeps

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub needs to find this server again, and which home it uses."""
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"course": self.course_name, "image": self.image_digest}
            if self.home:
                state |= {"home": self.home.path, "uid": self.home.uid, "gid": self.home.gid}
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Undo ``get_state``; also reads what dockerspawner's SwarmSpawner wrote."""
        super().load_state(state)
        self.course_name = state.get("course", "")
        self.image_digest = state.get("image", "")
        if "home" in state:
            self.home = Home(state["home"], state["uid"], state["gid"])

    def clear_state(self) -> None:
        """Forget the server that ran."""
        super().clear_state()
        self._unfollow()
        self.object_id = ""
        self.object_name = self._object_name_default()
        self.home, self.course_name, self.image_digest = None, "", ""

    # Start

    async def start(self) -> tuple[str, int]:
        """Start the server; returns (address, port) of its running, healthy task. Raises StartFailure."""
        runtime = self._runtime
        runtime.watch.start()
        self._starting = True
        self._step = progress.preparing("Preparing your server")
        try:
            return await self._start(runtime, runtime.watch.now() + self.start_timeout - START_MARGIN)
        except BaseException as error:
            # Also on cancellation: nothing of a failed start may stay behind.
            await asyncio.shield(asyncio.ensure_future(self._remove_quietly(runtime)))
            if isinstance(error, (DockerException, requests.RequestException)):
                raise EngineFailure("Docker could not start your server", str(error)) from error
            raise
        finally:
            self._starting = False

    async def _start(self, runtime: Runtime, deadline: float) -> tuple[str, int]:
        course = await self._choose(runtime.config)
        if not self.network_name:
            raise NetworkFailure("No network is configured", "set network.name or SwarmSpawner.network_name")
        self._step = progress.preparing("Opening your home directory")
        if self.storage_root:
            slug = names.home_slug(self.user.name)
            self.home = await runtime.home(self.storage_root, slug, self.first_uid, self.home_gid)
        self._step = progress.preparing("Looking up the image")
        image = course.image if course else self.image
        self.image_digest = await runtime.image_digest(image) if self.pin_image else image
        await self._remove_leftover(runtime)
        self._step = progress.preparing("Asking for a seat")
        body = service_body(await self._request(course))
        await self._create(runtime, body)
        self.log.info("Created service %s (%s) from %s", self.object_name, self.object_id, self.image_digest)
        address = (await self._running(runtime, deadline), self.port)
        self._routes.assume(address)
        self._follow(runtime)
        return address

    async def _remove_leftover(self, runtime: Runtime) -> None:
        """A service of this name from before: two servers must never write one home."""
        leftover = await runtime.service_id(self.object_name)
        if leftover is None:
            return
        self._step = progress.preparing("Waiting for your previous server to stop")
        self.log.warning("Removing leftover service %s (%s)", self.object_name, leftover)
        await runtime.remove_service(leftover)
        if not await runtime.wait_gone(leftover, STOP_TIMEOUT):
            raise EngineFailure(f"Your previous server did not stop within {STOP_TIMEOUT:.0f} seconds")

    async def _create(self, runtime: Runtime, body: dict[str, Any]) -> None:
        creation = asyncio.ensure_future(runtime.create_service(body))
        try:
            self.object_id = await asyncio.shield(creation)
        except asyncio.CancelledError:
            # The call cannot be taken back: know its service before removing it.
            with suppress(Exception):
                self.object_id = await creation
            raise

    async def _running(self, runtime: Runtime, deadline: float) -> str:
        """Wait until a task runs; its address. Raises StartFailure."""
        seen: ServerState | None = None

        def decide(view: ClusterView) -> str | None:
            nonlocal seen
            seen = view.server(self.object_id)
            self._step = progress.starting(seen, view.node_name(seen.task))
            return outcome.running_address(seen, self.network_name)

        address = await runtime.watch.until(decide, since=runtime.watch.now(), deadline=deadline)
        if address is None:
            raise outcome.late(seen, self.start_timeout)
        return address

    async def _remove_quietly(self, runtime: Runtime) -> None:
        """Remove this server's service, if there is one; what goes wrong is logged."""
        self._unfollow()
        try:
            if await runtime.remove_service(self.object_id or self.object_name):
                self.log.info("Removed service %s", self.object_name)
        except Exception:
            self.log.exception("Service %s could not be removed; its next start does", self.object_name)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the page shows while the server starts; ends when JupyterHub stops asking."""
        shown = progress.Step(0, "")
        while True:
            step = self._step.after(shown.percent)
            if step != shown:
                shown = step
                yield {"progress": step.percent, "message": step.message}
            await self._runtime.watch.next_view(1.0)

    # Poll

    async def poll(self) -> int | None:
        """None while the server runs, starts, is being replaced, or nothing is known; else its exit status.

        Never raises: JupyterHub takes an exception for a dead server and removes it.
        """
        try:
            return await self._poll()
        except Exception:
            self.log.exception("Polling %s failed; nothing is known against its server", self._log_name)
            return None

    async def _poll(self) -> int | None:
        if self._starting:
            return None
        if not self.object_id:
            return 0
        watch = self._runtime.watch
        asked = watch.now()
        watch.start()
        self._follow(self._runtime)
        view = watch.view
        if view is None or view.server(self.object_id).exit_status is not None:
            # Only news from after the question may say that a server is gone.
            view = await watch.newer_than(asked, POLL_TIMEOUT)
        if view is None:
            self.log.warning("Docker does not answer; %s counts as running", self._log_name)
            return None
        state = view.server(self.object_id)
        self._routes.sync(state)
        if state.exit_status is not None:
            self.log.info("Server of %s is %s: %s", self._log_name, state.phase, state.reason)
        return state.exit_status

    def _follow(self, runtime: Runtime) -> None:
        runtime.watch.follow(self.object_id, self._on_view)

    def _unfollow(self) -> None:
        runtime: Runtime | None = self.user.settings.get(RUNTIME_KEY) if self.user else None
        if runtime and self.object_id:
            runtime.watch.unfollow(self.object_id)

    def _on_view(self, view: ClusterView) -> None:
        self._routes.sync(view.server(self.object_id))

    # Stop

    async def stop(self, now: bool = False) -> None:
        """Remove the service and, unless ``now``, wait until its containers have ended (45 s at most)."""
        runtime = self._runtime
        runtime.watch.start()
        self._unfollow()
        service_id = self.object_id
        await runtime.remove_service(service_id or self.object_name)
        if now or not service_id:
            return
        if not await runtime.wait_gone(service_id, STOP_TIMEOUT):
            self.log.warning("Service %s is removed, but a container of it still runs", self.object_name)

    async def run_post_stop_hook(self) -> None:
        """Also remove the service of a server that ended by itself: JupyterHub does not call stop() then."""
        await self._remove_quietly(self._runtime)
        result = super().run_post_stop_hook()
        if inspect.isawaitable(result):
            await result
