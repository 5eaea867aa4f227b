"""What the controller did and why: the latest events in memory and, as JSON lines, in a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from swarmhub.controller import logs

KEPT_EVENTS = 200
ROTATE_BYTES = 2**20
"""The file is renamed to ``….1`` at this size: two of them are months of a quiet hub, a day of a bad one."""
SAME_AGAIN_AFTER = timedelta(seconds=60)
"""The same event about the same thing is recorded once in this time."""


class Event(BaseModel):
    """One thing that happened."""

    model_config = ConfigDict(frozen=True)

    time: datetime
    subject: str
    """What it is about: a host name, an instance id or a server's name."""
    what: str
    """A few words: ``pause``, ``move``, ``draining`` …"""
    reason: str
    ok: bool = True


class Journal:
    """Remembers events. A file that cannot be written is logged once and never stops anything."""

    def __init__(
        self, file: Path, clock: Callable[[], datetime], *, rotate_bytes: int = ROTATE_BYTES
    ) -> None:
        self._file = file
        self._clock = clock
        self._rotate_bytes = rotate_bytes
        self._events: deque[Event] = deque(_tail(file), maxlen=KEPT_EVENTS)
        self._writable = True

    @property
    def events(self) -> tuple[Event, ...]:
        """The latest events, oldest first."""
        return tuple(self._events)

    def record(self, subject: str, what: str, reason: str, *, ok: bool = True) -> None:
        event = Event(time=self._clock(), subject=subject, what=what, reason=reason, ok=ok)
        if any(_same(event, known) for known in self._events):
            return
        self._events.append(event)
        (logs.info if ok else logs.warning)(what, subject=subject, reason=reason)
        try:
            self._write(event)
            self._writable = True
        except OSError as error:
            if self._writable:
                logs.warning("the journal cannot be written", file=str(self._file), reason=str(error))
            self._writable = False

    def _write(self, event: Event) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._file.exists() and self._file.stat().st_size >= self._rotate_bytes:
            self._file.replace(self._file.with_name(self._file.name + ".1"))
        with self._file.open("a", encoding="utf-8") as file:
            file.write(event.model_dump_json() + "\n")


def _same(new: Event, old: Event) -> bool:
    same = (new.subject, new.what, new.reason, new.ok) == (old.subject, old.what, old.reason, old.ok)
    return same and new.time - old.time < SAME_AGAIN_AFTER


def _tail(file: Path) -> list[Event]:
    """The file's last events; lines that cannot be read (a crash in mid-write) are left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-KEPT_EVENTS:]
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            events.append(Event.model_validate_json(line))
        except ValidationError:
            continue
    return events
