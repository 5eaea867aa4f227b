"""``swarmhub status``."""

from __future__ import annotations

import click
from pydantic import ValidationError

from swarmhub.cli.common import EXIT_CONTROLLER, fail, get
from swarmhub.controller.status import StatusDocument, render

STATUS_URL = "http://127.0.0.1:9080/status"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The whole document as JSON.")
@click.option("--url", default=STATUS_URL, show_default=True, help="Where the controller answers.")
def status(as_json: bool, url: str) -> None:
    """Show nodes, servers, images, groups and what happened lately, each with its reason."""
    try:
        body = get(url)
        document = StatusDocument.model_validate_json(body)
    except OSError as error:
        fail(
            f"The controller does not answer on {url}: {error}\n"
            "Is it running? Look with: docker service ps swarmhub_controller\n"
            "and at its log with:      docker service logs --tail 50 swarmhub_controller",
            EXIT_CONTROLLER,
        )
    except ValidationError as error:
        fail(
            f"What answers on {url} is no controller of this version ({error.error_count()} differences).\n"
            "Run this command with the controller's own version: docker exec into its container.",
            EXIT_CONTROLLER,
        )
    click.echo(document.model_dump_json(indent=2) if as_json else render(document))
