"""SQLite as a hub needs it: a start commits a dozen times, and each commit holds up everybody else's."""

from __future__ import annotations

import sqlite3

from sqlalchemy import event
from sqlalchemy.engine import Engine


def use_write_ahead_log() -> None:
    """From now on, SQLite databases are opened with a write-ahead log that is not flushed at every commit.

    A crash of the hub loses nothing; a power failure may lose the last seconds, never the database
    (https://www.sqlite.org/wal.html). Other databases are not touched. Not for network file systems.
    """
    if not event.contains(Engine, "connect", _configure):
        event.listen(Engine, "connect", _configure)


def _configure(connection: object, _record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
