"""Instances as containers of the Docker engine that this container's socket leads to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import docker
from docker.errors import APIError, NotFound
from pydantic import ValidationError

from lab.cloud.asg.instances import container_name
from lab.cloud.asg.model import Instance
from lab.cloud.instance_template import (
    LABEL_LAB,
    LABEL_SPEC,
    InstanceTemplate,
    container_options,
    host_options,
    unconfine,
)
from lab.cloud.launcher import Addresses, Found
from lab.cloud.store import INSTANCE

log = logging.getLogger(__name__)

T = TypeVar("T")
STOP_TIMEOUT = 10
"""Seconds from the stop signal to SIGKILL."""
CALL_TIMEOUT = 60
"""Seconds for one call to the engine."""
THREADS = 8


class DockerLauncher:
    """An InstanceLauncher on docker-py, whose blocking calls run in a small pool of threads."""

    def __init__(self, template: InstanceTemplate, client: docker.DockerClient | None = None) -> None:
        self._template = template
        self._client = client or docker.from_env(timeout=CALL_TIMEOUT)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="docker")

    async def launch(self, instance: Instance) -> Addresses:
        return await self._call(lambda: self._launch(instance))

    async def stop(self, instance_id: str) -> None:
        await self._call(lambda: self._remove(instance_id, in_order=True))

    async def kill(self, instance_id: str) -> None:
        await self._call(lambda: self._remove(instance_id, in_order=False))

    async def partition(self, instance_id: str, seconds: float) -> None:
        await self._call(lambda: self._partition(instance_id, seconds))

    async def found(self) -> Mapping[str, Found]:
        return await self._call(self._found)

    async def _call(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def _launch(self, instance: Instance) -> Addresses:
        api = self._client.api
        # What an earlier attempt, cut off by a restart, may have left.
        self._remove(instance.instance_id, in_order=False)
        host_config = api.create_host_config(**host_options(self._template))
        unconfine(self._template, host_config)
        created = api.create_container(**container_options(self._template, instance), host_config=host_config)
        # Connected before the start, so that the metadata service can be asked from the first moment.
        api.connect_container_to_network(created["Id"], self._template.imds_network)
        api.start(created["Id"])
        addresses = self._addresses(api.inspect_container(created["Id"]))
        if addresses is None:
            raise RuntimeError(f"{instance.container} exited right after its start; see docker logs")
        return addresses

    def _addresses(self, inspected: Mapping[str, Any]) -> Addresses | None:
        networks = inspected["NetworkSettings"]["Networks"]
        private_ip = networks.get(self._template.network, {}).get("IPAddress")
        imds_ip = networks.get(self._template.imds_network, {}).get("IPAddress")
        if not private_ip or not imds_ip:
            return None
        return Addresses(private_ip=private_ip, imds_ip=imds_ip)

    def _remove(self, instance_id: str, *, in_order: bool) -> None:
        try:
            container = self._client.containers.get(container_name(instance_id))
            if in_order:
                container.stop(timeout=STOP_TIMEOUT)
            container.remove(v=True, force=True)
        except NotFound:
            return
        except APIError as error:
            # 409: another removal of the same container is under way, which is what we want.
            if error.status_code != 409:  # noqa: PLR2004 - HTTP's Conflict
                raise

    def _partition(self, instance_id: str, seconds: float) -> None:
        container = self._client.containers.get(container_name(instance_id))
        code, output = container.exec_run(["iptables", "-w", "-S", "INPUT"])
        if code != 0:
            raise RuntimeError(f"iptables does not work in {container.name}: {output!r}")
        container.exec_run(
            ["sh", "-c", partition_script(self._template.partition_interface, seconds)], detach=True
        )

    def _found(self) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for summary in self._client.api.containers(all=True, filters={"label": f"{LABEL_LAB}=1"}):
            spec = summary["Labels"].get(LABEL_SPEC)
            if spec is None:
                continue
            try:
                instance = INSTANCE.validate_json(spec)
            except ValidationError:
                log.exception("container %s: its label %s is unreadable", summary["Names"], LABEL_SPEC)
                continue
            running = summary["State"] in {"running", "paused", "restarting"}
            found[instance.instance_id] = Found(
                running=running,
                addresses=self._addresses(summary) if running else None,
                instance=instance,
            )
        return found


def partition_script(interface: str, seconds: float) -> str:
    """Shell: drop everything through the interface, wait, undo. Overlapping runs each undo their own."""
    rules = [
        f"INPUT -i {interface}",
        f"OUTPUT -o {interface}",
        f"FORWARD -i {interface}",
        f"FORWARD -o {interface}",
    ]
    cut = "; ".join(f"iptables -w -I {rule} -j DROP" for rule in rules)
    mend = "; ".join(f"iptables -w -D {rule} -j DROP" for rule in rules)
    return f"{cut}; sleep {seconds:g}; {mend}"
