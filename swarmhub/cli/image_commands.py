"""``swarmhub images …``: which digest each image stands for, and asking the registry anew."""

from __future__ import annotations

from datetime import UTC

import click
from docker.errors import DockerException

from swarmhub.cli.common import (
    EXIT_AWAY,
    config_path,
    credentials_of,
    docker_client,
    fail,
    load,
    open_pins,
    state_path,
)
from swarmhub.controller.status import ImageRow, image_rows, table
from swarmhub.images import ImageError, resolve_image, short_image
from swarmhub.pins import FILE_NAME


@click.group()
def images() -> None:
    """Show and refresh the digests that new servers get."""


@images.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per image.")
def list_images(as_json: bool) -> None:
    """Show every image of the configuration with its digest and since when it holds.

    A tag that is moved in the registry changes nothing here: use `swarmhub images refresh`.
    """
    rows = image_rows(load(config_path()), open_pins().all(), {})
    click.echo("\n".join(row.model_dump_json() for row in rows) if as_json else _render(rows))


@images.command()
@click.argument("references", metavar="[IMAGE]...", nargs=-1)
def refresh(references: tuple[str, ...]) -> None:
    """Ask the registry what each IMAGE (default: all of the configuration) stands for now.

    Servers that start from now on use the answer, running ones keep what they have. Workers pull new images
    within seconds. IMAGE is written as in the configuration.
    """
    config = load(config_path())
    unknown = sorted(set(references) - set(config.images()))
    if unknown:
        raise click.BadParameter(
            f"the configuration has no image {unknown[0]!r}; it has: {', '.join(config.images())}"
        )
    credentials, pins = credentials_of(config), open_pins()
    try:
        client = docker_client(credentials)
    except DockerException as error:
        fail(f"Docker does not answer: {error}", EXIT_AWAY)
    failed = False
    for reference in references or config.images():
        try:
            digest = resolve_image(client, reference, credentials=credentials)
        except ImageError as error:
            click.echo(f"{error}; it keeps the digest it had", err=True)
            failed = True
            continue
        before = pins.replace(reference, digest)
        if open_pins().all().get(reference) != pins.all()[reference]:
            fail(f"{state_path() / FILE_NAME} cannot be written; nothing has changed", EXIT_AWAY)
        change = "unchanged" if before == digest else f"was {short_image(before)}" if before else "new"
        click.echo(f"{reference}: {short_image(digest)} ({change})")
    pins.keep(config.images())
    if failed:
        raise SystemExit(EXIT_AWAY)


def _render(rows: tuple[ImageRow, ...]) -> str:
    cells = [
        [
            row.image,
            ", ".join(row.courses),
            short_image(row.digest),
            f"{row.resolved_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if row.resolved_at else "",
        ]
        for row in rows
    ]
    return table(["IMAGE", "COURSES", "DIGEST", "RESOLVED"], cells)
