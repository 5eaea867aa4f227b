"""What is known about this instance's end: one notice per kind, the first sight of it kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .protocol import Notice, NoticeKind


def merge(known: Notice | None, new: Notice) -> Notice:
    """Return ``new`` with the first ``seen_at``; a known deadline gives way only to another one."""
    if known is None:
        return new
    return new.model_copy(update={"seen_at": known.seen_at, "deadline": new.deadline or known.deadline})


class NoticeBoard:
    """Collects notices from all monitors and calls ``on_change`` for each new or changed one.

    A notice stays: AWS does not take an end back, it at most fails to carry it out in time.
    """

    def __init__(self, on_change: Callable[[Notice], None]) -> None:
        self._on_change = on_change
        self._notices: dict[NoticeKind, Notice] = {}
        self._posted = {kind: asyncio.Event() for kind in NoticeKind}

    @property
    def current(self) -> tuple[Notice, ...]:
        """All notices, in the order in which they were first seen."""
        return tuple(sorted(self._notices.values(), key=lambda notice: notice.seen_at))

    @property
    def going(self) -> bool:
        """True when the instance is known to go."""
        return bool(self._notices)

    def post(self, notice: Notice) -> None:
        """Take in what a monitor saw; repetitions are dropped."""
        known = self._notices.get(notice.kind)
        merged = merge(known, notice)
        if merged != known:
            self._notices[notice.kind] = merged
            self._posted[notice.kind].set()
            self._on_change(merged)

    async def wait_for(self, kind: NoticeKind) -> None:
        """Return as soon as there is a notice of ``kind``."""
        await self._posted[kind].wait()
