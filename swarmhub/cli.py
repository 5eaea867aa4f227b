"""``swarmhub …``: what the operator types on the manager.

Exit codes: 0 good, 1 a bad configuration, 2 a bad command line, 3 the controller does not answer.
"""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path
from typing import NoReturn

import click
from pydantic import ValidationError

from swarmhub.config import Config, load_config
from swarmhub.config_errors import ConfigError
from swarmhub.controller.status import StatusDocument, render

DEFAULT_CONFIG = "/etc/swarmhub/swarmhub.yaml"
STATUS_URL = "http://127.0.0.1:9080/status"
ANSWER_WITHIN_S = 5.0
EXIT_CONFIG = 1
EXIT_CONTROLLER = 3


@click.group()
def main() -> None:
    """Look at and check a swarmhub."""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The whole document as JSON.")
@click.option("--url", default=STATUS_URL, show_default=True, help="Where the controller answers.")
def status(as_json: bool, url: str) -> None:
    """Show nodes, servers, groups and what happened lately, each with its reason."""
    try:
        body = _get(url)
        document = StatusDocument.model_validate_json(body)
    except OSError as error:
        _fail(
            f"The controller does not answer on {url}: {error}\n"
            "Is it running? Look with: docker service ps swarmhub_controller\n"
            "and at its log with:      docker service logs --tail 50 swarmhub_controller"
        )
    except ValidationError as error:
        _fail(
            f"What answers on {url} is no controller of this version ({error.error_count()} differences).\n"
            "Run this command with the controller's own version: docker exec into its container."
        )
    click.echo(document.model_dump_json(indent=2) if as_json else render(document))


@main.group()
def config() -> None:
    """Check and show swarmhub.yaml."""


def _file_argument() -> Path:
    return Path(os.environ.get("SWARMHUB_CONFIG") or DEFAULT_CONFIG)


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=_file_argument)
def check(file: Path) -> None:
    """Check FILE (default: $SWARMHUB_CONFIG) and say every problem with file and line."""
    click.echo(f"OK: {_summary(_load(file))}")


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=_file_argument)
@click.option("--json", "as_json", is_flag=True, help="Every setting, defaults filled in, as JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show the configuration in FILE (default: $SWARMHUB_CONFIG)."""
    loaded = _load(file)
    click.echo(loaded.model_dump_json(indent=2) if as_json else _details(loaded))


def _get(url: str) -> bytes:
    # Proxy settings of the environment are not meant for the loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=ANSWER_WITHIN_S) as response:
        body: bytes = response.read()
    return body


def _load(file: Path) -> Config:
    try:
        return load_config(file)
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(EXIT_CONFIG) from error


def _summary(loaded: Config) -> str:
    return (
        f"hub {loaded.hub.name}, {_count(len(loaded.pools), 'pool')}, "
        f"{_count(len(loaded.courses), 'course')}, "
        f"network {loaded.network.name} {loaded.network.subnet}, {loaded.seats} seats"
    )


def _details(loaded: Config) -> str:
    pools = [f"pool {name}: {pool.title or name}" for name, pool in loaded.pools.items()]
    courses = [
        f"course {name}: pool {course.pool}, image {course.image}" for name, course in loaded.courses.items()
    ]
    return "\n".join([_summary(loaded), *pools, *courses])


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    raise SystemExit(EXIT_CONTROLLER)
