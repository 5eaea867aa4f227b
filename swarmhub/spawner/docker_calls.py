"""Docker's blocking client, used from asyncio: a small thread pool with one client of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, Protocol, TypeVar, cast

from docker.errors import APIError, DockerException, NotFound
from requests import RequestException
from requests import Timeout as RequestTimeout

from swarmhub.spawner import metrics

T = TypeVar("T")
Raw = dict[str, Any]

LONGEST_CALL = 60.0
"""Seconds after which a call is given up, its time in line included. The client's own timeout is shorter, but
counts anew with every byte."""

log = logging.getLogger(__name__)


class DockerApi(Protocol):
    """The part of docker-py's ``APIClient`` that the hub uses; ids and names are interchangeable.

    What there is none of raises ``docker.errors.NotFound``.
    """

    def services(self, filters: Raw | None = None) -> list[Raw]:
        """List services."""

    def tasks(self, filters: Raw | None = None) -> list[Raw]:
        """List tasks."""

    def nodes(self, filters: Raw | None = None) -> list[Raw]:
        """List nodes."""

    def secrets(self, filters: Raw | None = None) -> list[Raw]:
        """List secrets, without their content."""

    def configs(self, filters: Raw | None = None) -> list[Raw]:
        """List configs."""

    def inspect_service(self, service: str) -> Raw:
        """One service."""

    def create_service(self, **body: Any) -> Raw:
        """Create a service; the answer's ``ID`` is its id."""

    def update_service(self, service: str, version: int, **body: Any) -> Raw:
        """Change a service; ``version``: its ``Version.Index`` as last read, or Docker refuses."""

    def remove_service(self, service: str) -> bool:
        """Remove a service."""

    def service_logs(self, service: str, **wanted: Any) -> Iterable[bytes] | bytes:
        """What a service's containers wrote."""

    def create_secret(self, name: str, data: bytes, labels: dict[str, str] | None = None) -> Raw:
        """Create a secret; the answer's ``ID`` is its id."""

    def remove_secret(self, id: str) -> bool:
        """Remove a secret; an ``APIError`` while a service uses it."""

    def create_config(
        self, name: str, data: bytes, labels: dict[str, str] | None = None, templating: Raw | None = None
    ) -> Raw:
        """Create a config; the answer's ``ID`` is its id."""

    def remove_config(self, id: str) -> bool:
        """Remove a config; an ``APIError`` while a service uses it."""

    def inspect_node(self, node_id: str) -> Raw:
        """One node."""

    def inspect_network(self, net_id: str) -> Raw:
        """One network."""

    def inspect_distribution(self, image: str) -> Raw:
        """What the registry says about an image."""

    def info(self) -> Raw:
        """The engine, and its part in the swarm."""

    def version(self, api_version: bool = True) -> Raw:
        """Versions of the engine's parts."""

    def events(self, *, filters: Raw, decode: bool) -> Iterable[Raw]:
        """The engine's events, without end."""


class Ask(Protocol):
    """Runs a call in a thread: a ``DockerCalls``, or something more patient around one."""

    async def __call__(self, call: Callable[[DockerApi], T], /) -> T:
        """What ``call(client)`` returns or raises."""


Connect = Callable[[], DockerApi]
"""Makes a client; may block and may fail while the engine is away."""


class NoManagerError(DockerException):
    """None of the engines answers for the swarm."""


def connect_any(hosts: Sequence[str], make: Callable[[str], DockerApi]) -> Connect:
    """A ``Connect`` to the first of several managers that answers and has a leader.

    ``hosts``: as in DOCKER_HOST, the preferred one first. ``make``: a client for one of them, with a timeout.
    What it returns raises NoManagerError, which names what is wrong with each host.
    """

    def connect() -> DockerApi:
        wrong: list[str] = []
        for host in hosts:
            try:
                api = counted(make(host))
                refusal = _why_not(api.info())
            except (DockerException, RequestException) as error:
                refusal = str(error)
            if not refusal:
                return api
            wrong.append(f"{host}: {refusal}")
        raise NoManagerError(f"No manager of the swarm answers ({'; '.join(wrong)})")

    return connect


