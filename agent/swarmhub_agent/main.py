"""``swarmhub-agent``: the two things systemd runs on a worker."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import aiohttp

from . import aws, engine_config, identity, leave, log, parameters, settings
from .agent import Agent
from .certificate import NodeTls
from .controller import ControllerClient
from .engine import Engine
from .errors import AgentError
from .fitness import FitnessChecks, SharedStorage
from .join import Joiner
from .metadata import Metadata
from .monitors import asg, spot
from .monitors.watch import Watcher
from .settings import Settings
from .systemd import Notifier
from .threads import in_daemon_thread

IDENTITY_LIMIT_S = 60.0
"""How long ``engine-config`` holds the engine's start back for a metadata service that does not answer."""
EXIT_FAILURE, EXIT_USAGE = 1, 2


def utc_now() -> datetime:
    """Return the time, UTC."""
    return datetime.now(UTC)


async def run(options: Settings, notifier: Notifier) -> Never:
    """Build the agent from its parts and run it until cancelled."""
    # Ready at once: what the agent waits for is in its status, and a start that waits for AWS would be timed
    # out.
    notifier.send("READY=1")
    notifier.status("reading the instance's identity")
    connector = aiohttp.UnixConnector(path=str(options.docker_socket))
    async with (
        asyncio.TaskGroup() as group,
        aiohttp.ClientSession() as network,
        aiohttp.ClientSession(connector=connector) as local,
    ):
        group.create_task(notifier.keep_alive())
        metadata = Metadata(network, options.metadata_url)
        me = await identity.read(
            metadata,
            time_limit_s=None,
            on_failure=lambda reason: notifier.status(f"reading the instance's identity; last try: {reason}"),
        )
        log.info("identity", **vars(me))
        engine = Engine(local)
        agent = Agent(
            identity=me,
            engine=engine,
            joiner=Joiner(
                engine,
                me,
                lambda: in_daemon_thread(parameters.read, lambda: aws.ssm(me.region), me.hub),
                swarm_port=options.swarm_port,
            ),
            controller=ControllerClient(
                network,
                NodeTls(options.certificates_dir, options.runtime_dir),
                port=options.controller_port,
                now=utc_now,
            ),
            complete_hook=lambda: leave.complete_hook(lambda: aws.autoscaling(me.region), me.instance_id),
            show_status=notifier.status,
            report_interval_s=options.report_interval_s,
            notice_interval_s=options.notice_interval_s,
        )
        watchers = [
            Watcher(monitor, metadata, agent.notices.post, now=utc_now)
            for monitor in (spot.MONITOR, asg.MONITOR)
        ]
        checks = FitnessChecks(
            engine,
            agent.images,
            SharedStorage(options.shared_path, me.instance_id),
            instance_id=me.instance_id,
            min_disk_free_percent=options.min_disk_free_percent,
            max_clock_skew_s=options.max_clock_skew_s,
        )
        await agent.run(watchers, checks)


async def run_until_terminated(options: Settings) -> None:
    """Run until SIGTERM or SIGINT. The node stays in the swarm: a restart costs no student anything."""
    notifier = Notifier(os.environ)
    task = asyncio.ensure_future(run(options, notifier))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    notifier.send("STOPPING=1")


async def configure_engine(options: Settings, daemon_json: Path) -> None:
    """Write the engine's labels. Raises AgentError."""
    async with aiohttp.ClientSession() as network:
        me = await identity.read(Metadata(network, options.metadata_url), time_limit_s=IDENTITY_LIMIT_S)
    changed = engine_config.apply(daemon_json, me)
    log.info("engine labels", file=daemon_json, changed=changed, instance=me.instance_id, pool=me.pool)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    result = argparse.ArgumentParser(prog="swarmhub-agent", description="The node agent of swarmhub.")
    commands = result.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run", help="join the swarm, watch for notices, report, leave (swarmhub-agent.service)"
    )
    config = commands.add_parser(
        "engine-config", help="write the engine labels before dockerd starts (swarmhub-engine-config.service)"
    )
    config.add_argument(
        "--daemon-json",
        type=Path,
        default=engine_config.DAEMON_JSON,
        metavar="FILE",
        help="the engine's configuration (default: %(default)s)",
    )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    chosen = parser().parse_args(arguments)
    log.configure()
    try:
        options = settings.from_environment(os.environ)
        if chosen.command == "engine-config":
            asyncio.run(configure_engine(options, chosen.daemon_json))
        else:
            asyncio.run(run_until_terminated(options))
    except settings.SettingsError as error:
        log.error("the settings are wrong", reason=str(error))
        return EXIT_USAGE
    except AgentError as error:
        log.error("failed", reason=str(error))
        return EXIT_FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main())
