"""Fitness: whether a server started on this node now would work; each check is a yes or no and a sentence."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .engine import Engine, EngineError, EngineInfo
from .images import NAME as IMAGES
from .images import Images
from .protocol import LABEL_INSTANCE, Check
from .threads import in_daemon_thread

SHARED, ENGINE, DISK, CLOCK = "shared-storage", "engine", "disk", "clock"
LIMIT_S = 2.0
"""For each check; a healthy mount or engine answers in milliseconds."""
PROBE_DIR = ".swarmhub-probe"
MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Fitness:
    """One round of checks."""

    checks: tuple[Check, ...]
    info: EngineInfo | None
    """What the engine said in this round; None when it did not answer."""

    @property
    def verdicts(self) -> dict[str, bool]:
        """What must be reported at once when it changes: the outcome of each check, without its wording."""
        return {check.name: check.ok for check in self.checks}


def is_mounted(path: Path, mountinfo: str) -> bool:
    """Tell whether ``path`` is a mount point, from the kernel's table (``man proc_pid_mountinfo``, field 5).

    ``os.path.ismount`` would ask the file server, which may hang, and misses a bind mount of the same device.
    """
    escaped = str(path)
    for character in ("\\", " ", "\t", "\n"):
        escaped = escaped.replace(character, f"\\{ord(character):03o}")
    mount_points = (line.split(" ")[4] for line in mountinfo.splitlines() if line.count(" ") > 4)  # noqa: PLR2004
    return escaped in mount_points


def write_probe(directory: Path, name: str) -> None:
    """Write, sync and remove ``directory/name``. Blocks, possibly for ever. Raises OSError."""
    directory.mkdir(mode=0o700, exist_ok=True)
    probe = directory / name
    handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, b"swarmhub\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    probe.unlink()


def check_engine(info: EngineInfo | str, instance_id: str) -> Check:
    """Judge the engine's answer, or the reason why there was none."""
    if isinstance(info, str):
        return Check(name=ENGINE, ok=False, detail=f"The engine does not answer: {info}.")
    label = info.labels.get(LABEL_INSTANCE)
    if label != instance_id:
        return Check(
            name=ENGINE,
            ok=False,
            detail=f"The engine's label {LABEL_INSTANCE} is {label!r} instead of {instance_id!r}: restart "
            "swarmhub-engine-config.service, then docker.service.",
        )
    return Check(name=ENGINE, ok=True, detail="The engine answers.")


def check_disk(root: Path, free: int, total: int, min_percent: float) -> Check:
    """Judge the space for images and containers; ``free`` and ``total`` in bytes."""
    percent = 100 * free / total if total else 0.0
    comparison = "at least" if percent >= min_percent else "less than the required"
    detail = f"{percent:.1f} % of the disk under {root} is free, {comparison} {min_percent:g} %."
    return Check(name=DISK, ok=percent >= min_percent, detail=detail)


def check_clock(skew_s: float | None, max_skew_s: float) -> Check:
    """Judge the difference to the controller's clock; positive where this clock is ahead."""
    if skew_s is None:
        return Check(name=CLOCK, ok=True, detail="Not yet compared with the controller's clock.")
    direction = "ahead of" if skew_s > 0 else "behind"
    detail = f"The clock is {abs(skew_s):.1f} s {direction} the controller's; {max_skew_s:g} s are allowed."
    return Check(name=CLOCK, ok=abs(skew_s) <= max_skew_s, detail=detail)


class SharedStorage:
    """Checks the shared file system without ever waiting for a server that hangs."""

    def __init__(
        self,
        path: Path,
        instance_id: str,
        *,
        limit_s: float = LIMIT_S,
        mountinfo: Callable[[], str] = MOUNTINFO.read_text,
        write: Callable[[Path, str], None] = write_probe,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._instance_id = instance_id
        self._limit_s = limit_s
        self._mountinfo = mountinfo
        self._write = write
        self._clock = clock
        self._probe: asyncio.Future[None] | None = None
        self._started = 0.0

    async def check(self) -> Check:
        """Check mount and write access; while a probe hangs, no second one is started."""
        if self._probe is None:
            if not is_mounted(self._path, self._mountinfo()):
                return Check(name=SHARED, ok=False, detail=f"Nothing is mounted at {self._path}.")
            self._started = self._clock()
            self._probe = in_daemon_thread(self._write, self._path / PROBE_DIR, self._instance_id)
        done, _ = await asyncio.wait({self._probe}, timeout=self._limit_s)
        if not done:
            seconds = self._clock() - self._started
            return Check(
                name=SHARED, ok=False, detail=f"Writing to {self._path} hangs since {seconds:.0f} s."
            )
        failure, self._probe = self._probe.exception(), None
        if failure is not None:
            return Check(name=SHARED, ok=False, detail=f"{self._path} cannot be written: {failure}.")
        return Check(name=SHARED, ok=True, detail=f"{self._path} is mounted and writable.")


class FitnessChecks:
    """Runs all checks side by side; one round takes no longer than the slowest check may."""

    def __init__(
        self,
        engine: Engine,
        images: Images,
        storage: SharedStorage,
        *,
        instance_id: str,
        min_disk_free_percent: float,
        max_clock_skew_s: float,
    ) -> None:
        self._engine = engine
        self._images = images
        self._storage = storage
        self._instance_id = instance_id
        self._min_disk_free_percent = min_disk_free_percent
        self._max_clock_skew_s = max_clock_skew_s

    async def run(self, clock_skew_s: float | None) -> Fitness:
        """Run one round."""
        storage, (info, engine, images, disk) = await asyncio.gather(
            self._storage.check(), self._ask_engine()
        )
        clock = check_clock(clock_skew_s, self._max_clock_skew_s)
        return Fitness(checks=(engine, storage, images, disk, clock), info=info)

    async def _ask_engine(self) -> tuple[EngineInfo | None, Check, Check, Check]:
        try:
            info = await self._engine.info(timeout_s=LIMIT_S)
        except EngineError as error:
            unknown = "Unknown: the engine does not answer."
            images, disk = (Check(name=name, ok=False, detail=unknown) for name in (IMAGES, DISK))
            return None, check_engine(str(error), self._instance_id), images, disk
        return info, check_engine(info, self._instance_id), await self._images.check(), self._disk(info.root)

    def _disk(self, root: Path) -> Check:
        try:
            usage = shutil.disk_usage(root)
        except OSError as error:
            return Check(name=DISK, ok=False, detail=f"The disk under {root} cannot be measured: {error}.")
        return check_disk(root, usage.free, usage.total, self._min_disk_free_percent)
