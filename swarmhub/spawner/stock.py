"""What becomes of dockerspawner's settings here, for who comes from it by changing one line. Pure.

Every trait of dockerspawner 14's SwarmSpawner and of what it inherits is in one of two tables: ``WORKS`` or
``OURS``. Some values are refused: ``REFUSALS`` says which and why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from traitlets.config.loader import LazyConfigValue

SECTIONS = ("Spawner", "DockerSpawner", "SwarmSpawner")
"""Sections of jupyterhub_config.py that a SwarmSpawner reads."""

_HUB = "JupyterHub"

Sections = Mapping[str, Mapping[str, Any]]
"""A traitlets ``Config``, or what looks like one: values by section and trait."""


@dataclass(frozen=True)
class Ours:
    """A setting whose place something else takes."""

    instead: str
    """What there is instead: the end of a sentence, without its full stop."""
    same: tuple[object, ...] = ()
    """Values that ask for what happens anyway; strings in small letters."""


@dataclass(frozen=True)
class Refusal:
    """Values of a setting that nobody may believe to be in force."""

    trait: str
    applies: Callable[[Any], bool]
    why: str
    """What is wrong and what to do about it: a sentence without its full stop."""


WORKS = frozenset(
    (
        # JupyterHub's Spawner
        "apply_user_options", "args", "auth_state_hook", "cmd", "consecutive_failure_limit",
        "cpu_guarantee", "cpu_limit", "debug", "default_url", "disable_user_config", "env_keep",
        "environment", "group_overrides", "http_timeout", "hub_connect_url", "mem_guarantee", "mem_limit",
        "notebook_dir", "oauth_client_allowed_scopes", "oauth_roles", "options_form", "options_from_form",
        "poll_interval", "poll_jitter", "port", "post_stop_hook", "pre_spawn_hook", "progress_ready_hook",
        "server_token_scopes", "start_timeout",
        # dockerspawner's DockerSpawner
        "allowed_images", "client_kwargs", "container_image", "container_port", "escape",
        "extra_create_kwargs", "format_volume_name", "image", "image_whitelist", "mounts", "network_name",
        "read_only_volumes", "tls_config", "volumes",
        # dockerspawner's SwarmSpawner
        "extra_container_spec", "extra_endpoint_spec", "extra_placement_spec", "extra_resources_spec",
        "extra_task_spec", "volume_driver", "volume_driver_options",
    )
)  # fmt: skip
"""Settings that mean what dockerspawner's and JupyterHub's documentation say."""

_NAMES = (
    "service names are made so that they are always valid and never collide; find a server by its service's "
    "labels org.swarmhub.user and org.swarmhub.server"
)
_NO_CERTIFICATES = (
    "JupyterHub.internal_ssl is not supported; a network made with `docker network create --driver overlay "
    "--opt encrypted` encrypts what passes between machines"
)
_NOT_PUBLISHED = (
    "no port is published; the hub reaches a server at its address on the overlay network, on which the hub "
    "must be too (SwarmSpawner.network_name)"
)
_TLS = "set DockerSpawner.tls_config"
_REMOVED = "a stopped server's service is always removed; what must stay belongs into a home or a volume"

OURS: Mapping[str, Ours] = {
    "certs_volume_name": Ours(_NO_CERTIFICATES),
    "container_ip": Ours(_NOT_PUBLISHED),
    "container_name_template": Ours(_NAMES),
    "container_prefix": Ours(_NAMES),
    "extra_host_config": Ours(
        "a service has no host config; set SwarmSpawner.extra_container_spec or extra_resources_spec"
    ),
    "host_ip": Ours(_NOT_PUBLISHED),
    "hub_ip_connect": Ours("set JupyterHub.hub_connect_ip"),
    "ip": Ours(
        "a server listens on all addresses of its container, for the hub and its own health check",
        same=("", "*", "0.0.0.0", "::"),
    ),
    "links": Ours("services on the same overlay network find each other by name"),
    "move_certs_image": Ours(_NO_CERTIFICATES),
    "name_template": Ours(_NAMES),
    "post_start_cmd": Ours(
        "a server may run on any machine, where the hub can execute nothing; put it into the image or "
        "SwarmSpawner.cmd",
        same=(False, ""),
    ),
    "prefix": Ours(f"{_NAMES} ({{prefix}} in volume names works)"),
    "pull_policy": Ours(
        "workers pull what they miss, by the digest found once for each image (SwarmSpawner.pin_image)",
        same=("skip",),
    ),
    "remove": Ours(_REMOVED, same=(True,)),
    "remove_containers": Ours(_REMOVED, same=(True,)),
    "ssl_alt_names": Ours(_NO_CERTIFICATES),
    "ssl_alt_names_include_local": Ours(_NO_CERTIFICATES),
    "tls": Ours(_TLS),
    "tls_assert_hostname": Ours(_TLS),
    "tls_ca": Ours(_TLS),
    "tls_cert": Ours(_TLS),
    "tls_key": Ours(_TLS),
    "tls_verify": Ours(_TLS),
    "use_docker_client_env": Ours("DOCKER_HOST and its like are always read", same=(True,)),
    "use_internal_hostname": Ours(
        "the hub reaches servers by address: a name's old address is remembered for ten minutes",
        same=(False,),
    ),
    "use_internal_ip": Ours(_NOT_PUBLISHED, same=(True,)),
}
"""Settings that have no effect, and what there is instead."""

_RESTRICTIONS = frozenset(
    ("cap_drop", "network_mode", "pids_limit", "read_only", "security_opt", "ulimits", "userns_mode")
)
"""Keywords of docker-py's ``create_host_config`` that confine a container."""
_NODE_NETWORKS = frozenset(("bridge", "host", "none"))
"""Networks that every engine has for itself."""

