"""The manager's Swarm certificate as TLS server identity, and what a peer's certificate says about it."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILES = ("swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt")
ROLES = frozenset({"swarm-worker", "swarm-manager"})
"""The OUs Docker issues; a manager, too, may speak for itself only."""


class IdentityError(Exception):
    """A certificate that cannot be used, or does not say who the peer is."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whose certificate it is: Docker writes CN = node id, OU = role, O = cluster id."""

    node_id: str
    role: str
    cluster_id: str


def peer_of(certificate: Mapping[str, Any] | None) -> Peer:
    """The peer a verified certificate names (``SSLSocket.getpeercert()``'s form). Raises IdentityError."""
    subject: dict[str, list[str]] = {}
    for name in (certificate or {}).get("subject", ()):
        for key, value in name:
            subject.setdefault(key, []).append(value)
    wanted = ("commonName", "organizationalUnitName", "organizationName")
    for key in wanted:
        if len(subject.get(key, [])) != 1:
            raise IdentityError(f"the certificate must have exactly one {key}, it has {subject.get(key, [])}")
    return Peer(*(subject[key][0] for key in wanted))


def strip_key_headers(pem: str) -> str:
    """``pem`` without Docker's header lines (``kek-version``, ``raft-dek``), which OpenSSL refuses.

    Raises IdentityError for a key that is encrypted.
    """
    lines = pem.splitlines()
    if any("ENCRYPTED" in line for line in lines):
        raise IdentityError(
            "the manager's key is encrypted, because the swarm is autolocked; "
            "run 'docker swarm update --autolock=false'"
        )
    # Base64 has neither colons nor empty lines.
    return "\n".join(line for line in lines if line.strip() and ":" not in line) + "\n"


def stamp(directory: Path) -> tuple[tuple[int, int], ...]:
    """Changes whenever Docker renews one of the files. Raises IdentityError if one is missing."""
    try:
        stats = [(directory / name).stat() for name in _FILES]
    except OSError as error:
        raise IdentityError(f"the manager's Swarm certificate cannot be read: {error}") from error
    return tuple((s.st_mtime_ns, s.st_ino) for s in stats)


def server_context(directory: Path, scratch: Path) -> ssl.SSLContext:
    """A server context that demands a certificate of this swarm from every client.

    ``directory`` holds Docker's files; ``scratch`` is a directory on tmpfs for the key without its headers,
    which exists (mode 0600) only while OpenSSL reads it. Raises IdentityError.
    """
    certificate, key, authority = (directory / name for name in _FILES)
    # Not create_default_context: from Python 3.13 on it demands extensions (VERIFY_X509_STRICT) that are
    # Docker's choice.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cafile=authority)
        handle, name = tempfile.mkstemp(prefix="swarm-", suffix=".key", dir=scratch)
        try:
            with os.fdopen(handle, "w") as stripped:
                stripped.write(strip_key_headers(key.read_text()))
            context.load_cert_chain(certificate, name)
        finally:
            Path(name).unlink()
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError. During a renewal certificate and key do not match for a moment.
        raise IdentityError(f"the manager's Swarm certificate cannot be used: {error}") from error
    return context
