"""Home directories on the shared file system: made, with their owner, before the service that mounts them.

A bind mount whose source is missing makes every task ``rejected``, and one that Docker makes belongs to root.
Nothing here follows a symbolic link: all steps go through open directories. Everything blocks (the file
system is remote); run it in a thread.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

HOMES = "homes"
_LEDGER = ".uids"
"""File in the homes' directory: the lock, and in it the highest user id ever given out, as decimal digits."""
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_RETRY = 0.05


@dataclass(frozen=True)
class Home:
    """A student's home directory; ``path`` is the same on every node."""

    path: str
    uid: int
    gid: int


class HomeError(Exception):
    """A home that cannot be used, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


def ensure_home(root: str | Path, slug: str, first_uid: int, gid: int, *, lock_timeout: float = 10.0) -> Home:
    """The home ``<root>/homes/<slug>``, made 0700 with a user id of its own if it is not there yet.

    A home that exists keeps its owner. A new one gets the next user id after the highest given out so far (at
    least ``first_uid``); two hubs on one file system never give out the same one, thanks to a lock that is
    waited for at most ``lock_timeout`` seconds. Raises HomeError.
    """
    homes = Path(root) / HOMES
    path = homes / slug
    if not _SLUG.fullmatch(slug):
        raise HomeError(path, "is not the name of a home: only a-z, 0-9 and dashes, at most 63")
    try:
        with _open_homes(Path(root)) as directory:
            uid = _owner(directory, slug)
            if uid is None:
                with _lock(directory, homes / _LEDGER, lock_timeout) as ledger:
                    uid = _create(directory, ledger, slug, first_uid, gid)
    except OSError as error:
        raise HomeError(path, error.strerror or str(error)) from error
    if uid == 0:
        raise HomeError(path, f"belongs to root; give it an owner of its own, from {first_uid} up")
    return Home(str(path), uid, gid)


@contextmanager
def _open_homes(root: Path) -> Iterator[int]:
    """The open directory ``<root>/homes``, made if missing; nobody but root may list it."""
    parent = os.open(root, _DIRECTORY)
    try:
        with suppress(FileExistsError):
            os.mkdir(HOMES, 0o711, dir_fd=parent)
        homes = os.open(HOMES, _DIRECTORY, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        yield homes
    finally:
        os.close(homes)


def _owner(homes: int, slug: str) -> int | None:
    """User id of the home's owner, None if there is no such home. OSError if it is no plain directory."""
    try:
        home = os.open(slug, _DIRECTORY, dir_fd=homes)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(home).st_uid
    finally:
        os.close(home)


def _create(homes: int, ledger: int, slug: str, first_uid: int, gid: int) -> int:
    """Make the home and return its new owner. The caller holds the lock."""
    existing = _owner(homes, slug)
    if existing is not None:
        return existing
    uid = max(first_uid - 1, _highest(homes, ledger)) + 1
    os.pwrite(ledger, b"%010d\n" % uid, 0)
    os.fsync(ledger)
    # Made under another name and renamed: a home that can be seen always has its owner.
    unfinished = f".new-{slug}"
    with suppress(FileExistsError):
        os.mkdir(unfinished, 0o700, dir_fd=homes)
    home = os.open(unfinished, _DIRECTORY, dir_fd=homes)
    try:
        os.fchown(home, uid, gid)
        os.fchmod(home, 0o700)
    finally:
        os.close(home)
    os.rename(unfinished, slug, src_dir_fd=homes, dst_dir_fd=homes)
    return uid


@contextmanager
def _lock(homes: int, path: Path, timeout: float) -> Iterator[int]:
    """Hold the ledger's lock. Raises HomeError after ``timeout`` seconds."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    ledger = os.open(_LEDGER, flags, 0o600, dir_fd=homes)
    try:
        attempts = Retrying(
            retry=retry_if_exception_type(BlockingIOError),
            stop=stop_after_delay(timeout),
            wait=wait_fixed(_LOCK_RETRY),
            reraise=True,
        )
        try:
            attempts(fcntl.flock, ledger, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeError(path, f"another process held the lock for {timeout:g} s") from error
        yield ledger
    finally:
        os.close(ledger)


def _highest(homes: int, ledger: int) -> int:
    """Highest user id given out: from the ledger, or from the homes' owners if it says nothing readable.

    The owners alone would do, but looking at 500 homes over the network for each new one would not.
    """
    digits = os.pread(ledger, 32, 0).strip()
    if digits.isdigit():
        return int(digits)
    owners = [0]
    with os.scandir(homes) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                owners.append(status.st_uid)
    return max(owners)
