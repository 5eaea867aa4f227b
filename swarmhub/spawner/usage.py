"""How much each home holds, measured in the background, and what that means for a soft quota.

A network file system has no quotas per student, and adding up a big home takes minutes: a start asks what is
known already. Homes are walked one at a time, in short slices with pauses, so that students do not feel it.
What is known is kept in memory and in ``<root>/homes/.usage.json``, which is a cache and may be lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from swarmhub.spawner.disk_walk import DiskWalk, Usage
from swarmhub.spawner.homes import HOMES
from swarmhub.spawner.safe_paths import opened
from swarmhub.spawner.sizes import readable_size

NEAR_SHARE = 0.8
"""Share of the quota from which a student is told."""
TRUSTED_FOR = 600.0
"""Seconds for which a full home that cannot be measured again counts as full."""
_DOUBT = "Your server starts, because your home could not be counted again just now. Last time: "
_FILE = ".usage.json"
_UNFINISHED_FILE = ".usage.json.new"
_LARGEST_FILE = 16 * 2**20
_SLICE = 0.05
"""Seconds of work at a stretch; the thread is shared with the starts of servers."""
_PAUSE = 4.0
"""Pause after a slice, as a multiple of it: a fifth of one thread's requests at most."""
_LONGEST = 1800.0
"""Seconds after which a background walk is cut off; what it found counts as a lower bound."""
_IN_USE_AGE = 900.0
"""Seconds after which the home of a running server is measured again."""
_IDLE_AGE = 86400.0
"""Seconds after which a home that no server uses is measured again."""
_GRACE = 1.0
"""Seconds more than asked for that a slice may take before its file server counts as silent."""
_IDLE_DELAY = 30.0
_SAVE_DELAY = 30.0
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KNOWN = TypeAdapter(dict[str, Usage])
_Result = TypeVar("_Result")

_log = logging.getLogger(__name__)


class QuotaState(Enum):
    """Where a home stands."""

    OK = "ok"
    NEAR = "near"
    FULL = "full"


@dataclass(frozen=True)
class QuotaVerdict:
    """Where a home stands, and what its owner should read (empty if nothing)."""

    state: QuotaState
    usage: Usage | None = None
    message: str = ""


def judge(usage: Usage | None, quota: int | None) -> QuotaVerdict:
    """The verdict on a home with a quota in bytes (None: unlimited). What is not known is fine."""
    if usage is None or quota is None or usage.bytes < NEAR_SHARE * quota:
        return QuotaVerdict(QuotaState.OK, usage)
    least = "" if usage.complete else "at least "
    named = ", ".join(f"{name} {readable_size(size)}" for name, size in usage.biggest)
    biggest = f"; the biggest files and folders: {named}" if named else ""
    holds = f"holds {least}{readable_size(usage.bytes)} of {readable_size(quota)}{biggest}."
    if usage.bytes < quota:
        return QuotaVerdict(
            QuotaState.NEAR, usage, f"Your home {holds} Delete what you no longer need before it is full."
        )
    return QuotaVerdict(
        QuotaState.FULL,
        usage,
        f"Your home is full: it {holds} Delete something in a server that still runs, or ask your teacher or "
        "the operator of this hub for room.",
    )


