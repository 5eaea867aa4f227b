"""Which digest each image tag stands for: decided once, and written down where hub and controller read it.

A tag may be moved, and a hub may restart, in the middle of a course; both change nothing. What changes an
image is another reference in swarmhub.yaml, or ``swarmhub images refresh``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

FILE_NAME = "images.json"
"""Name of the file in the state folder."""
LOCK_WITHIN_S = 5.0
"""A holder reads and writes one small file."""
_LOCK_RETRY_S = 0.02

log = logging.getLogger(__name__)


class Pin(BaseModel):
    """The digest of one image."""

    model_config = ConfigDict(frozen=True)

    digest: str
    """``name@sha256:…``."""
    resolved_at: datetime
    """When the registry said so, with a time zone."""


class _File(BaseModel):
    version: Literal[1] = 1
    images: dict[str, Pin] = {}


_Change = Callable[[dict[str, Pin]], object]
"""Changes the pins it is given; what it returns is not used."""


class Pins:
    """The pins of one hub, by image reference; safe for threads and processes that share the file.

    No method raises because of the file. While it cannot be used, pins are kept in memory and written with
    the next change that succeeds; a file that makes no sense is set aside as ``….bad``.
    """

    def __init__(self, path: Path | None, clock: Callable[[], datetime]) -> None:
        """``path``: the file, made when it is first needed; None: in memory only."""
        self._path = path
        self._clock = clock
        self._pins: dict[str, Pin] = {}
        self._stamp: tuple[int, int] | None = None
        self._unsaved: dict[str, Pin] = {}
        self._guard = threading.RLock()
        self._usable = True

    def all(self) -> Mapping[str, Pin]:
        """Every pin, as the file has them now."""
        with self._guard:
            self._load()
            return MappingProxyType(dict(self._pins))

    def digest(self, reference: str, resolve: Callable[[str], str]) -> str:
        """The image by digest; ``resolve`` is asked only if it is not pinned yet. What it raises is raised.

        Blocking. Whoever pins first, in whatever process, decides for all.
        """
        pin = self.all().get(reference)
        return pin.digest if pin else self.put(reference, resolve(reference))

    def put(self, reference: str, digest: str) -> str:
        """Pin an image unless it is pinned by now; the digest that holds."""
        pin = Pin(digest=digest, resolved_at=self._clock())
        return self._change(lambda pins: pins.setdefault(reference, pin))[reference].digest

    def replace(self, reference: str, digest: str) -> str | None:
        """Pin an image anew; the digest it had before, None if it had none."""
        pin = Pin(digest=digest, resolved_at=self._clock())
        before: list[str] = []

        def change(pins: dict[str, Pin]) -> None:
            before[:] = [pins[reference].digest] if reference in pins else []
            pins[reference] = pin

        self._change(change)
        return before[0] if before else None

    def keep(self, references: Collection[str]) -> None:
        """Forget all others: an image that comes back to the configuration is asked for anew."""
        if self.all().keys() <= set(references):
            return

        def change(pins: dict[str, Pin]) -> None:
            for reference in pins.keys() - set(references):
                del pins[reference]

        self._change(change)

    def _change(self, change: _Change) -> Mapping[str, Pin]:
        """Read, change and write the file while nobody else does; what the pins are then."""
        with self._guard:
            try:
                with self._locked():
                    self._load()
                    changed = dict(self._pins)
                    change(changed)
                    if changed != self._pins or self._unsaved or self._stamp is None:
                        self._write(changed)
                    self._pins, self._unsaved = changed, {}
                self._usable = True
            except OSError as error:
                self._complain(error)
                before = dict(self._pins)
                change(self._pins)
                self._unsaved |= {r: pin for r, pin in self._pins.items() if before.get(r) != pin}
            return dict(self._pins)

    def _load(self) -> None:
        """Take over what the file says, if it has changed. The caller holds the guard."""
        if self._path is None:
            return
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            found = _File.model_validate_json(self._path.read_bytes()).images
            self._pins, self._stamp = {**self._unsaved, **found}, stamp
        except FileNotFoundError:
            # Somebody removed it: the next change writes what we know.
            self._stamp = None
        except OSError as error:
            self._complain(error)
        except ValidationError as error:
            self._stamp = None
            aside = self._path.with_name(f"{self._path.name}.bad")
            log.error(  # noqa: TRY400 - a traceback says nothing about a bad file
                "%s makes no sense (%d problems); it is now %s, and images are resolved again as needed",
                self._path,
                error.error_count(),
                aside.name,
            )
            try:
                self._path.replace(aside)
            except OSError as problem:
                self._complain(problem)

    def _write(self, pins: dict[str, Pin]) -> None:
        if self._path is None:
            return
        text = _File(images=dict(sorted(pins.items()))).model_dump_json(indent=2)
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        new = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(f"{text}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError:
            new.unlink(missing_ok=True)
            raise
        self._stamp = _stamp(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._path is None:
            yield
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Not the file itself: it is replaced at every change, and a lock would stay with the old one.
        lock = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            attempts = Retrying(
                retry=retry_if_exception_type(BlockingIOError),
                stop=stop_after_delay(LOCK_WITHIN_S),
                wait=wait_fixed(_LOCK_RETRY_S),
                reraise=True,
            )
            attempts(fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)

    def _complain(self, error: OSError) -> None:
        if self._usable:
            log.warning("%s cannot be used, digests are kept in memory: %s", self._path, error)
        self._usable = False


def _stamp(path: Path) -> tuple[int, int]:
    # Every change makes a new file: its inode tells two within one tick of the clock apart.
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino
