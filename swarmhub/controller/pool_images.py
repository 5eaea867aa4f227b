"""The images each pool's nodes must hold: those of the pool's courses, by digest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from swarmhub.config import Config
from swarmhub.controller import logs
from swarmhub.controller.swarm import SwarmError
from swarmhub.images import ImageError

RETRY_S = 5.0
PATIENCE = timedelta(seconds=60)
"""New nodes wait this long for an unresolved image; then one course's bad image holds nobody up."""


class PoolImages:
    """Resolves every course's image once per configuration, and again while it fails."""

    def __init__(self, resolve: Callable[[str], Awaitable[str]], clock: Callable[[], datetime]) -> None:
        self._resolve = resolve
        self._clock = clock
        self._wanted: dict[str, frozenset[str]] = {}
        self._digests: dict[str, str] = {}
        self._fresh: set[str] = set()
        """References resolved since the configuration was loaded."""
        self._loaded_at = clock()
        self.problems: dict[str, str] = {}
        """Why an image is not resolved, by reference."""

    def load(self, config: Config) -> None:
        """Take over a configuration; what a tag means is asked anew, the old answer holds until then."""
        courses = config.courses.values()
        self._wanted = {pool: frozenset(c.image for c in courses if c.pool == pool) for pool in config.pools}
        self._fresh, self.problems = set(), {}
        self._loaded_at = self._clock()

    def of(self, pool: str | None) -> tuple[str, ...]:
        """The digests known so far, sorted."""
        references = self._wanted.get(pool or "", frozenset())
        return tuple(sorted({self._digests[r] for r in references if r in self._digests}))

    def by_pool(self) -> dict[str, tuple[str, ...]]:
        """``of`` every pool."""
        return {pool: self.of(pool) for pool in self._wanted}

    def pending(self, now: datetime) -> frozenset[str]:
        """The pools whose images are not all known yet, within reason."""
        if now - self._loaded_at >= PATIENCE:
            return frozenset()
        return frozenset(pool for pool, wanted in self._wanted.items() if wanted - self._digests.keys())

    async def resolve_missing(self) -> None:
        """Try every image that is not resolved yet, once."""
        wanted = {reference for references in self._wanted.values() for reference in references}
        for reference in sorted(wanted - self._fresh):
            try:
                self._digests[reference] = await self._resolve(reference)
            except (ImageError, SwarmError) as error:
                if self.problems.get(reference) != str(error):
                    logs.warning("an image cannot be resolved", image=reference, reason=str(error))
                self.problems[reference] = str(error)
            else:
                self._fresh.add(reference)
                self.problems.pop(reference, None)

    async def run(self) -> None:
        """Resolve until cancelled."""
        while True:
            await self.resolve_missing()
            await asyncio.sleep(RETRY_S)
