"""Copying the files every new home starts with, without following a link on either side."""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
from dataclasses import dataclass

from swarmhub.spawner.safe_paths import PathError, open_below, opened, parts_of

_PERMISSIONS = 0o777
"""Mode bits that are copied: never setuid, setgid or sticky."""
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 50
"""Levels of folders; each holds two open directories."""


def copy_skeleton(root: int, skeleton: str, home: int, uid: int, gid: int) -> None:
    """Copy what is in ``skeleton``, a path below the open directory ``root``, into the open ``home``.

    Nothing is copied if there is no such folder. Files, folders and links that stay inside the skeleton are
    copied with their permissions and then belong to ``uid:gid``. Raises PathError for anything else in it (a
    device, a socket, a link that leads out): one start that fails loudly is better than a class whose homes
    lack a file. Raises OSError.
    """
    try:
        source = open_below(root, parts_of(skeleton))
    except FileNotFoundError:
        return
    try:
        _Copy(skeleton, uid, gid).folder(source, home, ())
    finally:
        os.close(source)


@dataclass(frozen=True)
class _Copy:
    skeleton: str
    uid: int
    gid: int

    def folder(self, source: int, target: int, place: tuple[str, ...]) -> None:
        """Copy what is in the open directory ``source``; ``place``: where that is in the skeleton."""
        if len(place) > _DEEPEST:
            raise self._refusal(place, f"is nested deeper than {_DEEPEST} folders")
        with os.scandir(source) as entries:
            names = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        for name, status in names:
            path = (*place, name)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(name, 0o700, dir_fd=target)
                with opened(name, source) as inner_source, opened(name, target) as inner_target:
                    self.folder(inner_source, inner_target, path)
                    self._give(inner_target, status.st_mode)
            elif stat.S_ISREG(status.st_mode):
                self._file(name, source, target, path)
            elif stat.S_ISLNK(status.st_mode):
                self._link(name, source, target, path)
            else:
                raise self._refusal(path, "is neither a file nor a folder")

    def _file(self, name: str, source: int, target: int, path: tuple[str, ...]) -> None:
        with open(os.open(name, _READ, dir_fd=source), "rb") as old:  # noqa: PTH123 (pathlib has no dir_fd)
            status = os.fstat(old.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise self._refusal(path, "is no longer a file")
            with open(os.open(name, _WRITE, 0o600, dir_fd=target), "wb") as new:  # noqa: PTH123 (as above)
                shutil.copyfileobj(old, new)
                new.flush()
                self._give(new.fileno(), status.st_mode)

    def _link(self, name: str, source: int, target: int, path: tuple[str, ...]) -> None:
        to = os.readlink(name, dir_fd=source)
        end = posixpath.normpath(posixpath.join(*path[:-1], to))
        if to.startswith("/") or end.split("/")[0] == "..":
            raise self._refusal(path, f"is a link that leads out of the skeleton, to {to}")
        os.symlink(to, name, dir_fd=target)
        os.chown(name, self.uid, self.gid, dir_fd=target, follow_symlinks=False)

    def _give(self, opened_file: int, mode: int) -> None:
        os.fchown(opened_file, self.uid, self.gid)
        os.fchmod(opened_file, mode & _PERMISSIONS)

    def _refusal(self, place: tuple[str, ...], reason: str) -> PathError:
        path = "/".join((self.skeleton, *place))
        return PathError(path, f"{reason}; a skeleton holds files, folders and links that stay inside it")
