"""The poll loop that all monitors share."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Never

from .. import log
from ..errors import AgentError
from ..metadata import Metadata, MetadataUnavailableError
from ..protocol import Notice, NoticeKind

JITTER = 0.1
"""Share of the interval by which each wait differs, so that instances of one lab do not ask in step."""
MAX_LOGGED_VALUE = 200
MAX_REMEMBERED_VALUES = 32


class UnknownValueError(AgentError):
    """The item holds a value that no documentation names; it is logged once and means nothing."""


@dataclass(frozen=True)
class Monitor:
    """Where a notice is published and how its text is read."""

    kind: NoticeKind
    path: str
    parse: Callable[[str, datetime], Notice | None]
    """Of the item's text and the time it was seen; raises UnknownValueError."""


class Watcher:
    """Polls one monitor and posts what it sees; doubt (no answer, unknown value) is never a notice."""

    def __init__(
        self,
        monitor: Monitor,
        metadata: Metadata,
        post: Callable[[Notice], None],
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._monitor = monitor
        self._metadata = metadata
        self._post = post
        self._now = now
        self._unknown: set[str] = set()
        self._answers = True

    async def poll(self) -> None:
        """Ask once; never raises for a service that does not answer."""
        kind = self._monitor.kind.value
        try:
            text = await self._metadata.get(self._monitor.path)
        except MetadataUnavailableError as error:
            if self._answers:
                log.warning("notices cannot be read", notice=kind, reason=str(error))
            self._answers = False
            return
        if not self._answers:
            log.info("notices can be read again", notice=kind)
            self._answers = True
        if text is None:
            return
        try:
            notice = self._monitor.parse(text, self._now())
        except UnknownValueError:
            if text not in self._unknown and len(self._unknown) < MAX_REMEMBERED_VALUES:
                self._unknown.add(text)
                log.warning("an unknown value was ignored", notice=kind, value=text[:MAX_LOGGED_VALUE])
            return
        if notice is not None:
            self._post(notice)

    async def run(
        self,
        interval_s: float,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> Never:
        """Poll for ever, ``interval_s`` apart give or take the jitter."""
        while True:
            await self.poll()
            await sleep(interval_s * spread(1 - JITTER, 1 + JITTER))
