"""Names of services and home directories: always valid, never shared by two owners.

A name is a readable part, which may be the same for two owners, and a hash over everything that tells owners
apart, which is not. Names are a function of their owner only, so a restarted hub finds its services again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata

MAX_NAME = 63
"""Longest service name Swarm accepts, and longest DNS label (moby#36487)."""
_HASH = 16
"""Characters of the hash: 16 of base 32 are 80 bits."""
_HUB = 20


def service_name(hub: str, user: str, server: str = "") -> str:
    """Name of a server's service: at most 63 of ``[a-z0-9-]``, starting with a letter.

    ``server`` is empty for the user's default server. No two (hub, user, server) share a name.
    """
    prefix = _slug(hub)[:_HUB].strip("-")
    if not prefix[:1].isalpha():
        prefix = f"h{prefix}"[:_HUB].strip("-")
    return _join(prefix, f"{user} {server}" if server else user, "service", hub, user, server)


def home_slug(user: str) -> str:
    """Directory name of a user's home: at most 63 of ``[a-z0-9-]``, starting with a letter or digit."""
    return _join("", user, "home", user)


def _join(prefix: str, readable: str, *owner: str) -> str:
    # JSON keeps ("a", "bc") and ("ab", "c") apart; surrogates are legal in Python, but not in UTF-8.
    identity = json.dumps(owner, ensure_ascii=True).encode()
    digest = base64.b32encode(hashlib.sha256(identity).digest()).decode().lower()[:_HASH]
    room = MAX_NAME - len(prefix) - len(digest) - 2
    slug = _slug(readable)[:room].strip("-")
    return "-".join(part for part in (prefix, slug, digest) if part)


def _slug(text: str) -> str:
    """``text`` in ``[a-z0-9-]``: accents dropped, everything else a dash; may be empty."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
