"""Client of the controller's agent API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from pydantic import ValidationError

from . import addresses
from .certificate import SERVER_NAME, NodeTls
from .errors import AgentError
from .protocol import Reply, Report

TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
"""A manager that is gone does not answer at all; the next one must have its turn soon."""

_OK, _BAD_REQUEST, _GONE, _SERVER_ERROR = 200, 400, 410, 500


class ControllerError(AgentError):
    """The controller did not take the report."""


class ControllerUnavailableError(ControllerError):
    """No manager gave a usable answer; the text says what each of them did."""


class ControllerRefusedError(ControllerError):
    """The controller answered that it will not take this report (HTTP 4xx)."""


class NodeUnknownError(ControllerError):
    """The controller answered that this node is not in the swarm (HTTP 410)."""


@dataclass(frozen=True)
class Answer:
    """The controller's reply and what came with it."""

    reply: Reply
    manager: str
    clock_skew_s: float | None
    """This instance's clock minus the controller's, in seconds (good to 1 s); None without a Date header."""


class ControllerClient:
    """Posts reports, to the manager that answered last first."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        tls: NodeTls,
        *,
        port: int,
        now: Callable[[], datetime],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._session = session
        self._tls = tls
        self._port = port
        self._now = now
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._last = ""

    async def report(self, managers: Sequence[str], node_id: str, report: Report) -> Answer:
        """Post ``report`` for ``node_id`` to the first of ``managers`` (addresses) that takes it.

        Raises CertificateUnavailableError, NodeUnknownError, ControllerRefusedError or
        ControllerUnavailableError.
        """
        context = self._tls.context()
        failures = []
        for manager in sorted(managers, key=lambda manager: manager != self._last):
            url = f"https://{addresses.join(manager, self._port)}/v1/nodes/{node_id}/report"
            try:
                async with self._session.post(
                    url,
                    data=report.model_dump_json(),
                    headers={"Content-Type": "application/json"},
                    ssl=context,
                    server_hostname=SERVER_NAME,
                    timeout=self._timeout,
                    allow_redirects=False,
                ) as response:
                    body, status, date = (
                        await response.read(),
                        response.status,
                        response.headers.get("Date", ""),
                    )
            except TimeoutError:
                failures.append(f"{manager} did not answer in time")
                continue
            except (aiohttp.ClientError, OSError) as error:
                failures.append(f"{manager}: {error}")
                continue
            if status == _GONE:
                raise NodeUnknownError(f"the controller on {manager} does not know node {node_id}")
            if _BAD_REQUEST <= status < _SERVER_ERROR:
                reason = body.decode(errors="replace").strip()
                raise ControllerRefusedError(
                    f"the controller on {manager} refused the report ({status}): {reason}"
                )
            if status != _OK:
                failures.append(f"{manager} answered {status}")
                continue
            try:
                reply = Reply.model_validate_json(body)
            except ValidationError as error:
                failures.append(f"{manager} answered with something that is no reply: {error}")
                continue
            self._last = manager
            return Answer(reply=reply, manager=manager, clock_skew_s=self._skew(date))
        raise ControllerUnavailableError("; ".join(failures) or "no manager is known")

    def _skew(self, date: str) -> float | None:
        try:
            theirs = parsedate_to_datetime(date)
        except ValueError:
            return None
        if theirs.tzinfo is None:
            theirs = theirs.replace(tzinfo=UTC)
        return (self._now() - theirs).total_seconds()
