"""Home directories on the shared file system: made, with their owner, before the service that mounts them.

A bind mount whose source is missing makes every task ``rejected``, and one that Docker makes belongs to root.
Nothing here follows a symbolic link: all steps go through open directories. Everything blocks (the file
system is remote); run it in a thread.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from swarmhub.spawner.safe_paths import PathError, opened
from swarmhub.spawner.skeleton import copy_skeleton

HOMES = "homes"
_LEDGER = ".uids"
"""File in the homes' directory: the lock, and in it the highest user id ever given out, as decimal digits."""
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_UNFINISHED = ".new"
"""Directory in the homes' directory where new homes are made before they get their name."""
_ABANDONED = 3600.0
"""Age in seconds of an unfinished home whose maker must be dead; a skeleton is copied in far less."""
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


def ensure_home(
    root: str | Path, slug: str, first_uid: int, gid: int, *, skeleton: str = "", lock_timeout: float = 10.0
) -> Home:
    """The home ``<root>/homes/<slug>``, made 0700 with a user id of its own if it is not there yet.

    A home that exists keeps its owner and is not changed. A new one gets the next user id after the highest
    given out so far (at least ``first_uid``); two hubs on one file system never give out the same one, thanks
    to a lock that is waited for at most ``lock_timeout`` seconds. It starts with a copy of the folder
    ``skeleton`` (below ``root``; see ``copy_skeleton``; empty or missing: nothing) and can be seen under its
    name only when all of that is done. Raises HomeError.
    """
    homes = Path(root) / HOMES
    path = homes / slug
    if not _SLUG.fullmatch(slug):
        raise HomeError(path, "is not the name of a home: only a-z, 0-9 and dashes, at most 63")
    try:
        with opened(root) as root_directory, _open_homes(root_directory) as directory:
            uid = _owner(directory, slug)
            if uid is None:
                locked = partial(_lock, directory, homes / _LEDGER, lock_timeout)
                with locked() as ledger:
                    new_uid = _next_uid(directory, ledger, first_uid)
                fill = partial(copy_skeleton, root_directory, skeleton) if skeleton else None
                uid = _create(directory, slug, uid=new_uid, gid=gid, locked=locked, fill=fill)
    except OSError as error:
        raise HomeError(path, error.strerror or str(error)) from error
    except PathError as error:
        raise HomeError(path, f"cannot be made from the skeleton: {error}") from error
    if uid == 0:
        raise HomeError(path, f"belongs to root; give it an owner of its own, from {first_uid} up")
    return Home(str(path), uid, gid)


@contextmanager
def _open_homes(root: int) -> Iterator[int]:
    """The open directory ``homes`` below the open root, made if missing; nobody but root may list it."""
    with suppress(FileExistsError):
        os.mkdir(HOMES, 0o711, dir_fd=root)
    with opened(HOMES, root) as homes:
        yield homes


def _owner(homes: int, slug: str) -> int | None:
    """User id of the home's owner, None if there is no such home. OSError if it is no plain directory."""
    try:
        with opened(slug, homes) as home:
            return os.fstat(home).st_uid
    except FileNotFoundError:
        return None


def _create(
    homes: int,
    slug: str,
    *,
    uid: int,
    gid: int,
    locked: Callable[[], AbstractContextManager[int]],
    fill: Callable[[int, int, int], None] | None,
) -> int:
    """Make the home and return its owner: ``uid``, or another one if somebody else was faster."""
    # Filled without the lock: a big skeleton for one student must not keep a whole class waiting.
    with _unfinished(homes) as (new, name):
        with opened(name, new) as home:
            if fill:
                fill(home, uid, gid)
            os.fchown(home, uid, gid)
            os.fchmod(home, 0o700)
        with locked():
            existing = _owner(homes, slug)
            if existing is not None:
                return existing
            os.rename(name, slug, src_dir_fd=new, dst_dir_fd=homes)
            return uid


@contextmanager
def _unfinished(homes: int) -> Iterator[tuple[int, str]]:
    """A new empty directory: the open directory it is in, and its name. Removed at the end if still there.

    Its name is its maker's alone, so that two who make the same home do not meet in it. What a maker that was
    killed left behind goes at the next new home; ages are told by the file server's clock alone.
    """
    with suppress(FileExistsError):
        os.mkdir(_UNFINISHED, 0o700, dir_fd=homes)
    with opened(_UNFINISHED, homes) as new:
        name = secrets.token_hex(8)
        os.mkdir(name, 0o700, dir_fd=new)
        try:
            _sweep(new, os.stat(name, dir_fd=new, follow_symlinks=False).st_mtime)
            yield new, name
        finally:
            with suppress(FileNotFoundError):
                shutil.rmtree(name, dir_fd=new)


def _sweep(unfinished: int, now: float) -> None:
    with os.scandir(unfinished) as entries:
        for entry in entries:
            # Not being able to tidy up is no reason to refuse a student a home.
            with suppress(OSError):
                if now - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED:
                    shutil.rmtree(entry.name, dir_fd=unfinished)


def _next_uid(homes: int, ledger: int, first_uid: int) -> int:
    """A user id that was never given out, written down. The caller holds the lock."""
    uid = max(first_uid - 1, _highest(homes, ledger)) + 1
    os.pwrite(ledger, b"%010d\n" % uid, 0)
    os.fsync(ledger)
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
