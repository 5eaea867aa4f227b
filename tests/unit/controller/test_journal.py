"""What happened and why, in memory and in a file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from swarmhub.controller.journal import KEPT_EVENTS, Journal
from tests.unit.controller.world import NOW


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> object:
        return self.now


def test_events_survive_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state" / "journal.jsonl"
    Journal(file, lambda: NOW).record("host1", "pause", "a spot notice")
    (event,) = Journal(file, lambda: NOW).events
    assert (event.time, event.subject, event.what, event.reason) == (NOW, "host1", "pause", "a spot notice")


def test_the_same_event_is_recorded_once_a_minute(tmp_path: Path) -> None:
    clock = Clock()
    journal = Journal(tmp_path / "j", clock)
    for _ in range(3):
        journal.record("host1", "pause", "why", ok=False)
    journal.record("host1", "pause", "why")
    assert len(journal.events) == 2
    clock.now += timedelta(seconds=60)
    journal.record("host1", "pause", "why")
    assert len(journal.events) == 3


def test_memory_and_file_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "j"
    journal = Journal(file, lambda: NOW, rotate_bytes=2000)
    for number in range(KEPT_EVENTS + 50):
        journal.record("host1", "pause", f"reason {number}")
    assert len(journal.events) == KEPT_EVENTS
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j", "j.1"]
    assert max(p.stat().st_size for p in tmp_path.iterdir()) < 2300


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "j"
    Journal(file, lambda: NOW).record("host1", "pause", "why")
    with file.open("a") as torn:
        torn.write('{"time": "2026-')
    assert [e.what for e in Journal(file, lambda: NOW).events] == ["pause"]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, not a directory")
    journal = Journal(tmp_path / "state" / "j", lambda: NOW)
    journal.record("host1", "pause", "why")
    assert len(journal.events) == 1
