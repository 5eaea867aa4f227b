"""Engine labels: how the controller tells which instance a Swarm node is. Runs before the engine starts."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import AgentError
from .identity import Identity
from .protocol import LABEL_INSTANCE, LABEL_POOL

DAEMON_JSON = Path("/etc/docker/daemon.json")
DEFAULT_MODE = 0o644


class EngineConfigError(AgentError):
    """The engine's configuration cannot be used; the text names file and place, nothing was changed."""


def with_labels(config: Mapping[str, Any], identity: Identity) -> dict[str, Any]:
    """Return ``config`` with our two engine labels; other keys and other labels are kept.

    Values from another instance are replaced: an image made of a running instance carries that one's.
    Raises EngineConfigError if ``labels`` is no list of strings.
    """
    labels = config.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise EngineConfigError('"labels" must be a list of "name=value" strings')
    ours = {LABEL_INSTANCE: identity.instance_id, LABEL_POOL: identity.pool}
    kept = [label for label in labels if label.partition("=")[0] not in ours]
    return {**config, "labels": [*kept, *(f"{name}={value}" for name, value in ours.items())]}


def apply(path: Path, identity: Identity) -> bool:
    """Write the labels into the engine's configuration file at ``path``; return False if they are there.

    A missing or empty file counts as ``{}``, as it does for the engine. Raises EngineConfigError.
    """
    try:
        text = path.read_text() if path.exists() else ""
        config = json.loads(text) if text.strip() else {}
    except json.JSONDecodeError as error:
        raise EngineConfigError(f"{path}, line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise EngineConfigError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise EngineConfigError(f"{path} must hold a JSON object, not {type(config).__name__}")
    try:
        wanted = with_labels(config, identity)
    except EngineConfigError as error:
        raise EngineConfigError(f"{path}: {error}") from error
    if wanted == config:
        return False
    try:
        _replace(path, json.dumps(wanted, indent=2) + "\n")
    except OSError as error:
        raise EngineConfigError(f"{path} cannot be written: {error}") from error
    return True


def _replace(path: Path, text: str) -> None:
    """Write a file that is either the old or the new one after a crash at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else DEFAULT_MODE
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as new:
            new.write(text)
            new.flush()
            os.fchmod(new.fileno(), mode)
            os.fsync(new.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
