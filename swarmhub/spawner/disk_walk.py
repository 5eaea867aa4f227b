"""Adding up what a directory holds, a slice of time at a time, without following a link."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from swarmhub.spawner.safe_paths import DIRECTORY, opened

BIGGEST = 5
"""How many of the biggest files and folders are named."""
_BLOCK = 512
"""Bytes in one ``st_blocks``, on every file system (stat(2))."""
_DEEPEST = 100
"""Levels of folders that are entered; each holds an open directory. Deeper ones count as themselves only."""
_LONGEST_NAME = 60
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Usage:
    """What a home holds."""

    bytes: int
    """Space taken on disk, as ``du`` counts it; hard links count once."""
    measured_at: float
    """Seconds since 1970."""
    biggest: tuple[tuple[str, int], ...] = ()
    """Names and bytes of the biggest files and folders directly in the home, the biggest first."""
    complete: bool = True
    """False: counting was cut off, and it holds at least this much."""


@dataclass
class _Level:
    """A directory on the way: what is left of it to count, then the directories in it to enter."""

    directory: int
    entries: Iterator[os.DirEntry[str]]
    stop: Callable[[], None]
    """Closes ``entries``."""
    inner: list[str] = field(default_factory=list)
    listed: bool = False


class DiskWalk:
    """One walk over the directory ``root/name``; ``step`` until it says that all is counted, then ``close``.

    Never crosses to another file system, never follows a link, forgives what vanishes meanwhile. Blocks.
    Raises OSError if the directory itself cannot be opened.
    """

    def __init__(self, root: str | os.PathLike[str], name: str) -> None:
        with opened(os.fspath(root)) as top:
            home = os.open(name, DIRECTORY, dir_fd=top)
        status = os.fstat(home)
        self._device = status.st_dev
        self._total = status.st_blocks * _BLOCK
        self._sizes: dict[str, int] = {}
        self._linked: set[int] = set()
        self._place: list[str] = []
        self._levels: list[_Level] = []
        self._lock = threading.Lock()
        self._given_up = False
        self.done = False
        """Whether all is counted."""
        self._enter(home)

    def step(self, clock: Callable[[], float], until: float) -> bool:
        """Go on until ``clock()`` has reached ``until``; True when all is counted."""
        with self._lock:
            while self._levels and not self._given_up:
                self._advance(self._levels[-1])
                if clock() >= until:
                    break
            self.done = self.done or not (self._levels or self._given_up)
        if self._given_up:
            self.close()
        return self.done

    def close(self) -> None:
        """Give up; what was counted stays. Never blocks: a step under way in another thread closes then."""
        self._given_up = True
        if self._lock.acquire(blocking=False):
            try:
                while self._levels:
                    self._levels[-1].stop()
                    os.close(self._levels.pop().directory)
            finally:
                self._lock.release()

    def usage(self, measured_at: float) -> Usage:
        """What was counted so far."""
        biggest = sorted(self._sizes.items(), key=lambda item: (-item[1], item[0]))[:BIGGEST]
        names = tuple((_printable(name), size) for name, size in biggest)
        return Usage(self._total, measured_at, names, complete=self.done)

    def _enter(self, directory: int) -> None:
        try:
            entries = os.scandir(directory)
            level = _Level(directory, entries, entries.close)
        except OSError:
            level = _Level(directory, iter(()), lambda: None)
        self._levels.append(level)

    def _advance(self, level: _Level) -> None:
        """Count one entry, enter one directory, or leave one."""
        if not level.listed:
            try:
                entry = next(level.entries, None)
            except OSError:
                entry = None
            if entry is None:
                level.listed = True
            else:
                with suppress(OSError):
                    self._entry(level, entry)
        elif level.inner:
            name = level.inner.pop()
            with suppress(OSError):
                self._enter(os.open(name, DIRECTORY, dir_fd=level.directory))
                self._place.append(name)
        else:
            os.close(self._levels.pop().directory)
            if self._place:
                self._place.pop()

    def _entry(self, level: _Level, entry: os.DirEntry[str]) -> None:
        status = entry.stat(follow_symlinks=False)
        if status.st_dev != self._device or not self._is_first(status):
            return
        top = self._place[0] if self._place else entry.name
        size = status.st_blocks * _BLOCK
        self._sizes[top] = self._sizes.get(top, 0) + size
        self._total += size
        if stat.S_ISDIR(status.st_mode) and len(self._levels) < _DEEPEST:
            level.inner.append(entry.name)

    def _is_first(self, status: os.stat_result) -> bool:
        if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
            return True
        seen = status.st_ino in self._linked
        self._linked.add(status.st_ino)
        return not seen


def _printable(name: str) -> str:
    """A student chooses names: undecodable bytes and control characters go, long ones are cut."""
    text = _UNSEEN.sub("�", os.fsencode(name).decode(errors="replace"))
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
