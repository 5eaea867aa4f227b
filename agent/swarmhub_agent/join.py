"""Joining the swarm, paused, and again for as long as it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    RetryError,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from . import addresses, log
from .engine import Engine, EngineError, EngineInfo, LocalNodeState
from .errors import AgentError
from .identity import Identity
from .parameters import JoinParameters

ATTEMPT_LIMIT_S = 180.0
"""More than one attempt can take: 30 s for SSM, patience, 60 s to leave, 30 s to join."""
PATIENCE_S = 30.0
"""How long an engine in ``pending`` or ``error`` may take to become active, as after its own restart."""
LOOK_EVERY_S = 1.0
MAX_WAIT_S = 30.0


class JoinFailedError(AgentError):
    """This attempt did not make the node a member; the text says why."""


class JoinAbandonedError(AgentError):
    """The instance is going: it need not join any more."""


class Joiner:
    """Makes this engine an active member of the swarm; does nothing where it is one.

    ``read_parameters`` is asked again at every attempt, so that a rotated token or a replaced manager needs
    no special case.
    """

    def __init__(
        self,
        engine: Engine,
        identity: Identity,
        read_parameters: Callable[[], Awaitable[JoinParameters]],
        *,
        swarm_port: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._identity = identity
        self._read_parameters = read_parameters
        self._swarm_port = swarm_port
        self._sleep = sleep
        self._clock = clock

    async def join(self, *, abandon: Callable[[], bool], on_failure: Callable[[str], None]) -> EngineInfo:
        """Try until the node is active; ``on_failure`` gets the reason of each failed attempt.

        Raises JoinAbandonedError once ``abandon()`` is true.
        """

        def failed(state: RetryCallState) -> None:
            reason = str(state.outcome.exception()) if state.outcome else ""
            log.warning("joining failed", attempt=state.attempt_number, reason=reason)
            on_failure(reason)

        retrying = AsyncRetrying(
            stop=lambda _: abandon(),
            wait=wait_exponential(multiplier=1, max=MAX_WAIT_S) + wait_random(0, 1),
            retry=retry_if_exception_type(AgentError),
            before_sleep=failed,
            sleep=self._sleep,
        )
        try:
            return await retrying(self._limited_attempt)
        except RetryError as error:
            raise JoinAbandonedError("the instance is going") from error

    async def _limited_attempt(self) -> EngineInfo:
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                return await self.attempt()
        except TimeoutError:
            raise JoinFailedError(f"the attempt took longer than {ATTEMPT_LIMIT_S:g} s") from None

    async def attempt(self) -> EngineInfo:
        """Bring the engine from whatever state it is in to active, once. Raises AgentError."""
        info = await self._settled()
        if info.state is LocalNodeState.ACTIVE:
            return info
        if info.state is not LocalNodeState.INACTIVE:
            log.warning("leaving a membership that does not work", state=info.state.value, reason=info.error)
            await self._engine.leave()
        parameters = await self._read_parameters()
        managers = [addresses.join(manager, self._swarm_port) for manager in parameters.managers]
        try:
            await self._engine.join_paused(
                token=parameters.token, managers=managers, address=self._identity.private_ip
            )
        except EngineError as error:
            raise JoinFailedError(f"the swarm at {', '.join(managers)} was not joined: {error}") from error
        info = await self._engine.info()
        if info.state is not LocalNodeState.ACTIVE:
            raise JoinFailedError(
                f"the engine says {info.state.value} after joining: {info.error or 'no reason given'}"
            )
        return info

    async def _settled(self) -> EngineInfo:
        """The engine's state, after an engine that may become active by itself had its time."""
        started = self._clock()
        info = await self._engine.info()
        while info.state.is_pending and self._clock() - started < PATIENCE_S:
            await self._sleep(LOOK_EVERY_S)
            info = await self._engine.info()
        return info
