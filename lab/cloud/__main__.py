"""``python -m lab.cloud``: run the local cloud until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from typing import Any

import click

from lab.cloud import instance_template
from lab.cloud.asg.model import Settings
from lab.cloud.bootstrap import Plan
from lab.cloud.docker_launcher import DockerLauncher
from lab.cloud.launcher import InstanceLauncher, MemoryLauncher
from lab.cloud.server import Address, LabCloud, Manager, Options

CONTEXT = {"auto_envvar_prefix": "LAB_CLOUD", "show_default": True, "help_option_names": ["-h", "--help"]}


@click.command(context_settings=CONTEXT)
@click.option("--aws-host", default="0.0.0.0", help="AWS endpoint, all services: listen here.")
@click.option("--aws-port", default=5000)
@click.option("--moto-host", default="127.0.0.1", help="moto behind the AWS endpoint: listen here.")
@click.option("--moto-port", default=5001)
@click.option("--imds-host", default="169.254.169.254", help="Instance metadata service: listen here.")
@click.option("--imds-port", default=80)
@click.option("--control-host", default="0.0.0.0", help="Control port: listen here.")
@click.option("--control-port", default=8090)
@click.option(
    "--launcher", type=click.Choice(["docker", "memory"]), default="docker", help="What runs instances."
)
@click.option(
    "--instance-template",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON or YAML file: how an instance's container is made (needed for docker).",
)
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the world here.")
@click.option("--region", default="us-east-1")
@click.option("--hub", default="lab")
@click.option("--pool", default="cpu")
@click.option("--min-size", default=0)
@click.option("--max-size", default=6)
@click.option("--desired", default=2, help="Instances at the first start.")
@click.option("--instance-type", default="t3.large", help="What the pool's instances say they are.")
@click.option(
    "--bootstrap/--no-bootstrap", default=True, help="Make queue, launch template, group and hooks."
)
@click.option("--manager-id", default="i-0aa00000000000001", help="Instance id of the manager.")
@click.option("--manager-container", default="manager")
@click.option("--manager-private-ip", help="With --manager-imds-ip: register the manager as an instance.")
@click.option("--manager-imds-ip", help="The manager's address on the metadata network.")
@click.option("--manager-hop-limit", default=2)
@click.option(
    "--health-check-seconds", default=15.0, help="From an instance's own death to its group noticing."
)
@click.option("--terminate-on-exit", is_flag=True, help="Remove all instances on SIGTERM.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
)
def main(**given: Any) -> None:
    """swarmhub's local cloud: fake EC2, Auto Scaling and instance metadata, moto for the rest.

    Every option can be given as an environment variable too: LAB_CLOUD_AWS_PORT for --aws-port.
    """
    logging.basicConfig(
        level=given["log_level"].upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    asyncio.run(_run(_options(given), _launcher(given["launcher"], given["instance_template"])))


def _launcher(kind: str, template: Path | None) -> InstanceLauncher:
    if kind == "memory":
        return MemoryLauncher()
    if template is None:
        raise click.UsageError(
            "--launcher docker needs --instance-template; allowed launchers: docker, memory"
        )
    try:
        return DockerLauncher(instance_template.load(template))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _options(given: dict[str, Any]) -> Options:
    if bool(given["manager_private_ip"]) != bool(given["manager_imds_ip"]):
        raise click.UsageError("--manager-private-ip and --manager-imds-ip: give both or neither")
    if not 0 <= given["min_size"] <= given["desired"] <= given["max_size"]:
        raise click.UsageError("sizes must be 0 <= --min-size <= --desired <= --max-size")
    manager = Manager(
        instance_id=given["manager_id"],
        container=given["manager_container"],
        private_ip=given["manager_private_ip"],
        imds_ip=given["manager_imds_ip"],
        hop_limit=given["manager_hop_limit"],
    )
    plan = Plan(
        hub=given["hub"],
        pool=given["pool"],
        region=given["region"],
        min_size=given["min_size"],
        max_size=given["max_size"],
        desired=given["desired"],
        instance_type=given["instance_type"],
    )
    return Options(
        aws=Address(host=given["aws_host"], port=given["aws_port"]),
        moto=Address(host=given["moto_host"], port=given["moto_port"]),
        imds=Address(host=given["imds_host"], port=given["imds_port"]),
        control=Address(host=given["control_host"], port=given["control_port"]),
        settings=Settings(region=given["region"], health_check_delay=given["health_check_seconds"]),
        plan=plan if given["bootstrap"] else None,
        manager=manager if given["manager_private_ip"] else None,
        state_dir=given["state_dir"],
        terminate_on_exit=given["terminate_on_exit"],
    )


async def _run(options: Options, launcher: InstanceLauncher) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LabCloud(options, launcher):
        await stop.wait()


if __name__ == "__main__":
    main()
