"""The node's Swarm certificate as a TLS client identity towards the controller."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from . import log
from .errors import AgentError

SERVER_NAME = "swarm-manager"
"""The DNS name in every manager's certificate (its OU); a worker's carries ``swarm-worker``."""

_FILES = ("swarm-node.crt", "swarm-node.key", "swarm-root-ca.crt")


class CertificateUnavailableError(AgentError):
    """The node has no usable certificate (yet)."""


def strip_key_headers(pem: str) -> str:
    """Return ``pem`` without the header lines that Docker writes into it.

    Docker keeps ``kek-version`` there (RFC 1421 headers), which OpenSSL takes for the header of an encrypted
    key and refuses. Raises CertificateUnavailableError for a key that really is encrypted: only an autolocked
    manager has one.
    """
    lines = pem.splitlines()
    if any("ENCRYPTED" in line for line in lines):
        raise CertificateUnavailableError("the node's key is encrypted: this engine is an autolocked manager")
    # Base64 has neither colons nor empty lines.
    return "\n".join(line for line in lines if line.strip() and ":" not in line) + "\n"


class NodeTls:
    """Builds the TLS context from Docker's files and builds it again when Docker renewed them.

    A context, once built, stays usable in memory after ``swarm leave`` has deleted the files.
    """

    def __init__(self, certificates_dir: Path, runtime_dir: Path) -> None:
        self._files = tuple(certificates_dir / name for name in _FILES)
        self._runtime_dir = runtime_dir
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for the files as they are now, or the last good one if they cannot be used.

        Raises CertificateUnavailableError when there was never one.
        """
        try:
            stamp = tuple((file.stat().st_mtime_ns, file.stat().st_ino) for file in self._files)
            if self._context is None or stamp != self._stamp:
                self._context = self._build()
                self._stamp = stamp
        except (OSError, ssl.SSLError, ValueError, CertificateUnavailableError) as error:
            # During a renewal certificate and key do not match for a moment; the next report tries again.
            if self._context is None:
                raise CertificateUnavailableError(
                    f"the node's certificate cannot be used: {error}"
                ) from error
            if not isinstance(error, FileNotFoundError):
                log.warning("the node's renewed certificate cannot be used yet", reason=str(error))
        return self._context

    def _build(self) -> ssl.SSLContext:
        certificate, key, authority = self._files
        # Not create_default_context: from Python 3.13 on it demands extensions (VERIFY_X509_STRICT) that are
        # Docker's choice, not ours. This class verifies chain and host name by default.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cafile=authority)
        # load_cert_chain reads files only; mkstemp makes one with mode 0600, in a directory on tmpfs.
        handle, name = tempfile.mkstemp(prefix="node-", suffix=".key", dir=self._runtime_dir)
        try:
            with os.fdopen(handle, "w") as stripped:
                stripped.write(strip_key_headers(key.read_text()))
            context.load_cert_chain(certificate, name)
        finally:
            Path(name).unlink()
        return context
