"""The world as one JSON file, so that a restart of the cloud forgets no instance."""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lab.cloud.asg.model import Instance, Settings, World

log = logging.getLogger(__name__)

WORLD: TypeAdapter[World] = TypeAdapter(World)
INSTANCE: TypeAdapter[Instance] = TypeAdapter(Instance)
FILE = "world.json"


def load(directory: Path | None, settings: Settings) -> World:
    """The saved world under today's settings; a new one when there is none or it cannot be read (the
    unreadable file is set aside as ``world.json.unreadable``)."""
    fresh = World(seed=secrets.token_hex(8), settings=settings)
    if directory is None:
        return fresh
    path = directory / FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return fresh
    try:
        return replace(WORLD.validate_json(text), settings=settings)
    except ValidationError as error:
        aside = path.with_suffix(".json.unreadable")
        path.rename(aside)
        log.error("%s cannot be read and is now %s: %s", path, aside, error)  # noqa: TRY400 - the error says it all
        return fresh


def save(directory: Path, world: World) -> None:
    """Write atomically: a crash leaves the old file or the new one."""
    directory.mkdir(parents=True, exist_ok=True)
    draft = directory / f"{FILE}.new"
    draft.write_bytes(WORLD.dump_json(world))
    draft.replace(directory / FILE)
