"""Steps through the shared file system that no symbolic link can lead astray.

Every step opens one name below a directory that is open already and refuses links, so it does not matter what
a student renames meanwhile. Everything blocks (the file system is remote); run it in a thread.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a directory and never a link to one."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LONGEST_NAME = 255
"""Bytes in one name; Linux's NAME_MAX, NFS's too."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f]")


class PathError(ValueError):
    """A path, or a directory on its way, that cannot be used, and why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def parts_of(path: str) -> tuple[str, ...]:
    """The names in a path below the root: ``courses/intro`` is ``("courses", "intro")``.

    Raises PathError if the path is absolute, empty, or has a name in it that is empty, ``.`` or ``..``, has
    control characters or is too long.
    """
    if path.startswith("/"):
        raise PathError(path, "is absolute; write it from the storage root on, for example courses/data")
    parts = tuple(path.split("/"))
    for part in parts:
        if part in {"", ".", ".."}:
            raise PathError(
                path, "has an empty name, '.' or '..' in it; write plain names with one / between"
            )
        if _UNSEEN.search(part) or len(os.fsencode(part)) > _LONGEST_NAME:
            raise PathError(
                path, f"has a control character or a name longer than {_LONGEST_NAME} bytes in it"
            )
    return parts


@contextmanager
def opened(name: str | Path, below: int | None = None) -> Iterator[int]:
    """The open directory with that name below an open one, or with that path. OSError if it is a link."""
    directory = os.open(name, DIRECTORY, dir_fd=below)
    try:
        yield directory
    finally:
        os.close(directory)


def open_below(directory: int, parts: tuple[str, ...]) -> int:
    """Open the directory ``parts`` below an open one; the caller closes it. OSError if it is a link."""
    current = os.dup(directory)
    for part in parts:
        try:
            inner = os.open(part, DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current


@contextmanager
def opened_parent(root: Path, parts: tuple[str, ...], *, make: bool) -> Iterator[int]:
    """The open directory that holds the last of ``parts``, reached from ``root`` without following a link.

    Every directory on the way, the root included, must belong to root (or to this process' user) and must not
    be writable by anybody else. Docker resolves a mount's source again, as root, on the worker, and follows
    links: whoever may rename things in one of these directories could put a link to ``/`` in the source's
    place after we looked. ``make``: make those that are missing, 0711. Raises PathError, OSError.
    """
    current = os.open(root, DIRECTORY)
    try:
        path = root
        _refuse_if_others_may_write(current, path)
        for part in parts[:-1]:
            path = path / part
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o711, dir_fd=current)
            inner = os.open(part, DIRECTORY, dir_fd=current)
            os.close(current)
            current = inner
            _refuse_if_others_may_write(current, path)
        yield current
    finally:
        os.close(current)


def _refuse_if_others_may_write(directory: int, path: Path) -> None:
    status = os.fstat(directory)
    if status.st_uid not in {0, os.geteuid()}:
        raise PathError(
            path,
            f"belongs to user {status.st_uid}, who could replace a folder in it by a link while a server "
            "starts; give it to root",
        )
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise PathError(
            path,
            f"may be written by others than root (mode {stat.S_IMODE(status.st_mode):04o}), who could put "
            "a link in a folder's place while a server starts; make it 0711, or put the folder elsewhere",
        )
