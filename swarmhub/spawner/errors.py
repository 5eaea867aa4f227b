"""Why a server did not start: one class a cause, with a sentence for the student.

The short ``reason`` becomes a label of JupyterHub's spawn metric (JupyterHub 6) and of ours.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from typing import Any

from tornado import web

try:
    from jupyterhub.spawner import SpawnException
except ImportError:

    class SpawnException(web.HTTPError):  # type: ignore[no-redef]  # JupyterHub 5 has none
        """JupyterHub 6's exception, as far as JupyterHub 5 can use one."""

        log_message = ""  # tornado's is a property that cannot be set

        def __init__(
            self, message: str, *, reason: str, log_message: str = "", status_code: int = 400, **_: Any
        ) -> None:
            super().__init__(status_code, reason=reason)
            self.message = message
            self.log_message = log_message or message

        def get_message(self) -> str:
            return self.log_message

        def __str__(self) -> str:
            return f"{self.status_code} {type(self).__name__}(reason={self.reason}): {self.log_message}"


class StartFailure(SpawnException):  # type: ignore[misc]  # JupyterHub is not typed
    """A server that did not start.

    ``sentence`` is for the student; ``detail`` is Docker's, Swarm's or the file system's own words, shown
    behind it and logged; ``detail_log`` the last lines the server wrote.
    """

    reason = "start"
    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, sentence: str, detail: str = "", *, exit_code: int | None = None) -> None:
        self.sentence = sentence
        self.detail = detail
        self.detail_log = ""
        self.exit_code = exit_code
        """The container's, None if no container ended."""
        super().__init__(self.jupyterhub_message, reason=type(self).reason, status_code=int(self.status))

    @property
    def jupyterhub_message(self) -> str:
        """JupyterHub shows this attribute of any exception where it shows text."""
        return f"{self.sentence} ({self.detail})" if self.detail else self.sentence

    @property
    def jupyterhub_html_message(self) -> str:
        """JupyterHub shows this attribute of any exception on its pages."""
        more = "\n\n".join(filter(None, (self.detail, self.detail_log)))
        if not more:
            return escape(self.sentence)
        return (
            f"{escape(self.sentence)}<details><summary>Details</summary><pre>{escape(more)}</pre></details>"
        )

    @property
    def kind(self) -> str:
        """The class's ``reason``: JupyterHub 5 overwrites that of the instance."""
        return type(self).reason

    @property
    def wants_log(self) -> bool:
        """Whether what the server wrote last may say more."""
        return False

    def add_log(self, tail: str) -> None:
        """Show these last lines of the server's log, too (see ``outcome.log_tail``)."""
        self.detail_log = tail
        if tail:
            self.log_message = f"{self.jupyterhub_message}\nLast lines of the server:\n{tail}"


class CapacityFailure(StartFailure):
    """No machine had room in time."""

    reason = "capacity"
    status = HTTPStatus.SERVICE_UNAVAILABLE


class ImageFailure(StartFailure):
    """The course's image cannot be had."""

    reason = "image"


class MountFailure(StartFailure):
    """The home directory, or another folder, cannot be had."""

    reason = "mount"


class NetworkFailure(StartFailure):
    """The network is missing or has no free address."""

    reason = "network"


class QuotaFailure(StartFailure):
    """The home holds more than it may."""

    reason = "quota"
    status = HTTPStatus.FORBIDDEN


class ConfigFailure(StartFailure):
    """What was asked for does not exist or is not allowed."""

    reason = "config"
    status = HTTPStatus.BAD_REQUEST


class RejectedFailure(StartFailure):
    """Every machine tried refused the server."""

    reason = "rejected"


class CrashedFailure(StartFailure):
    """The server started and ended."""

    reason = "crashed"

    @property
    def wants_log(self) -> bool:
        """It ran, so it may have written why it ended."""
        return True


class MemoryFailure(StartFailure):
    """The server needed more memory than it may use."""

    reason = "memory"

    @property
    def wants_log(self) -> bool:
        """It ran, so it may have written what it was doing."""
        return True


class EngineFailure(StartFailure):
    """Docker did not answer, or refused for a reason of its own."""

    reason = "engine"
    status = HTTPStatus.SERVICE_UNAVAILABLE
