"""The images each pool's nodes must hold: those of the pool's courses, by digest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from docker.auth import resolve_index_name

from swarmhub.config import Config
from swarmhub.controller import logs
from swarmhub.controller.status import ImageRow, image_rows
from swarmhub.controller.swarm import SwarmError
from swarmhub.images import ImageError
from swarmhub.pins import Pin, Pins
from swarmhub.registries import registry_host

RETRY_S = 5.0
"""Also how soon a digest that the hub or the operator pinned is known here."""
PATIENCE = timedelta(seconds=60)
"""New nodes wait this long for an unresolved image; then one course's bad image holds nobody up."""


class PoolImages:
    """Has every course's image pinned, and knows what the pins say."""

    def __init__(
        self,
        resolve: Callable[[str], Awaitable[str]],
        clock: Callable[[], datetime],
        pins: Pins | None = None,
    ) -> None:
        """``resolve``: asks the registry, and raises ImageError or SwarmError. ``pins``: shared with the hub;
        without them a digest lasts as long as this process."""
        self._resolve = resolve
        self._clock = clock
        self._pins = pins or Pins(None, clock)
        self._config: Config | None = None
        self._wanted: dict[str, frozenset[str]] = {}
        self._not_ahead: frozenset[str] = frozenset()
        self._loaded_at = clock()
        self._is_new = False
        self.pinned: Mapping[str, Pin] = {}
        """What is known, by reference."""
        self.problems: dict[str, str] = {}
        """Why an image is not resolved, by reference."""

    def load(self, config: Config) -> None:
        """Take over a configuration."""
        self._config = config
        self._wanted = {pool: frozenset(config.pool_images(pool)) for pool in config.pools}
        with_login = {resolve_index_name(host) for host in config.registries}
        self._not_ahead = frozenset(r for r in config.images() if registry_host(r) in with_login)
        self.problems = {}
        self._loaded_at = self._clock()
        self._is_new = True

    def of(self, pool: str | None) -> tuple[str, ...]:
        """The digests known so far of images a node can pull by itself, sorted.

        Agents have no logins, and a node that cannot pull what it must hold never becomes fit. An image that
        needs one is pulled by the first task, whose service carries the login.
        """
        references = self._wanted.get(pool or "", frozenset()) - self._not_ahead
        return tuple(sorted({self.pinned[r].digest for r in references if r in self.pinned}))

    def by_pool(self) -> dict[str, tuple[str, ...]]:
        """``of`` every pool."""
        return {pool: self.of(pool) for pool in self._wanted}

    def rows(self) -> tuple[ImageRow, ...]:
        """Every image of the configuration, for the operator."""
        return image_rows(self._config, self.pinned, self.problems) if self._config else ()

    def pending(self, now: datetime) -> frozenset[str]:
        """The pools whose images are not all known yet, within reason."""
        if now - self._loaded_at >= PATIENCE:
            return frozenset()
        return frozenset(pool for pool, wanted in self._wanted.items() if wanted - self.pinned.keys())

    async def resolve_missing(self) -> None:
        """Read the pins and try every image that has none, once.

        After ``load``, pins of images that no course has any more are dropped first. Those that come later
        are the hub's, of images that students named themselves.
        """
        wanted = frozenset[str]().union(*self._wanted.values())
        # In threads: the file's lock may have to be waited for.
        if self._is_new:
            self._is_new = False
            await asyncio.to_thread(self._pins.keep, wanted)
        self.pinned = await asyncio.to_thread(self._pins.all)
        for reference in sorted(wanted - self.pinned.keys()):
            try:
                digest = await self._resolve(reference)
            except (ImageError, SwarmError) as error:
                if self.problems.get(reference) != str(error):
                    logs.warning("an image cannot be resolved", image=reference, reason=str(error))
                self.problems[reference] = str(error)
            else:
                await asyncio.to_thread(self._pins.put, reference, digest)
                self.pinned = await asyncio.to_thread(self._pins.all)
        self.problems = {r: reason for r, reason in self.problems.items() if r not in self.pinned}

    async def run(self) -> None:
        """Resolve until cancelled."""
        while True:
            await self.resolve_missing()
            await asyncio.sleep(RETRY_S)
