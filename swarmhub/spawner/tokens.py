"""The server's API token as a Swarm secret: a file in the container, nothing in the service's settings. Pure.

Whoever may inspect services (and every backup of a manager's state) would read an environment variable;
a secret's content is given to nobody but the machine that runs the server, and is there in memory only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOKEN_FILE = "/run/secrets/jupyterhub-api-token"
"""Where the container finds its token, followed by a line feed."""
TOKEN_VARIABLES = ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN")
"""What JupyterHub's clients read; the second is the name before JupyterHub 0.8."""

_MAX_SECRET_NAME = 64
"""Swarm takes no longer one (swarmkit ``manager/controlapi/secret.go``)."""
# `read` is built into every shell, so an image needs /bin/sh and nothing else; it fails on a missing file.
_SCRIPT = (
    f'read -r JUPYTERHUB_API_TOKEN <{TOKEN_FILE} && JPY_API_TOKEN="$JUPYTERHUB_API_TOKEN" '
    '&& export JUPYTERHUB_API_TOKEN JPY_API_TOKEN && exec "$0" "$@"'
)


@dataclass(frozen=True)
class SecretRef:
    """A secret in the swarm; its content cannot be read back."""

    id: str
    name: str


def command_with_token(command: Sequence[str]) -> tuple[str, ...]:
    """``command``, run with the token of ``TOKEN_FILE`` in its environment.

    The shell is replaced by the command, which so keeps its signals and exit status. An image's entrypoint
    must run its arguments, as docker-stacks' does; an image without ``/bin/sh`` cannot use this.
    """
    return ("/bin/sh", "-c", _SCRIPT, *command)


def without_token(env: Mapping[str, str | None]) -> dict[str, str | None]:
    """``env`` without the variables that hold the token."""
    return {key: value for key, value in env.items() if key not in TOKEN_VARIABLES}


def secret_name(service: str, suffix: str) -> str:
    """``<service>-<suffix>``, the service's name cut so that Swarm accepts the whole.

    Secrets never change, so each start needs a name of its own; to whom a secret belongs its labels say.
    """
    return f"{service[: _MAX_SECRET_NAME - len(suffix) - 1].rstrip('-')}-{suffix}"
