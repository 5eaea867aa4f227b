"""The controller's process: parts put together, started, and ended on SIGTERM.

Environment: SWARMHUB_CONFIG (default /etc/swarmhub/swarmhub.yaml), SWARMHUB_STATE (/var/lib/swarmhub),
SWARMHUB_CERTIFICATES_DIR (/var/lib/docker/swarm/certificates), AWS's own variables, DOCKER_HOST.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from swarmhub_agent.protocol import CONTROLLER_PORT

from swarmhub.config_errors import ConfigError
from swarmhub.controller import logs
from swarmhub.controller.api import agent_app, local_app
from swarmhub.controller.aws import AwsCloud, Cloud, CloudError
from swarmhub.controller.cloud_poll import CloudPoll
from swarmhub.controller.execute import Executor
from swarmhub.controller.journal import Journal
from swarmhub.controller.live_config import LiveConfig
from swarmhub.controller.loop import Controller
from swarmhub.controller.pool_images import PoolImages
from swarmhub.controller.serve import AgentListener, serve_local
from swarmhub.controller.swarm import Swarm, SwarmError
from swarmhub.controller.tokens import TokenKeeper, parameters
from swarmhub.pins import FILE_NAME, Pins
from swarmhub.registries import Credentials, registries_of

LOCAL_PORT = 9080
"""Loopback only: status and health."""
DEFAULT_CONFIG = Path("/etc/swarmhub/swarmhub.yaml")
PARAMETERS_S = 5.0
CONFIG_S = 2.0
AGAIN_S = 1.0
END_WITHIN_S = 1.5


@dataclass(frozen=True, slots=True)
class Environment:
    """What may differ between installations."""

    config: Path = DEFAULT_CONFIG
    state: Path = Path("/var/lib/swarmhub")
    certificates: Path = Path("/var/lib/docker/swarm/certificates")
    scratch: Path = Path("/dev/shm")
    """On tmpfs in every Linux container: the key without its headers is never on a disk."""
    region: str | None = None
    agent_port: int = CONTROLLER_PORT
    local_port: int = LOCAL_PORT


def environment_from(environ: Mapping[str, str]) -> Environment:
    """Unset or empty variables mean the default."""
    default = Environment()
    return Environment(
        config=Path(environ.get("SWARMHUB_CONFIG") or default.config),
        state=Path(environ.get("SWARMHUB_STATE") or default.state),
        certificates=Path(environ.get("SWARMHUB_CERTIFICATES_DIR") or default.certificates),
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None,
    )


def now() -> datetime:
    return datetime.now(UTC)


async def serve(
    environment: Environment, live: LiveConfig, swarm: Swarm, cloud: Cloud, stop: asyncio.Event
) -> None:
    """Run the controller until ``stop`` is set."""
    hub = live.config.hub.name
    images = PoolImages(swarm.resolve, now, Pins(environment.state / FILE_NAME, now))
    _load(live, images, swarm)
    journal = Journal(environment.state / "controller" / "journal.jsonl", now)
    # Poll, executor and controller wake each other; the lambdas look the controller up when it is there.
    poll = CloudPoll(cloud, lambda: controller.claimed(), lambda: controller.wake())  # noqa: PLW0108 - made below
    executor = Executor(
        swarm=swarm,
        cloud=cloud,
        journal=journal,
        clock=now,
        cloud_changed=poll.soon,
        swarm_changed=lambda: controller.wake(),  # noqa: PLW0108 - made below
    )
    controller = Controller(
        hub=hub,
        swarm=swarm,
        poll=poll,
        executor=executor,
        images=images,
        journal=journal,
        clock=now,
        more_problems=lambda: tuple(p for p in (live.problem, listener.problem) if p),
    )
    listener = AgentListener(
        agent_app(controller),
        "0.0.0.0",
        environment.agent_port,
        environment.certificates,
        environment.scratch,
    )
    local = await serve_local(local_app(controller), environment.local_port)
    await listener.start()
    keeper = TokenKeeper(cloud, now)
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "loop": controller.run,
        "cloud poll": poll.run,
        "listener": listener.run,
        "images": images.run,
        "parameters": lambda: _keep_parameters(hub, swarm, controller, keeper),
        "configuration": lambda: _follow_config(live, images, swarm, controller),
    }
    tasks = [asyncio.create_task(_for_ever(name, part), name=name) for name, part in parts.items()]
    logs.info("controller started", hub=hub, config=str(environment.config))
    await stop.wait()
    logs.info("controller ends")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await listener.stop()
    await local.cleanup()


async def _for_ever(name: str, part: Callable[[], Awaitable[None]]) -> None:
    """A part that fails is started again and never takes the others with it."""
    while True:
        try:
            await part()
        except Exception:
            logs.exception("a part of the controller failed; starting it again", part=name)
        await asyncio.sleep(AGAIN_S)


async def _keep_parameters(hub: str, swarm: Swarm, controller: Controller, keeper: TokenKeeper) -> None:
    problem = ""
    while True:
        view = controller.swarm_view
        if view is not None:
            try:
                secret = await swarm.join_secret()
                await keeper.keep(parameters(hub, secret.worker_token, view.nodes))
                problem = ""
            except (SwarmError, CloudError) as error:
                if str(error) != problem:
                    logs.warning("the parameters workers join with are not up to date", reason=str(error))
                problem = str(error)
        await asyncio.sleep(PARAMETERS_S if view else AGAIN_S)


def _load(live: LiveConfig, images: PoolImages, swarm: Swarm) -> None:
    swarm.credentials = Credentials(registries_of(live.config.registries), now)
    images.load(live.config)


async def _follow_config(live: LiveConfig, images: PoolImages, swarm: Swarm, controller: Controller) -> None:
    while True:
        await asyncio.sleep(CONFIG_S)
        if live.refresh():
            _load(live, images, swarm)
            controller.wake()


async def _run(environment: Environment, live: LiveConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hub = live.config.hub.name
    cloud = AwsCloud.connect(hub, now, environment.region)
    serving = asyncio.create_task(serve(environment, live, Swarm(hub, now), cloud, stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    async with asyncio.timeout(END_WITHIN_S):
        await serving


def main() -> None:
    """Entry point ``swarmhub-controller``."""
    logs.configure()
    environment = environment_from(os.environ)
    try:
        live = LiveConfig(environment.config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    code = 0
    try:
        asyncio.run(_run(environment, live))
    except TimeoutError:
        logs.warning("not everything ended in time")
    except Exception:
        logs.exception("the controller cannot go on")
        code = 1
    logging.shutdown()
    # Not sys.exit: it would wait for a thread that hangs in a dead engine or an unreachable AWS.
    os._exit(code)
