"""How an instance's container is made: the settings ``make up`` passes, and Docker's form of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.cloud.asg.model import Instance
from lab.cloud.store import INSTANCE

SECTION = "x-worker"
"""Beside the compose services of the same file: both describe how an instance runs on this machine."""
LABEL_LAB = "org.swarmhub.lab"
"""On every container launched from here, value ``1``: what ``make down`` removes by."""
LABEL_SPEC = "org.swarmhub.lab.instance"
"""The instance as JSON: what a cloud that lost its state adopts the container by."""


class InstanceTemplate(BaseModel):
    """The section ``x-worker`` of lab/instance.cgroup1.yaml or .cgroup2.yaml.

    Fields mean what they mean in a compose file unless said otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str = Field(min_length=1)
    """Image of the instance's container; must be on this machine."""
    network: str = Field(min_length=1)
    """Docker's name of the network that becomes eth0 and gives the private address."""
    imds_network: str = Field(min_length=1)
    """Docker's name of the metadata network. Make it ``internal: true``: it may win the default
    route otherwise."""
    command: tuple[str, ...] = ()
    """Empty: the image's own."""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security_opt: tuple[str, ...] = ()
    """``systempaths=unconfined`` is understood, as in compose."""
    device_cgroup_rules: tuple[str, ...] = ()
    cgroup: Literal["host", "private"] | None = None
    """None: the engine's default."""
    privileged: bool = False
    volumes: tuple[str, ...] = ()
    """``/host/path:/path[:options]`` or ``volume:/path[:options]``, shared by all instances, as homes are."""
    anonymous_volumes: tuple[str, ...] = ("/var/lib/docker",)
    """Paths that get a fresh volume per instance, removed with it."""
    tmpfs: tuple[str, ...] = ()
    """``/path[:options]``."""
    stop_signal: str | None = None
    mem_limit: str | int | None = None
    """Bytes, or Docker's notation such as ``2g``; None: no limit."""
    environment: dict[str, str] = Field(default_factory=dict)
    hostname: str = "{instance_id}"
    """Pattern; ``{instance_id}`` is replaced."""
    partition_interface: str = "eth0"
    """The interface a partition cuts off."""


def load(path: Path) -> InstanceTemplate:
    """The template in a file's section ``x-worker``.

    Raises ValueError naming file, field and allowed values.
    """
    try:
        document = yaml.safe_load(path.read_text())
        if not isinstance(document, dict) or SECTION not in document:
            raise ValueError(f"instance template {path}: the section {SECTION} is missing")
        return InstanceTemplate.model_validate(document[SECTION])
    except (yaml.YAMLError, ValidationError) as error:
        raise ValueError(f"instance template {path}: {error}") from error


def host_options(template: InstanceTemplate) -> dict[str, Any]:
    """Keyword arguments for docker-py's ``create_host_config``; see ``unconfine`` for the rest."""
    options: dict[str, Any] = {
        "network_mode": template.network,
        "binds": list(template.volumes),
        "cap_add": list(template.cap_add),
        "cap_drop": list(template.cap_drop),
        "security_opt": [opt for opt in template.security_opt if not opt.startswith("systempaths=")],
        "device_cgroup_rules": list(template.device_cgroup_rules),
        "cgroupns": template.cgroup,
        "privileged": template.privileged,
        "tmpfs": {path: options for path, _, options in (entry.partition(":") for entry in template.tmpfs)},
        "mem_limit": template.mem_limit,
    }
    return {key: value for key, value in options.items() if value}


def unconfine(template: InstanceTemplate, host_config: dict[str, Any]) -> None:
    """``systempaths=unconfined`` is the command line's word: the engine knows only empty lists of masked
    paths, which docker-py cannot say."""
    if "systempaths=unconfined" in template.security_opt:
        host_config["MaskedPaths"] = []
        host_config["ReadonlyPaths"] = []


def container_options(template: InstanceTemplate, instance: Instance) -> dict[str, Any]:
    """Keyword arguments for docker-py's low-level ``create_container``, without the host config."""
    options: dict[str, Any] = {
        "image": template.image,
        "name": instance.container,
        "hostname": template.hostname.format(instance_id=instance.instance_id),
        "command": list(template.command),
        "environment": template.environment,
        "volumes": list(template.anonymous_volumes),
        "stop_signal": template.stop_signal,
        "labels": {LABEL_LAB: "1", LABEL_SPEC: INSTANCE.dump_json(instance).decode()},
        "detach": True,
    }
    return {key: value for key, value in options.items() if value}
