"""A hub of a test's own on the local cloud: swarmhub's configuration, the test's ``swarmhub.yaml``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from tests.support.local_cloud import REPOSITORY, manager, run
from tests.support.polling import eventually
from tests.support.students import Hub

MANAGER = "172.31.250.10"
"""The manager's address on the local cloud's VPC, which the machine reaches directly."""
PROXY_PORT, HUB_PORT = 8111, 8112
_SOCKET = "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock"
_STORAGE = "type=bind,source=/srv/swarmhub,target=/srv/swarmhub"


def image(name: str) -> str:
    """One of the local cloud's images by digest: ``HUB``, ``PROXY`` or ``NOTEBOOK``."""
    lines = (REPOSITORY / "var/etc/manager.env").read_text().split()
    return dict(line.split("=", 1) for line in lines)[f"SWARMHUB_{name}_IMAGE"]


@contextmanager
def second_hub(swarmhub_yaml: str, extra: str = "", *, name: str = "second") -> Iterator[Hub]:
    """A hub with that swarmhub.yaml and jupyterhub_extra.py, beside the local cloud's own; gone afterwards.

    It logs ``student…`` and ``teacher`` in with the password ``swarmhub``, and shares the workers and the
    servers' network. ``hub.name`` in the file must be ``name``.
    """
    token = secrets.token_hex(16)
    folder = f"/var/lib/{name}"
    _remove(name)
    _write(f"{folder}/etc/swarmhub.yaml", swarmhub_yaml)
    _write(f"{folder}/etc/jupyterhub_extra.py", extra)
    _write(f"{folder}/state/secrets/proxy-token", token)
    _write(f"{folder}/state/secrets/api-token", token)
    environment = {
        "SWARMHUB_CONFIG": "/etc/swarmhub/swarmhub.yaml",
        "SWARMHUB_STATE": "/var/lib/swarmhub",
        "SWARMHUB_PROXY_API": f"http://{name}_proxy:8001",
        "SWARMHUB_HUB_URL": f"http://{MANAGER}:{HUB_PORT}",
        "SWARMHUB_AUTH": "lab",
        "SWARMHUB_LAB_PASSWORD": "swarmhub",
    }
    try:
        _create(
            f"{name}_proxy",
            "--env", f"CONFIGPROXY_AUTH_TOKEN={token}",
            "--publish", f"mode=host,target=8000,published={PROXY_PORT}",
            image("PROXY"),
            "--ip=0.0.0.0", "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001",
            f"--default-target=http://{MANAGER}:{HUB_PORT}",
        )  # fmt: skip
        _create(
            f"{name}_hub",
            *[part for key, value in environment.items() for part in ("--env", f"{key}={value}")],
            "--mount", _SOCKET, "--mount", _STORAGE,
            "--mount", f"type=bind,source={folder}/etc,target=/etc/swarmhub,readonly",
            "--mount", f"type=bind,source={folder}/state,target=/var/lib/swarmhub",
            "--publish", f"mode=host,target=8081,published={HUB_PORT}",
            image("HUB"),
        )  # fmt: skip
        hub = Hub(f"http://{MANAGER}:{PROXY_PORT}", token)
        eventually(f"the hub {name} answers", lambda: _answers(hub), seconds=90, every=0.5)
        yield hub
    finally:
        _remove(name)


def hub_log(name: str = "second") -> str:
    """What that hub logged so far."""
    return manager("docker", "service", "logs", "--raw", f"{name}_hub", check=False)


def _create(name: str, *arguments: str) -> None:
    manager(
        "docker", "service", "create", "--detach", "--name", name, "--network", "notebooks",
        "--constraint", "node.role==manager", "--endpoint-mode", "dnsrr", *arguments,
    )  # fmt: skip


def _remove(name: str) -> None:
    """The hub and proxy, then every service and secret with the hub's label, and its folder."""
    manager("docker", "service", "rm", f"{name}_hub", f"{name}_proxy", check=False)
    for kind in ("service", "secret", "config"):
        script = f"docker {kind} ls -q -f label=org.swarmhub.hub={name} | xargs -r docker {kind} rm"
        manager("sh", "-c", script, check=False)
    eventually(
        f"containers of {name} are gone",
        lambda: not manager("docker", "ps", "-q", "-f", f"name={name}_").strip(),
        seconds=60,
    )
    manager("rm", "-rf", f"/var/lib/{name}")


def _write(path: str, text: str) -> None:
    manager("install", "-d", "-m", "0700", path.rpartition("/")[0])
    run("docker", "compose", "exec", "-T", "manager", "sh", "-c", f'cat > "{path}"', stdin=text)


def _answers(hub: Hub) -> bool:
    try:
        return requests.get(f"{hub.url}/hub/health", timeout=2).ok
    except requests.RequestException:
        return False
