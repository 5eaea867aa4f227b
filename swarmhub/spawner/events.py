"""Docker's events as a wake-up call: a thread that reads the stream and says that something happened.

Swarm's stream has services and nodes, but no tasks, so it can never replace the list; it only makes the next
list come early. A lost event or a broken stream therefore costs time and nothing else, at most the watch's
``INVENTORY_AGE``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from swarmhub.spawner.docker_calls import Connect, counted

_FILTERS = {"type": ["service", "node"]}
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0

log = logging.getLogger(__name__)


class EventThread:
    """Calls ``on_event`` (from its own thread) for every service or node event until closed."""

    def __init__(self, connect: Connect, on_event: Callable[[], None]) -> None:
        self._connect = connect
        self._on_event = on_event
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def close(self) -> None:
        """Read no more; a thread that waits for an event ends with the process (it is a daemon)."""
        self._closed.set()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closed.is_set():
            try:
                for _ in counted(self._connect()).events(filters=_FILTERS, decode=True):
                    pause = _FIRST_PAUSE
                    if self._closed.is_set():
                        return
                    self._on_event()
            except Exception as error:
                log.warning("Docker's event stream broke, again in %g s: %s", pause, error)
            self._closed.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
