"""What several commands need: the files they read, how they ask over HTTP, how they end."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from swarmhub.config import Config, load_config
from swarmhub.config_errors import ConfigError
from swarmhub.controller.swarm import default_client
from swarmhub.pins import FILE_NAME, Pins
from swarmhub.registries import Credentials, authenticate, registries_of

DEFAULT_CONFIG = "/etc/swarmhub/swarmhub.yaml"
DEFAULT_STATE = "/var/lib/swarmhub"
ANSWER_WITHIN_S = 5.0
EXIT_CONFIG = 1
EXIT_CONTROLLER = 3
EXIT_AWAY = 4


def config_path() -> Path:
    """``$SWARMHUB_CONFIG`` or where a manager has it."""
    return Path(os.environ.get("SWARMHUB_CONFIG") or DEFAULT_CONFIG)


def state_path() -> Path:
    """``$SWARMHUB_STATE`` or where a manager has it."""
    return Path(os.environ.get("SWARMHUB_STATE") or DEFAULT_STATE)


def now() -> datetime:
    return datetime.now(UTC)


def open_pins() -> Pins:
    """The pins of the hub on this machine."""
    return Pins(state_path() / FILE_NAME, now)


def load(file: Path) -> Config:
    """The configuration; ends the command with every problem in it."""
    try:
        return load_config(file)
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)


# docker-py's types leave out parts of its client (see swarmhub.controller.swarm).
def docker_client(credentials: Credentials) -> Any:
    """A client of this machine's engine, or of ``DOCKER_HOST``. Raises docker.errors.DockerException."""
    client = default_client()
    authenticate(client, credentials)
    return client


def credentials_of(config: Config) -> Credentials:
    return Credentials(registries_of(config.registries), now)


def get(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of an answer. Raises OSError, HTTPError among them."""
    # Proxy settings of the environment are not meant for our own services.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=dict(headers or {}))
    with opener.open(request, timeout=ANSWER_WITHIN_S) as response:
        body: bytes = response.read()
    return body


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong and end."""
    click.echo(message, err=True)
    raise SystemExit(code)
