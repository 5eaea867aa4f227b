"""``swarmhub config …``."""

from __future__ import annotations

from pathlib import Path

import click

from swarmhub.cli.common import config_path, load
from swarmhub.config import Config


@click.group()
def config() -> None:
    """Check and show swarmhub.yaml."""


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=config_path)
def check(file: Path) -> None:
    """Check FILE (default: $SWARMHUB_CONFIG) and say every problem with file and line."""
    click.echo(f"OK: {_summary(load(file))}")


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=config_path)
@click.option("--json", "as_json", is_flag=True, help="Every setting, defaults filled in, as JSON.")
def show(file: Path, as_json: bool) -> None:
    """Show the configuration in FILE (default: $SWARMHUB_CONFIG)."""
    loaded = load(file)
    click.echo(loaded.model_dump_json(indent=2) if as_json else _details(loaded))


def _summary(loaded: Config) -> str:
    networks = ", ".join(f"network {network.name} {network.subnet}" for network in loaded.networks)
    return (
        f"hub {loaded.hub.name}, {_count(len(loaded.pools), 'pool')}, "
        f"{_count(len(loaded.courses), 'course')}, {networks}, {loaded.seats} seats"
    )


def _details(loaded: Config) -> str:
    pools = [f"pool {name}: {pool.title or name}" for name, pool in loaded.pools.items()]
    courses = []
    for name, course in loaded.courses.items():
        images = dict.fromkeys(choice.image for choice in course.image_choices.values() if choice.image)
        used = dict.fromkeys(size.pool or course.pool for size in course.size_choices.values())
        courses.append(f"course {name}: pool {', '.join(used)}, image {', '.join(images)}")
    return "\n".join([_summary(loaded), *pools, *courses])


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
