"""Who a student is inside their server: numbers, a login name, and the two files that tie them. Pure.

A server runs as the home's numeric owner, whom no image has in its ``/etc/passwd``; without an entry there
``whoami``, ``ssh``, ``git`` and many a Python library fail. So both name files are mounted over the image's,
as Swarm configs, which works with any image and needs no start script and no root.

One ``/etc/passwd`` serves all students: Swarm expands a config whose templating is ``golang`` on the worker,
and its ``env`` function reads the task's own environment (swarmkit ``template/context.go``, ``envGetter``;
verified on engine 26.1.5). A variable that is missing there is expanded to nothing. ``/etc/group`` is plain:
it depends on the groups only, of which a hub has few sets, and templates cannot split a list.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from swarmhub.config import HOME

LOGIN = "jovyan"
"""Login name in every server: the one every Jupyter image uses."""
PASSWD_TARGET = "/etc/passwd"
GROUP_TARGET = "/etc/group"

_MAX_FULL_NAME = 80
_MAX_GROUP_NAME = 32
"""Linux tools accept no longer one (shadow's GROUP_NAME_MAX_LENGTH)."""

_SYSTEM_USERS = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
sync:x:4:65534:sync:/bin:/bin/sync
games:x:5:60:games:/usr/games:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
lp:x:7:7:lp:/var/spool/lpd:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
news:x:9:9:news:/var/spool/news:/usr/sbin/nologin
uucp:x:10:10:uucp:/var/spool/uucp:/usr/sbin/nologin
proxy:x:13:13:proxy:/bin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
backup:x:34:34:backup:/var/backups:/usr/sbin/nologin
list:x:38:38:Mailing List Manager:/var/list:/usr/sbin/nologin
irc:x:39:39:ircd:/run/ircd:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
"""Debian's base-passwd 3.6, passwd.master; root's shell is one that every image with a shell has."""

_SYSTEM_GROUPS: Mapping[int, str] = {
    0: "root", 1: "daemon", 2: "bin", 3: "sys", 4: "adm", 5: "tty", 6: "disk", 7: "lp", 8: "mail", 9: "news",
    10: "uucp", 12: "man", 13: "proxy", 15: "kmem", 20: "dialout", 21: "fax", 22: "voice", 24: "cdrom",
    25: "floppy", 26: "tape", 27: "sudo", 29: "audio", 30: "dip", 33: "www-data", 34: "backup",
    37: "operator", 38: "list", 39: "irc", 40: "src", 42: "shadow", 43: "utmp", 44: "video", 45: "sasl",
    46: "plugdev", 50: "staff", 60: "games", 100: "users", 65534: "nogroup",
}  # fmt: skip
"""Debian's base-passwd 3.6, group.master."""


@dataclass(frozen=True)
class HomeMount:
    """The student's home on the node, and whose it is."""

    path: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Further group ids the server's processes are members of: those of the shared folders it sees."""


def identity_env(home: HomeMount, full_name: str) -> dict[str, str]:
    """Variables that ``passwd_file`` is filled from, and that images and shells expect.

    ``NB_*`` are docker-stacks' own: where they agree with the process its start script changes nothing.
    """
    return {
        "HOME": HOME,
        "USER": LOGIN,
        "LOGNAME": LOGIN,
        "NB_USER": LOGIN,
        "NB_UID": str(home.uid),
        "NB_GID": str(home.gid),
        "SWARMHUB_FULL_NAME": gecos(full_name),
    }


def passwd_file() -> str:
    """``/etc/passwd`` as a Swarm config template, filled from ``identity_env``; the same for everybody.

    The shell is the service's ``SHELL``, else one that every image with a shell has; an image's own ``SHELL``
    is no part of the service, and programs prefer it to this file.
    """
    shell = '{{with env "SHELL"}}{{.}}{{else}}/bin/sh{{end}}'
    return (
        f'{_SYSTEM_USERS}{LOGIN}:x:{{{{env "NB_UID"}}}}:{{{{env "NB_GID"}}}}:'
        f'{{{{env "SWARMHUB_FULL_NAME"}}}}:{HOME}:{shell}\n'
    )


def group_file(gid: int, groups: Mapping[int, str]) -> str:
    """``/etc/group``: the system's groups, the primary one (``gid``) and ``groups`` (name by group id).

    Names are made valid and unique; a system group keeps its name. The same input gives the same bytes.
    """
    names = dict(_SYSTEM_GROUPS)
    taken = set(names.values())
    for number, name in sorted({gid: LOGIN, **groups}.items()):
        if number not in names:
            valid = _group_name(name)
            names[number] = valid if valid and valid not in taken else f"group{number}"
            taken.add(names[number])
    return "".join(
        f"{name}:x:{number}:{LOGIN if number in groups else ''}\n" for number, name in sorted(names.items())
    )


def gecos(full_name: str) -> str:
    """``full_name`` as the passwd file's comment: one line without the characters that file and Swarm's
    templates give a meaning to; at most 80 characters."""
    text = unicodedata.normalize("NFC", full_name)
    kept = "".join(
        " " if char in ":,{}\\" or unicodedata.category(char)[0] in "CZ" else char for char in text
    )
    return " ".join(kept.split())[:_MAX_FULL_NAME].rstrip()


def _group_name(name: str) -> str:
    """``name`` as ``[a-z][a-z0-9_-]*``; empty if nothing is left of it."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_]+", "-", plain).strip("-").lstrip("0123456789-_")[:_MAX_GROUP_NAME]
