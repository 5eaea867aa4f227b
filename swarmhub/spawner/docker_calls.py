"""Docker's blocking client, used from asyncio: a small thread pool with one client of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class DockerApi(Protocol):
    """The part of docker-py's ``APIClient`` that the spawner uses."""

    def services(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """List services."""

    def tasks(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """List tasks."""

    def nodes(self, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """List nodes."""

    def inspect_service(self, service: str) -> dict[str, Any]:
        """One service, by name or id; ``docker.errors.NotFound`` if there is none."""

    def create_service(self, **body: Any) -> dict[str, Any]:
        """Create a service; the answer's ``ID`` is its id."""

    def remove_service(self, service: str) -> bool:
        """Remove a service, by name or id; ``docker.errors.NotFound`` if there is none."""

    def inspect_distribution(self, image: str) -> dict[str, Any]:
        """What the registry says about an image."""

    def events(self, *, filters: dict[str, Any], decode: bool) -> Iterable[dict[str, Any]]:
        """The engine's events, without end."""


Connect = Callable[[], DockerApi]
"""Makes a client; may block and may fail while the engine is away."""


class DockerCalls:
    """Runs calls against Docker in ``threads`` threads.

    The client is made by the first call, and again by the next one while making it fails.
    """

    def __init__(self, connect: Connect, *, threads: int, name: str) -> None:
        self._connect = connect
        self._client: DockerApi | None = None
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def __call__(self, call: Callable[[DockerApi], T]) -> T:
        """Run ``call(client)`` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(self._run, call))

    def _run(self, call: Callable[[DockerApi], T]) -> T:
        with self._lock:
            if self._client is None:
                self._client = self._connect()
            client = self._client
        return call(client)

    def close(self) -> None:
        """Take no more calls."""
        self._pool.shutdown(wait=False, cancel_futures=True)
