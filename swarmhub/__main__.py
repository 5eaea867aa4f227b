"""``python -m swarmhub``."""

from swarmhub.cli import main

main()
