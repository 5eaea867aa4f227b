"""``swarmhub orphans``: what is left in Swarm although the hub knows no server it belongs to."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
import requests
from docker.errors import DockerException

from swarmhub.cli.common import (
    EXIT_AWAY,
    config_path,
    credentials_of,
    docker_client,
    fail,
    load,
    state_path,
)
from swarmhub.cli.hub_api import HubApi, HubApiError
from swarmhub.controller.status import short_time, table
from swarmhub.spawner.orphans import GRACE_S, Orphan, find, remove
from swarmhub.spawner.orphans import orphans as find_orphans

HUB_URL = "http://hub:8081"
"""The hub's name on the network it shares with the controller, in whose container this runs."""


@click.command()
@click.option("--remove", "removes", is_flag=True, help="Remove them; without it they are only shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per orphan.")
@click.option(
    "--min-age",
    default=int(GRACE_S),
    show_default=True,
    type=click.IntRange(min=0),
    help="Seconds since something was made before it is removed.",
)
@click.option("--hub-url", default=HUB_URL, show_default=True, help="Where the hub answers.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    default=None,
    help="File with a token of the hub's API. Default: secrets/api-token in the state folder.",
)
def orphans(removes: bool, as_json: bool, min_age: int, hub_url: str, token_file: Path | None) -> None:
    """Show services and secrets of this hub that belong to no server it knows.

    The hub removes them itself after five minutes, unless they are more than half of all: then it may have
    lost its database, and this command is how you say that it has not.
    """
    config = load(config_path())
    hub = HubApi(hub_url, _token(token_file or state_path() / "secrets" / "api-token"))
    try:
        client = docker_client(credentials_of(config))
        # Swarm before the hub: a server that starts in between is in the second answer.
        found = find(client, config.hub.name)
        known = hub.known()
        made = {item.id: item.created_at for item in found}
        lost = find_orphans(found, known, made, time.time(), min_age)
        lost = tuple(orphan for orphan in lost if known.has(orphan.found) or not hub.has(orphan.found))
        outcomes = [_outcome(client, orphan, removes) for orphan in lost]
    except HubApiError as error:
        fail(f"Nothing was removed: {error}", EXIT_AWAY)
    except (DockerException, requests.RequestException) as error:
        fail(f"Docker does not answer as it should: {error}", EXIT_AWAY)
    click.echo(_json(lost, outcomes) if as_json else _text(lost, outcomes, removes))


def _token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        fail(f"The hub's token cannot be read: {file}: {error.strerror}", EXIT_AWAY)


def _outcome(client: Any, orphan: Orphan, removes: bool) -> str:
    if not orphan.is_due:
        return "too young"
    if not removes:
        return "would be removed"
    return "removed" if remove(client, orphan.found) else "still in use"


def _text(lost: tuple[Orphan, ...], outcomes: list[str], removes: bool) -> str:
    if not lost:
        return "No orphans."
    cells = [
        [o.found.kind, o.found.name, o.found.user, o.found.server, short_time(o.age), o.reason, outcome]
        for o, outcome in zip(lost, outcomes, strict=True)
    ]
    lines = [table(["KIND", "NAME", "USER", "SERVER", "AGE", "WHY", "OUTCOME"], cells)]
    if not removes and any(orphan.is_due for orphan in lost):
        lines.append("Nothing was removed. To remove them: swarmhub orphans --remove")
    return "\n\n".join(lines)


def _json(lost: tuple[Orphan, ...], outcomes: list[str]) -> str:
    return "\n".join(
        json.dumps(
            {
                "kind": orphan.found.kind,
                "id": orphan.found.id,
                "name": orphan.found.name,
                "user": orphan.found.user,
                "server": orphan.found.server,
                "age_s": round(orphan.age),
                "reason": orphan.reason,
                "outcome": outcome,
            }
        )
        for orphan, outcome in zip(lost, outcomes, strict=True)
    )
