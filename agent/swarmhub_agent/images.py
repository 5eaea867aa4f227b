"""The images a node must hold before it is fit, pulled in the background, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential, wait_random

from . import log
from .engine import Engine, EngineError
from .errors import AgentError
from .protocol import Check

NAME = "images"
MAX_WAIT_S = 60.0


class _RoundFailedError(AgentError):
    """Not every image was pulled in this round."""


def short(reference: str) -> str:
    """Return ``name@sha256:…`` with twelve digits of the digest, enough to tell images apart."""
    name, _, digest = reference.partition("@sha256:")
    return f"{name}@{digest[:12]}" if digest else reference


class Images:
    """Keeps the required images present. ``on_change`` is called whenever a round of pulling is over."""

    def __init__(
        self,
        engine: Engine,
        on_change: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._on_change = on_change
        self._sleep = sleep
        self._required: tuple[str, ...] | None = None
        self._failures: dict[str, str] = {}
        self._pulls: asyncio.Task[None] | None = None

    def require(self, references: tuple[str, ...]) -> bool:
        """Set what must be present; return True if that changed."""
        if references == self._required:
            return False
        self._required = references
        self._failures = {}
        self.stop()
        return True

    def stop(self) -> None:
        """Give up pulling; the next check starts it again if something is missing."""
        if self._pulls is not None:
            self._pulls.cancel()
            self._pulls = None

    async def check(self) -> Check:
        """Say whether all are present, and start pulling those that are not."""
        if self._required is None:
            # Not ok: a node must not become active before it is known what it has to hold.
            return Check(
                name=NAME, ok=False, detail="The controller has not said yet which images are needed."
            )
        try:
            missing = await self._missing(self._required)
        except EngineError as error:
            return Check(name=NAME, ok=False, detail=f"The images cannot be checked: {error}.")
        if not missing:
            return Check(name=NAME, ok=True, detail=f"All {len(self._required)} images are present.")
        if self._pulls is None or self._pulls.done():
            self._pulls = asyncio.create_task(self._pull_until_present())
        detail = f"Pulling {len(missing)} of {len(self._required)} images: {', '.join(map(short, missing))}"
        reasons = [f"{short(reference)}: {reason}" for reference, reason in self._failures.items()]
        if reasons:
            detail += f"; failed and being retried: {'; '.join(reasons)}"
        return Check(name=NAME, ok=False, detail=detail + ".")

    async def _missing(self, references: tuple[str, ...]) -> list[str]:
        return [reference for reference in references if not await self._engine.has_image(reference)]

    async def _pull_until_present(self) -> None:
        retrying = AsyncRetrying(
            wait=wait_exponential(multiplier=1, max=MAX_WAIT_S) + wait_random(0, 1),
            retry=retry_if_exception_type(AgentError),
            sleep=self._sleep,
        )
        await retrying(self._pull_round)

    async def _pull_round(self) -> None:
        """Try every missing image once, so that one which cannot be had keeps none of the others away."""
        failures: dict[str, str] = {}
        for reference in await self._missing(self._required or ()):
            log.info("pulling an image", image=reference)
            try:
                await self._engine.pull(reference)
                if not await self._engine.has_image(reference):
                    failures[reference] = "the pull ended without an error, but the image is not there"
            except EngineError as error:
                failures[reference] = str(error)
            if reference in failures:
                log.warning("pulling failed", image=reference, reason=failures[reference])
            else:
                log.info("pulled an image", image=reference)
        self._failures = failures
        self._on_change()
        if failures:
            raise _RoundFailedError("not every image was pulled")
