"""The hub's SQLite database does not wait for the disk at every commit."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from swarmhub.hub import database


def test_a_database_opened_later_has_a_write_ahead_log(tmp_path: Path) -> None:
    database.use_write_ahead_log()
    database.use_write_ahead_log()
    try:
        with create_engine(f"sqlite:///{tmp_path / 'hub.sqlite'}").connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
            assert connection.execute(text("PRAGMA synchronous")).scalar() == 1
    finally:
        event.remove(Engine, "connect", database._configure)
