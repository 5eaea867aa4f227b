"""Shared folders and extra mounts: what a server gets to see of the shared file system besides its home.

A bind mount's source is resolved by Docker, as root, on the worker. Sources are therefore made from declared
templates and slugs only, never from what a user typed, and every directory on the way to one must be root's
alone (``safe_paths.opened_parent``). Whoever may write in a shared folder can put links *into* it; those are
resolved inside a server's own file tree and lead nowhere else.

Everybody who sees a shared folder gets its group; read-only is enforced by the mount, not by the mode.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Protocol

from swarmhub.spawner.homes import HOMES
from swarmhub.spawner.names import home_slug
from swarmhub.spawner.safe_paths import PathError, opened, opened_parent, parts_of

FIELDS = ("course", "user", "server")
"""What may stand in braces in a path."""
DEFAULT_SERVER = "default"
"""``{server}`` of a user's unnamed server; no named one can have it, their slugs end in a hash."""
_VALUE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TAKEN_TREES = ("/etc", "/proc", "/sys", "/dev", "/run")
_SHARED_MODE = 0o2770
"""Set-group-id, so that what anybody makes in it belongs to the folder's group as well."""
_NEW_MODE = 0o700


class FolderError(Exception):
    """A folder or mount that cannot be had, and why."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class FolderRule(Protocol):
    """A shared folder as declared once in ``swarmhub.yaml``."""

    @property
    def path(self) -> str:
        """Template, below the storage root."""

    @property
    def target(self) -> str:
        """Template, absolute, in the server."""

    @property
    def gid(self) -> int:
        """Group that owns the folder."""

    @property
    def write(self) -> Collection[str]:
        """JupyterHub groups that may write."""

    @property
    def read(self) -> Collection[str]:
        """JupyterHub groups that see it besides those; empty: everybody."""


class MountRule(Protocol):
    """One more folder of the storage root in a course's servers."""

    @property
    def source(self) -> str:
        """Template, absolute, below the storage root."""

    @property
    def target(self) -> str:
        """Template, absolute, in the server."""

    @property
    def read_only(self) -> bool:
        """Whether servers may only read."""


class Kind(Enum):
    """Who makes the source of a mount, and whose it is."""

    SHARED = "shared"
    """Made when first needed: mode 02770, root's and the folder's group."""
    PRIVATE = "private"
    """Has ``{user}`` in its path; made when first needed: mode 0700, the student's."""
    EXISTING = "existing"
    """Must be there; never changed."""


@dataclass(frozen=True)
class FolderMount:
    """One bind mount of a server."""

    path: str
    """Source, below the storage root."""
    source: str
    """Source, absolute, the same on every node."""
    target: str
    """Absolute, in the server."""
    read_only: bool
    kind: Kind
    gid: int | None = None
    """Group that the server's processes need besides their own; None: none."""


def path_fields(user: str, server: str = "", course: str = "") -> dict[str, str]:
    """What ``{user}``, ``{server}`` and ``{course}`` stand for: slugs, never what somebody typed.

    ``{course}`` is left out if there is none. ``user`` and ``server`` are raw names; whoever keeps an older
    home slug puts it in place of ``["user"]``.
    """
    fields = {"user": home_slug(user), "server": home_slug(server) if server else DEFAULT_SERVER}
    return fields | ({"course": course} if course else {})


def render_path(template: str, fields: Mapping[str, str]) -> str:
    """``template``, a path below the storage root, with its fields filled in.

    Raises FolderError for an unknown field, a value that is no slug, and whatever ``parts_of`` refuses.
    """
    path = _render(template, fields)
    try:
        parts = parts_of(path)
    except PathError as error:
        raise FolderError(template, error.reason) from error
    if parts[0] == HOMES:
        raise FolderError(template, f"is in {HOMES!r}, where the home directories are; put it elsewhere")
    return path


def folder_mounts(
    folders: Iterable[FolderRule],
    *,
    root: str,
    fields: Mapping[str, str],
    groups: Collection[str],
    home: str,
) -> tuple[FolderMount, ...]:
    """Mounts of the shared folders that a member of the JupyterHub ``groups`` sees, read-write or read-only.

    ``home`` is the path of the home in the server. Raises FolderError.
    """
    mounts = []
    for folder in folders:
        writes = not set(folder.write).isdisjoint(groups)
        if not (writes or not folder.read or not set(folder.read).isdisjoint(groups)):
            continue
        path = render_path(folder.path, fields)
        target = _target(folder.target, fields, home)
        source = str(Path(root) / path)
        mounts.append(FolderMount(path, source, target, not writes, Kind.SHARED, folder.gid))
    return tuple(mounts)


def extra_mounts(
    mounts: Iterable[MountRule], *, root: str, fields: Mapping[str, str], home: str
) -> tuple[FolderMount, ...]:
    """A course's extra mounts. A source must lie below ``root``. Raises FolderError."""
    prefix = root.rstrip("/") + "/"
    result = []
    for mount in mounts:
        if not mount.source.startswith(prefix):
            raise FolderError(mount.source, f"is not below the storage root; write {prefix}…")
        template = mount.source.removeprefix(prefix)
        path = render_path(template, fields)
        kind = Kind.PRIVATE if "user" in _fields(template) else Kind.EXISTING
        target = _target(mount.target, fields, home)
        result.append(FolderMount(path, str(Path(root) / path), target, mount.read_only, kind))
    return tuple(result)


