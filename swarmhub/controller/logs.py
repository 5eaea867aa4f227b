"""Structured log, in the agent's format: one JSON object per line on standard output."""

from __future__ import annotations

import logging

from swarmhub_agent.log import configure

__all__ = ["configure", "exception", "info", "logger", "warning"]

logger = logging.getLogger("swarmhub.controller")


def info(event: str, **fields: object) -> None:
    """Log what happened; ``fields`` become keys of the line."""
    logger.info("%s", event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """Log what went wrong and is being handled."""
    logger.warning("%s", event, extra={"fields": fields})


def exception(event: str, **fields: object) -> None:
    """Log an error nobody expected, with its traceback."""
    logger.exception("%s", event, extra={"fields": fields})