def _why_not(info: Raw) -> str:
    """Why this engine cannot be asked about the swarm; empty if it can."""
    swarm = info.get("Swarm") or {}
    if swarm.get("ControlAvailable"):
        # Where a manager has no leader to ask, it says so here (moby daemon/cluster/swarm.go, Info).
        return str(swarm.get("Error") or "")
    return f"not a manager ({swarm.get('LocalNodeState') or 'no swarm'})"


class _Counted:
    """A client that counts its calls by name; everything else is the client's own."""

    def __init__(self, api: DockerApi) -> None:
        self._api = api

    def __getattr__(self, verb: str) -> Any:
        found = getattr(self._api, verb)
        if verb.startswith("_") or not callable(found):
            return found

        @wraps(found)
        def call(*args: Any, **kwargs: Any) -> Any:
            metrics.DOCKER_CALLS.labels(verb).inc()
            try:
                return found(*args, **kwargs)
            except NotFound:  # an answer like any other
                raise
            except Exception:
                metrics.DOCKER_CALL_FAILURES.labels(verb).inc()
                raise

        return call


def counted(api: DockerApi) -> DockerApi:
    """The same client, whose calls are in the metrics."""
    return api if isinstance(api, _Counted) else cast(DockerApi, _Counted(api))


def asks_for_another_client(error: BaseException) -> bool:
    """Whether the next call had better connect anew, perhaps to another manager.

    So it is when nothing answers, when an answer takes too long, and when the engine is no manager (503) or
    has no leader to ask (500, moby ``httpstatus``: gRPC's Unknown).
    """
    if isinstance(error, APIError):
        return (error.status_code or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, (RequestException, OSError))


class DockerCalls:
    """Runs calls against Docker in ``threads`` threads.

    The client is made by the first call, again by the next one while making it fails, and anew after an
    error that another manager might not have.
    """

    def __init__(self, connect: Connect, *, threads: int, name: str, within: float = LONGEST_CALL) -> None:
        """``within``: seconds for one call, its time in line included."""
        self._connect = connect
        self._client: DockerApi | None = None
        self._lock = threading.Lock()
        self._within = within
        self._make_pool = partial(ThreadPoolExecutor, threads, thread_name_prefix=name)
        self._pool = self._make_pool()

    async def __call__(self, call: Callable[[DockerApi], T], /) -> T:
        """Run ``call(client)`` in a thread; raises what it raises, and ``requests.Timeout`` if it hangs."""
        pool = self._pool
        work = asyncio.get_running_loop().run_in_executor(pool, partial(self._run, call))
        try:
            async with asyncio.timeout(self._within) as limit:
                return await work
        except TimeoutError as error:
            if not limit.expired():
                raise
            self._abandon(pool)
            raise RequestTimeout(f"Docker did not answer within {self._within:g} seconds") from error

    def _abandon(self, pool: ThreadPoolExecutor) -> None:
        """Leave hung threads alone: later calls get others, and a client of their own."""
        self._client = None
        if self._pool is pool:
            log.warning("Docker calls hang; going on with new threads")
            self._pool, self._lock = self._make_pool(), threading.Lock()
            pool.shutdown(wait=False)

    def client(self) -> DockerApi:
        """The client, for a thread of the caller's own; blocks while it is made."""
        with self._lock:
            if self._client is None:
                self._client = counted(self._connect())
            return self._client

    def _run(self, call: Callable[[DockerApi], T]) -> T:
        client = self.client()
        try:
            return call(client)
        except Exception as error:
            if asks_for_another_client(error) and self._client is client:
                self._client = None
            raise

    def close(self) -> None:
        """Take no more calls."""
        self._pool.shutdown(wait=False, cancel_futures=True)
