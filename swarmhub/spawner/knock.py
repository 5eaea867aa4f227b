"""Whether a server takes connections yet: cheaper and sooner than a health check of the engine's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

FIRST_PAUSE = 0.1
"""Seconds between two tries at first."""
LONGEST_PAUSE = 0.5
PAUSE_GROWTH = 1.3
TRY_WITHIN = 1.0
"""Seconds for one try; answers take milliseconds within a region."""


async def first_open(address: Callable[[], str | None], port: int) -> str:
    """The first of the addresses that takes connections; waits for ever.

    ``address``: where the server may be now, None while that is not known.
    """
    pause = FIRST_PAUSE
    while True:
        where = address()
        if where and await takes_connections(where, port):
            return where
        await asyncio.sleep(pause)
        if where:
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)


async def takes_connections(address: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        async with asyncio.timeout(TRY_WITHIN):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:  # also TimeoutError
        return False
    writer.close()
    return True
