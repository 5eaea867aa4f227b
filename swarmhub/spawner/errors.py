"""Why a server did not start: one class a cause, with a sentence for the student.

The short ``reason`` becomes a label of JupyterHub's spawn metric (JupyterHub 6).
"""

from __future__ import annotations

from typing import Any

from tornado import web

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5

    class SpawnException(web.HTTPError):  # type: ignore[no-redef]
        """JupyterHub 6's exception, as far as JupyterHub 5 can use one."""

        def __init__(
            self, message: str, *, reason: str, log_message: str = "", status_code: int = 400, **_: Any
        ) -> None:
            super().__init__(status_code, log_message or message, reason=reason)


class StartFailure(SpawnException):  # type: ignore[misc]
    """A server that did not start.

    ``message`` is for the student; ``detail`` is Docker's, Swarm's or the file system's own words, shown
    behind it and logged.
    """

    reason = "start"
    status = 500

    def __init__(self, message: str, detail: str = "") -> None:
        text = f"{message} ({detail})" if detail else message
        super().__init__(text, reason=type(self).reason, status_code=self.status)
        self.jupyterhub_message = text
        """JupyterHub shows this attribute of any exception on the progress page."""


class CapacityFailure(StartFailure):
    """No machine had room in time."""

    reason = "capacity"
    status = 503


class ImageFailure(StartFailure):
    """The course's image cannot be had."""

    reason = "image"


class MountFailure(StartFailure):
    """The home directory cannot be had."""

    reason = "mount"


class NetworkFailure(StartFailure):
    """The network is missing or has no free address."""

    reason = "network"


class ConfigFailure(StartFailure):
    """What was asked for does not exist or is not allowed."""

    reason = "config"
    status = 400


class RejectedFailure(StartFailure):
    """Every machine tried refused the server."""

    reason = "rejected"


class CrashedFailure(StartFailure):
    """The server started and ended."""

    reason = "crashed"


class EngineFailure(StartFailure):
    """Docker did not answer, or refused for a reason of its own."""

    reason = "engine"
    status = 503