class UsageMeter:
    """Knows how much every home holds. ``run`` measures for ever; everything else is cheap or has a limit.

    ``executor``: threads for the file system. ``in_use``: slugs of the homes that running servers have.
    ``clock``: seconds since 1970. ``timer``: seconds, never going back.
    """

    def __init__(
        self,
        root: str | Path,
        executor: Executor,
        *,
        in_use: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._homes = Path(root) / HOMES
        self._executor = executor
        self._in_use = in_use
        self._clock = clock
        self._timer = timer
        self._sleep = sleep
        self._known: dict[str, Usage] = {}
        self._wanted: set[str] = set()
        self._asked = asyncio.Event()
        self._running: dict[str, asyncio.Task[Usage | None]] = {}
        self._tried: dict[str, float] = {}
        self._changed = False
        self._saved_at = float("-inf")

    def known(self, slug: str) -> Usage | None:
        """What the home held when it was last measured."""
        return self._known.get(slug)

    def soon(self, slug: str) -> None:
        """Measure this home next, for example because its server stopped."""
        self._wanted.add(slug)
        self._asked.set()

    def verdict(self, slug: str, quota: int | None) -> QuotaVerdict:
        """The verdict on what is known; ``quota`` in bytes, None: unlimited."""
        return judge(self.known(slug), quota)

    async def checked(self, slug: str, quota: int | None, within: float = 5.0) -> QuotaVerdict:
        """The verdict for a start: at once, unless the home seems full; that is measured again first.

        If that takes longer than ``within`` seconds, the home is full if what was counted by then is enough
        to fill it, or if it was full less than ``TRUSTED_FOR`` seconds ago. Otherwise there is doubt, and
        doubt refuses nobody: the verdict is NEAR.
        """
        before = self.verdict(slug, quota)
        if before.state is not QuotaState.FULL or before.usage is None:
            return before
        now = judge(await self.fresh(slug, within), quota)
        if now.state is QuotaState.FULL or (now.usage and now.usage.complete):
            return now
        if self._clock() - before.usage.measured_at <= TRUSTED_FOR:
            return before
        return replace(before, state=QuotaState.NEAR, message=_DOUBT + before.message)

    async def fresh(self, slug: str, within: float = 5.0) -> Usage | None:
        """Measure a home now, without pauses, for at most ``within`` seconds.

        The result is not ``complete`` if the time was not enough, and None if the home cannot be read; only a
        complete one replaces what was known. Those who ask for one home at the same time share one walk.
        """
        task = self._running.get(slug)
        if task is None:
            task = self._running[slug] = asyncio.create_task(self._measure(slug, within, pause=0.0))
            task.add_done_callback(lambda _: self._running.pop(slug, None))
        try:
            usage = await asyncio.wait_for(asyncio.shield(task), within + _GRACE)
        except TimeoutError:
            # The file server does not answer at all.
            usage = None
        if usage is None or not usage.complete:
            self._wanted.add(slug)
        return usage

    async def run(self) -> None:
        """Measure homes for ever: wanted ones first, then those in use, then the others."""
        await self._load()
        while True:
            try:
                slug = await self._next()
                if slug is None:
                    await self._idle()
                else:
                    self._wanted.discard(slug)
                    await self._measure(slug, _LONGEST, pause=_PAUSE)
                    await self._sleep(_SLICE)
                await self._save()
            except OSError as error:
                _log.warning("The homes' sizes cannot be measured just now: %s", error)
                await self._sleep(_IDLE_DELAY)

    async def _idle(self) -> None:
        """Until somebody asks for a home, at most ``_IDLE_DELAY`` seconds."""
        self._asked.clear()
        sleep = asyncio.ensure_future(self._sleep(_IDLE_DELAY))
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait([sleep, asked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            asked.cancel()

    async def _next(self) -> str | None:
        """The home that should be measured next; homes that are gone are forgotten."""
        there = await self._call(partial(_slugs, self._homes))
        self._known = {slug: usage for slug, usage in self._known.items() if slug in there}
        self._tried = {slug: when for slug, when in self._tried.items() if slug in there}
        self._wanted &= there
        return next_home(there, self._tried, self._wanted, frozenset(self._in_use()), self._clock())

    async def _measure(self, slug: str, within: float, *, pause: float) -> Usage | None:
        """Walk a home for at most ``within`` seconds; None if it cannot be read.

        ``pause``: after each slice of work, as a multiple of it.
        """
        end = self._timer() + within
        try:
            walk = await self._call(partial(DiskWalk, self._homes, slug))
        except OSError as error:
            _log.warning("The size of %s cannot be measured: %s", self._homes / slug, error)
            return None
        finally:
            self._tried[slug] = self._clock()
        try:
            while not walk.done and self._timer() < end:
                started = self._timer()
                await self._call(partial(walk.step, self._timer, min(started + _SLICE, end)))
                if pause:
                    await self._sleep(pause * (self._timer() - started))
            usage = walk.usage(self._clock())
        finally:
            walk.close()
        if usage.complete or pause:
            self._known[slug] = usage
            self._tried[slug] = usage.measured_at
            self._changed = True
        return usage

    async def _load(self) -> None:
        """Remember what an earlier hub measured; what is known already stays."""
        try:
            content = await self._call(partial(_read, self._homes))
            known = _KNOWN.validate_json(content)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be read, all homes are measured anew: %s", self._homes / _FILE, error)
            return
        self._known = known | self._known
        self._tried = {slug: usage.measured_at for slug, usage in known.items()} | self._tried

    async def _save(self) -> None:
        if self._changed and self._timer() - self._saved_at >= _SAVE_DELAY:
            self._changed = False
            self._saved_at = self._timer()
            await self._call(partial(_write, self._homes, _KNOWN.dump_json(self._known)))

    async def _call(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def next_home(
    there: Collection[str],
    tried: Mapping[str, float],
    wanted: Collection[str],
    in_use: Collection[str],
    now: float,
) -> str | None:
    """Which home to measure next, None if none is due. ``tried``: when each was measured last."""

    def oldest(homes: Iterable[str], age: float) -> str | None:
        due = [home for home in homes if now - tried.get(home, float("-inf")) >= age]
        return min(due, key=lambda home: (tried.get(home, float("-inf")), home), default=None)

    return (
        oldest((home for home in there if home in wanted), float("-inf"))
        or oldest((home for home in there if home in in_use), _IN_USE_AGE)
        or oldest(there, _IDLE_AGE)
    )


def _slugs(homes: Path) -> set[str]:
    with opened(homes) as directory, os.scandir(directory) as entries:
        return {
            entry.name
            for entry in entries
            if _SLUG.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        }


def _read(homes: Path) -> bytes:
    with opened(homes) as directory:
        file = os.open(_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(file, "rb") as stream:
            return stream.read(_LARGEST_FILE)


def _write(homes: Path, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with opened(homes) as directory:
        with os.fdopen(os.open(_UNFINISHED_FILE, flags, 0o600, dir_fd=directory), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(_UNFINISHED_FILE, _FILE, src_dir_fd=directory, dst_dir_fd=directory)
