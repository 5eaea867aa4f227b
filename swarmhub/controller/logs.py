"""Structured log: one JSON object per line on standard output."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

logger = logging.getLogger("swarmhub.controller")


class JsonLines(logging.Formatter):
    """Renders a record as ``{"time", "level", "event", ...fields}``; times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Send everything of level INFO and above to standard output as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # botocore announces every credential look-up at INFO.
    logging.getLogger("botocore").setLevel(logging.WARNING)


def info(event: str, **fields: object) -> None:
    """Log what happened; ``fields`` become keys of the line."""
    logger.info("%s", event, extra={"fields": fields})


def warning(event: str, **fields: object) -> None:
    """Log what went wrong and is being handled."""
    logger.warning("%s", event, extra={"fields": fields})


def exception(event: str, **fields: object) -> None:
    """Log an error nobody expected, with its traceback."""
    logger.exception("%s", event, extra={"fields": fields})
