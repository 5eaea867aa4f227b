"""AWS asked again and again; the last good answer stays, with its time, while AWS does not answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from swarmhub.controller import logs
from swarmhub.controller.aws import Cloud, CloudError
from swarmhub.controller.model import CloudView

IDLE_S = 5.0
BUSY_S = 1.0
ANSWER_WITHIN_S = 30.0
"""boto3 gives up a request after 10 s and tries three times; a look takes a few requests."""


class CloudPoll:
    """Keeps ``view``, AWS as last seen (None: never), and ``problem``, why it is not newer."""

    def __init__(
        self, cloud: Cloud, claimed: Callable[[], Collection[str]], changed: Callable[[], None]
    ) -> None:
        self.view: CloudView | None = None
        self.problem: str | None = None
        self._cloud = cloud
        self._claimed = claimed
        self._changed = changed
        self._busy = False
        self._wake = asyncio.Event()

    def set_busy(self, busy: bool) -> None:
        """Ask every second while something is going on."""
        if busy and not self._busy:
            self._wake.set()
        self._busy = busy

    def soon(self) -> None:
        """Ask now: we have just changed something."""
        self._wake.set()

    async def poll(self) -> None:
        """Ask once."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                view = await self._cloud.view(self._claimed())
        except (CloudError, TimeoutError) as error:
            problem = str(error) or f"AWS has not answered within {ANSWER_WITHIN_S:.0f} s"
            if problem != self.problem:
                logs.warning("AWS does not answer; keeping the last view", reason=problem)
            self.problem = problem
            return
        if self.problem:
            logs.info("AWS answers again")
        previous, self.view, self.problem = self.view, view, None
        if previous is None or (previous.instances, previous.groups) != (view.instances, view.groups):
            self._changed()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            self._wake.clear()
            await self.poll()
            # However often it is woken, AWS limits how often it may be asked.
            await asyncio.sleep(BUSY_S / 2)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((BUSY_S if self._busy else IDLE_S) - BUSY_S / 2):
                    await self._wake.wait()
