"""Waiting for what happens in other threads and tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 5.0) -> None:
    """Return once ``condition()`` is true; TimeoutError after ``within`` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # the swarm in memory lives in threads: nothing to await
            await asyncio.sleep(0.001)
