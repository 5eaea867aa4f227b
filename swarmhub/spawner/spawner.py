"""The spawner: JupyterHub's start, poll and stop, in terms of Swarm services."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from traitlets import default, observe

from swarmhub.spawner import metrics, names, progress, resume
from swarmhub.spawner.homes import Home
from swarmhub.spawner.orphans import known_in_database
from swarmhub.spawner.routes import RouteKeeper
from swarmhub.spawner.runtime import Runtime
from swarmhub.spawner.settings import RUNTIME_KEY, SpawnerSettings
from swarmhub.spawner.start import STOP_TIMEOUT, Start
from swarmhub.spawner.tokens import SecretRef
from swarmhub.spawner.view import ClusterView

POLL_TIMEOUT = 10.0
"""Seconds ``poll()`` waits for news before it says that nothing is known against the server."""
START_MARGIN = 2.0
"""Seconds our own start deadline comes before JupyterHub's, whose error would not say the cause."""


class SwarmSpawner(SpawnerSettings):
    """Runs each server as a Swarm service with one replica, reached by its task's own address.

    Configuration made for dockerspawner's SwarmSpawner keeps its meaning (``image``, ``network_name``,
    ``mem_limit``, ``mem_guarantee``, ``cpu_limit``, ``cpu_guarantee``, ``volumes``, ``extra_*_spec``), except
    ``name_template`` and ``prefix``: names are made so that they are always valid and never collide.
    """

    _start: Start | None = None
    """The start that goes on."""
    _unfinished_since: float | None = None
    """Unix seconds when a start was asked for that an earlier hub process did not finish."""
    _secret: SecretRef | None = None
    """Where the running server has its API token from."""
    _is_removed = False
    """``stop()`` has removed what ran."""
    _keeper: RouteKeeper | None = None

    @default("object_name")
    def _object_name_default(self) -> str:
        return names.service_name(self._runtime.hub, self.user.name, self.name)

    @observe("image")
    def _image_changed(self, _change: Any) -> None:
        """The name does not depend on the image (it does in dockerspawner)."""

    def _start_runtime(self) -> None:
        # The session of the whole hub: this spawner's own user may be deleted while the sweep goes on.
        self._runtime.start(partial(known_in_database, self.user.db))

    @property
    def _routes(self) -> RouteKeeper:
        if self._keeper is None:
            self._keeper = RouteKeeper(self)
        return self._keeper

    # What the hub's database keeps

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub needs to find this server again, and what the user's next start needs."""
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"course": self.course_name, "image": self.image_digest}
        if self._secret:
            state["secret"] = [self._secret.id, self._secret.name]
        if self._start:
            state |= {"starting_since": self._start.since_unix, "object_name": self.object_name}
        # The home stays the user's whatever becomes of names and folders in the configuration.
        if self.home:
            state |= {"home": self.home.path, "uid": self.home.uid, "gid": self.home.gid}
        if self.last_choice:
            state["last_choice"] = dict(self.last_choice)
        return state

    def load_state(self, state: dict[str, Any]) -> None:
        """Undo ``get_state``; also reads what dockerspawner's SwarmSpawner wrote."""
        super().load_state(state)
        self.course_name = state.get("course", "")
        self.image_digest = state.get("image", "")
        self._secret = SecretRef(*state["secret"]) if "secret" in state else None
        self._unfinished_since = state.get("starting_since")
        self.last_choice = state.get("last_choice")
        if "home" in state:
            self.home = Home(state["home"], state["uid"], state["gid"])

    def clear_state(self) -> None:
        """Forget the server that ran."""
        super().clear_state()
        self._unfollow()
        self.object_id = ""
        self.object_name = self._object_name_default()
        self.course_name, self.image_digest = "", ""
        self._secret, self._unfinished_since, self._is_removed = None, None, False

    # Start

    async def start(self) -> tuple[str, int]:
        """Start the server; returns (address, port) of its running, healthy task. Raises StartFailure."""
        runtime = self._runtime
        self._start_runtime()
        self._start = start = Start(self, runtime, runtime.queue_since(self.user.name, self.name))
        try:
            address = await start.run(runtime.watch.now() + self.start_timeout - START_MARGIN)
        except asyncio.CancelledError:
            metrics.start_ended(metrics.StartOutcome.CANCELLED)
            # JupyterHub waits one second for a start it has cancelled.
            runtime.in_background(self._remove_quietly(runtime), f"removing {self.object_name}")
            raise
        except Exception as error:
            failure = await start.failure(error)
            metrics.start_ended(metrics.StartOutcome.FAILED, reason=getattr(failure, "reason", "other"))
            await self._remove_quietly(runtime)
            raise failure from (None if failure is error else error)
        else:
            metrics.start_ended(metrics.StartOutcome.READY, seconds=start.seconds)
            self._routes.assume(address)
            self._follow(runtime)
            return address
        finally:
            self._start = None
            runtime.count_queue()

    def _save_state(self) -> None:
        """So that a hub that dies now finds what this start has made."""
        self.orm_spawner.state = self.get_state()
        self.user.db.commit()

    def _know_secret(self, secret: SecretRef) -> None:
        self._secret = secret

    def _know_service(self, service_id: str) -> None:
        self.object_id = service_id
        self._save_state()

    async def _remove_quietly(self, runtime: Runtime) -> None:
        """Remove this server's service and secret, if there are any; what goes wrong is logged."""
        self._unfollow()
        secret = self._secret
        try:
            if await runtime.remove_service(self.object_id or self.object_name):
                self.log.info("Removed service %s", self.object_name)
        except Exception:
            self.log.exception("Service %s could not be removed; its next start does", self.object_name)
        if secret:
            await runtime.remove_secret(secret.id)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the page shows while the server starts; ends when JupyterHub stops asking."""
        shown, told = progress.Step(0, ""), 0
        while True:
            if start := self._start:
                for notice in progress.notices(start.notices[told:]):
                    told += 1
                    yield {"progress": notice.after(shown.percent).percent, "message": notice.message}
                step = start.step.after(shown.percent)
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
        if self._start:
            return None
        if self._unfinished_since is not None:
            return await resume.finish_start(self)
        if not self.object_id:
            return 0
        watch = self._runtime.watch
        asked = watch.now()
        self._start_runtime()
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
        if self.home:
            runtime.preparation.use_home(self.home, self.object_id)

    def _unfollow(self) -> None:
        runtime: Runtime | None = self.user.settings.get(RUNTIME_KEY) if self.user else None
        if runtime and self.object_id:
            runtime.watch.unfollow(self.object_id)
            runtime.preparation.leave_home(self.object_id)

    def _on_view(self, view: ClusterView) -> None:
        self._routes.sync(view.server(self.object_id))

    # Stop

    async def stop(self, now: bool = False) -> None:
        """Remove the service and, unless ``now``, wait until its containers have ended (45 s at most)."""
        runtime = self._runtime
        self._start_runtime()
        self._unfollow()
        service_id, secret = self.object_id, self._secret
        await runtime.remove_service(service_id or self.object_name)
        if secret:
            await runtime.remove_secret(secret.id)
        self._is_removed = True
        if now or not service_id:
            return
        if not await runtime.wait_gone(service_id, STOP_TIMEOUT):
            self.log.warning("Service %s is removed, but a container of it still runs", self.object_name)

    async def run_post_stop_hook(self) -> None:
        """Also remove the service of a server that ended by itself: JupyterHub does not call stop() then."""
        if not self._is_removed:
            await self._remove_quietly(self._runtime)
        self._runtime.queue.wake()
        result = super().run_post_stop_hook()
        if inspect.isawaitable(result):
            await result