def check_targets(mounts: Sequence[FolderMount]) -> None:
    """Raises FolderError if two mounts have the same target: Docker would refuse the whole server."""
    taken: dict[str, FolderMount] = {}
    for mount in mounts:
        other = taken.setdefault(mount.target, mount)
        if other is not mount:
            raise FolderError(mount.target, f"is where {other.path} and {mount.path} both want to be")


def ensure_folder(root: str | Path, path: str, gid: int) -> None:
    """Make the shared folder ``<root>/<path>``: mode 02770, root's, of the group ``gid``.

    One that exists gets that mode and group, because this is what was declared; what is in it is left alone.
    Blocks. Raises FolderError, also if anybody but root could replace the folder by a link.
    """
    _ensure(root, path, (-1, gid), _SHARED_MODE, change_existing=True)


def ensure_mount(root: str | Path, mount: FolderMount, uid: int, gid: int) -> None:
    """See that the mount's source is there, for a student with the numeric ``uid`` and ``gid``.

    Blocks. Raises FolderError.
    """
    if mount.kind is Kind.SHARED:
        ensure_folder(root, mount.path, gid if mount.gid is None else mount.gid)
    elif mount.kind is Kind.PRIVATE:
        _ensure(root, mount.path, (uid, gid), 0o700, change_existing=False)
    else:
        _ensure(root, mount.path, None, 0, change_existing=False)


def ensure_mountpoint(home_source: str, home: str, target: str, uid: int, gid: int) -> str | None:
    """Make the folder in the home on which ``target`` is mounted, the student's; nothing if it is elsewhere.

    ``home_source`` is the home's path here, ``home`` its path in the server. Without this the container
    runtime makes the folder, as root's, and a file in its place keeps the server from ever starting. Such a
    file, or a link, is renamed; its new name is returned. Blocks. Raises FolderError.
    """
    inside = home.rstrip("/") + "/"
    if not target.startswith(inside):
        return None
    path = target.removeprefix(inside)
    moved = None
    try:
        parts = parts_of(path)
        with opened(home_source) as current:
            for part in parts:
                moved = _make_way(current, part) or moved
                made = _made(part, current)
                with opened(part, current) as inner:
                    if made:
                        os.fchown(inner, uid, gid)
                        os.fchmod(inner, 0o755)
                    os.dup2(inner, current, inheritable=False)
    except PathError as error:
        raise FolderError(target, error.reason) from error
    except OSError as error:
        raise FolderError(Path(home_source, path), error.strerror or str(error)) from error
    return moved


def _make_way(directory: int, name: str) -> str | None:
    """Rename ``name`` if it is no directory; its new name."""
    try:
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            return None
    except FileNotFoundError:
        return None
    aside = f"{name}.moved-{secrets.token_hex(4)}"
    os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
    return aside


def _ensure(
    root: str | Path, path: str, owner: tuple[int, int] | None, mode: int, *, change_existing: bool
) -> None:
    """``owner`` None: it must be there. Without ``change_existing`` only what is new is given its owner."""
    try:
        parts = parts_of(path)
        with opened_parent(Path(root), parts, make=owner is not None) as parent:
            if owner is not None:
                _made(parts[-1], parent)
            with opened(parts[-1], parent) as folder:
                if owner is not None and (change_existing or _is_new(folder)):
                    _declare(folder, owner, mode)
    except PathError as error:
        raise FolderError(error.path, error.reason) from error
    except OSError as error:
        raise FolderError(Path(root) / path, error.strerror or str(error)) from error


def _made(name: str, parent: int) -> bool:
    try:
        os.mkdir(name, _NEW_MODE, dir_fd=parent)
    except FileExistsError:
        return False
    return True


def _is_new(folder: int) -> bool:
    """Made by ``_made`` and not given away yet, perhaps by a hub that was killed in between."""
    status = os.fstat(folder)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == _NEW_MODE


def _declare(folder: int, owner: tuple[int, int], mode: int) -> None:
    status = os.fstat(folder)
    uid, gid = owner
    if status.st_gid != gid or uid not in {-1, status.st_uid}:
        os.fchown(folder, uid, gid)
    if stat.S_IMODE(os.fstat(folder).st_mode) != mode:
        os.fchmod(folder, mode)


def _fields(template: str) -> set[str]:
    """Names in the template's braces. Raises FolderError for anything else in them."""
    allowed = ", ".join(f"{{{name}}}" for name in FIELDS)
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise FolderError(template, f"has braces that do not match; allowed are {allowed}") from error
    names = set()
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS or form or conversion:
            raise FolderError(template, f"has an unknown field {{{name}}}; allowed are {allowed}")
        names.add(name)
    return names


def _render(template: str, fields: Mapping[str, str]) -> str:
    for name in _fields(template):
        value = fields.get(name)
        if value is None:
            raise FolderError(template, f"needs {{{name}}}, which this server has not")
        if not _VALUE.fullmatch(value):
            raise FolderError(template, f"got {value!r} for {{{name}}}, which is no slug")
    return template.format_map(fields)


def _target(template: str, fields: Mapping[str, str], home: str) -> str:
    target = _render(template, fields).rstrip("/")
    if target and not target.startswith("/"):
        raise FolderError(template, "is not an absolute path in the server, for example /mnt/data")
    if target:
        try:
            parts_of(target.removeprefix("/"))
        except PathError as error:
            raise FolderError(template, error.reason) from error
    path = PurePosixPath(target or "/")
    if PurePosixPath(home).is_relative_to(path) or any(path.is_relative_to(tree) for tree in _TAKEN_TREES):
        taken = ", ".join(("/", *_TAKEN_TREES, home))
        raise FolderError(template, f"is taken by the server itself (as are {taken}); choose another target")
    return target
