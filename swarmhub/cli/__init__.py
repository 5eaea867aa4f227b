"""``swarmhub …``: what the operator types on the manager.

Exit codes: 0 good, 1 a bad configuration, 2 a bad command line, 3 the controller does not answer, 4 the hub,
Docker, a registry or the state folder cannot be used.
"""

from __future__ import annotations

import click

from swarmhub.cli.common import EXIT_AWAY, EXIT_CONFIG, EXIT_CONTROLLER
from swarmhub.cli.config_commands import config
from swarmhub.cli.image_commands import images
from swarmhub.cli.orphan_command import orphans
from swarmhub.cli.status_command import status

__all__ = ["EXIT_AWAY", "EXIT_CONFIG", "EXIT_CONTROLLER", "main"]


@click.group()
def main() -> None:
    """Look at and check a swarmhub."""


for command in (status, images, orphans, config):
    main.add_command(command)
