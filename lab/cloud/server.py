"""All of the local cloud in one process: machine, AWS endpoint, moto, metadata service, control port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiohttp import web
from moto.server import ThreadedMotoServer

from lab.cloud import store
from lab.cloud.asg.capacity import DEFAULT_IMAGE, DEFAULT_INSTANCE_TYPE
from lab.cloud.asg.model import TAG_HUB, Ec2State, Instance, Settings, World
from lab.cloud.asg.world import put_instance
from lab.cloud.bootstrap import Plan, bootstrap
from lab.cloud.control import Control, Health
from lab.cloud.events import QueuePublisher
from lab.cloud.gateway import Gateway
from lab.cloud.imds import Faults, MetadataService
from lab.cloud.launcher import InstanceLauncher
from lab.cloud.runtime import Runtime

log = logging.getLogger(__name__)

BOOTSTRAP_RETRY = 5.0
"""Seconds between attempts."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to listen; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 0


@dataclass(frozen=True, kw_only=True)
class Manager:
    """The manager instance, a container that compose starts."""

    instance_id: str = "i-0aa00000000000001"
    container: str = "manager"
    private_ip: str
    imds_ip: str
    hop_limit: int = 2
    """2, so that the controller's container reaches the metadata service."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to run."""

    aws: Address = Address()
    moto: Address = Address()
    imds: Address = Address()
    control: Address = Address()
    settings: Settings = field(default_factory=Settings)
    plan: Plan | None = None
    """None: no bootstrap."""
    manager: Manager | None = None
    state_dir: Path | None = None
    terminate_on_exit: bool = False


class LabCloud:
    """An async context manager: running inside, everything closed after.

    ``runtime``, ``publisher`` and the ports are for tests.
    """

    def __init__(
        self, options: Options, launcher: InstanceLauncher, clock: Callable[[], float] = time.time
    ) -> None:
        self.options = options
        self._launcher = launcher
        self._clock = clock
        self._moto: ThreadedMotoServer | None = None
        self._runners: list[web.AppRunner] = []
        self._loops: list[asyncio.Task[None]] = []
        self._health = Health()
        self.faults = Faults()

    async def __aenter__(self) -> LabCloud:
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.options.terminate_on_exit:
            await self.runtime.terminate_all()
        await self._close()

    async def ready(self, deadline: float = 60.0) -> None:
        """Wait until ``GET /health`` says 200; TimeoutError with the reason after ``deadline`` seconds."""
        try:
            async with asyncio.timeout(deadline):
                await self._health.ready.wait()
        except TimeoutError:
            raise TimeoutError(f"not ready after {deadline} s: {self._health.reason}") from None

    async def _start(self) -> None:
        options = self.options
        moto = ThreadedMotoServer(options.moto.host, options.moto.port, verbose=False)
        await asyncio.to_thread(moto.start)
        self._moto = moto
        moto_host, moto_port = moto.get_host_and_port()
        moto_url = f"http://{moto_host}:{moto_port}"
        self.publisher = await asyncio.to_thread(QueuePublisher, moto_url, options.settings.region)
        world = store.load(options.state_dir, options.settings)
        if options.manager:
            world = _with_manager(world, options, options.manager, self._clock())
        self.runtime = Runtime(
            world, self._launcher, self._clock, save=self._save, publish=self.publisher.publish
        )
        await self.runtime.adopt()
        gateway = await asyncio.to_thread(Gateway, self.runtime, moto_url)
        self.aws_port = await self._listen(gateway.app(), options.aws)
        self.imds_port = await self._listen(MetadataService(self.runtime, self.faults).app(), options.imds)
        control = Control(self.runtime, self.faults, self._health)
        self.control_port = await self._listen(control.app(), options.control)
        for loop in (self.runtime.run(), self.runtime.watch(), self.publisher.run(), self._bootstrap()):
            self._loops.append(asyncio.create_task(loop))

    async def _listen(self, app: web.Application, address: Address) -> int:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, address.host, address.port, reuse_address=True)
        await site.start()
        port: int = runner.addresses[0][1]
        log.info("listening on %s:%d", address.host, port)
        return port

    async def _bootstrap(self) -> None:
        """Until it worked: then the cloud is ready."""
        host = self.options.aws.host.replace("0.0.0.0", "127.0.0.1")
        while self.options.plan:
            try:
                await asyncio.to_thread(bootstrap, f"http://{host}:{self.aws_port}", self.options.plan)
                break
            except Exception as error:
                log.exception("bootstrap failed; trying again in %.0f s", BOOTSTRAP_RETRY)
                self._health.reason = f"bootstrap failed: {error}"
                await asyncio.sleep(BOOTSTRAP_RETRY)
        self._health.ready.set()
        log.info("ready")

    def _save(self, world: World) -> None:
        if self.options.state_dir:
            store.save(self.options.state_dir, world)

    async def _close(self) -> None:
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if hasattr(self, "runtime"):
            await self.runtime.close()
        for runner in reversed(self._runners):
            await runner.cleanup()
        if self._moto:
            await asyncio.to_thread(self._moto.stop)


def _with_manager(world: World, options: Options, manager: Manager, now: float) -> World:
    known = world.instances.get(manager.instance_id)
    base = known or Instance(
        instance_id=manager.instance_id,
        launched=now,
        instance_type=DEFAULT_INSTANCE_TYPE,
        image_id=DEFAULT_IMAGE,
        zone=options.settings.zones[0],
        container=manager.container,
        state=Ec2State.RUNNING,
        dispatched=True,
        static=True,
    )
    hub = options.plan.hub if options.plan else "lab"
    tags = {**base.tags, TAG_HUB: hub, "Name": f"swarmhub-{hub}-manager"}
    current = replace(
        base,
        container=manager.container,
        private_ip=manager.private_ip,
        imds_ip=manager.imds_ip,
        hop_limit=manager.hop_limit,
        tags=tags,
    )
    return put_instance(world, current)