REFUSALS = (
    Refusal(
        "internal_ssl",
        bool,
        # The certificates would lie in a volume on the hub's own machine, and they name hosts, not addresses.
        "internal_ssl is not supported, and traffic believed to be encrypted would not be; set it to False "
        "and make the overlay network with `--opt encrypted`",
    ),
    Refusal(
        "extra_host_config",
        lambda value: isinstance(value, Mapping) and bool(_RESTRICTIONS & value.keys()),
        # dockerspawner's SwarmSpawner ignores it without a word.
        "extra_host_config has no effect on services, so these restrictions would not hold; set "
        "SwarmSpawner.extra_container_spec instead (all capabilities are dropped already)",
    ),
    Refusal(
        "extra_task_spec",
        lambda value: isinstance(value, Mapping) and "networks" in value,
        "lists are joined here, so a server would be on SwarmSpawner.network_name and on these networks; "
        "name the network in SwarmSpawner.network_name only",
    ),
    Refusal(
        "network_name",
        lambda value: isinstance(value, str) and value in _NODE_NETWORKS,
        "the hub reaches servers on other machines through an overlay network only; make one with `docker "
        "network create --driver overlay --attachable` and name it here",
    ),
)
"""Refused: what would silently weaken a protection, and a network with which no server could be reached."""


class RefusedSettingsError(ValueError):
    """Settings with which the hub must not go on; ``str()`` gives one sentence a line."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


def unsupported(config: Sections, sections: Iterable[str] = SECTIONS) -> list[str]:
    """One sentence for each setting in these sections that has no effect here, naming what there is instead.

    Values that are functions of the spawner are not called, so only their traits' names are judged. Raises
    RefusedSettingsError, see ``REFUSALS``.
    """
    settings = [
        (section, trait, _plain(value))
        for section in dict.fromkeys((_HUB, *sections))
        for trait, value in config.get(section, {}).items()
    ]
    refused = [
        f"{section}.{trait}: {refusal.why}."
        for section, trait, value in settings
        for refusal in REFUSALS
        if trait == refusal.trait and refusal.applies(value)
    ]
    if refused:
        raise RefusedSettingsError(refused)
    return [
        f"{section}.{trait} has no effect: {OURS[trait].instead}."
        for section, trait, value in settings
        # JupyterHub.ip and its like are other settings.
        if section != _HUB and trait in OURS and not _is_same(value, OURS[trait])
    ]


def _plain(value: Any) -> Any:
    # c.DockerSpawner.extra_host_config.update(…) is kept as a change of a value not known yet.
    return value.get_value({}) if isinstance(value, LazyConfigValue) else value


def _is_same(value: Any, ours: Ours) -> bool:
    known = value.lower() if isinstance(value, str) else value
    return any(known == same and type(known) is type(same) for same in ours.same)
