"""A hub as the benchmarks drive it: its REST API, and one watcher that sees when servers become ready."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import requests

T = TypeVar("T")

HTTP_TIMEOUT = 60
"""Seconds for one request; JupyterHub answers a stop after ten at most."""
PAGE = 200
"""Users a page: JupyterHub's most."""


@dataclass(frozen=True)
class Server:
    ready: bool
    pending: str | None
    """``spawn``, ``stop`` or None."""


class HubApi:
    """The API at ``url`` (with ``/hub/api``), with a token of admin's scopes."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"token {token}"
        self._session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=PAGE))

    def _request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        return self._session.request(method, f"{self.url}{path}", timeout=HTTP_TIMEOUT, **kwargs)

    def answers(self) -> bool:
        try:
            return self._session.get(f"{self.url}/", timeout=2).ok
        except requests.RequestException:
            return False

    def create_users(self, names: Sequence[str]) -> None:
        self._request("POST", "/users", json={"usernames": list(names)}).raise_for_status()

    def start(self, name: str) -> int:
        """HTTP status: 201 and 202 are yes, everything else is no."""
        return self._request("POST", f"/users/{name}/server").status_code

    def stop(self, name: str) -> int:
        """HTTP status: 204 is stopped, 202 is stopping."""
        return self._request("DELETE", f"/users/{name}/server").status_code

    def servers(self) -> dict[str, Server]:
        """The default server of each user who has one, starting and stopping ones too."""
        answer = self._request("GET", "/users", params={"state": "active", "limit": PAGE})
        answer.raise_for_status()
        return {
            user["name"]: Server(user["servers"][""]["ready"], user["servers"][""]["pending"])
            for user in answer.json()
            if "" in user["servers"]
        }

    def has_server(self, name: str) -> bool:
        """Whether the user's default server runs, starts or stops.

        The list of all users goes by the database, which forgets a server shortly before its stop is over.
        """
        answer = self._request("GET", f"/users/{name}")
        answer.raise_for_status()
        return "" in answer.json()["servers"]

    def metric(self, name: str) -> float:
        """A number from the hub's own metrics; NaN if it has none of that name."""
        text = self._session.get(f"{self.url.removesuffix('/api')}/metrics", timeout=HTTP_TIMEOUT).text
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        return float("nan")


@dataclass(frozen=True)
class Snapshot:
    """What the hub said of its servers; both moments on the monotonic clock."""

    asked: float
    received: float
    servers: dict[str, Server]


class Observer:
    """Asks the hub for all servers again and again, once for everybody who waits."""

    def __init__(self, api: HubApi, every: float) -> None:
        self.api = api
        self._every = every
        self._snapshot = Snapshot(0.0, 0.0, {})
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @classmethod
    @contextmanager
    def of(cls, api: HubApi, count: int) -> Iterator[Observer]:
        """Asks often for few servers, less often for many: the answer costs the hub time."""
        observer = cls(api, 0.05 if count <= 10 else 0.2)  # noqa: PLR2004  # up to ten models take about 10 ms
        observer._thread.start()
        try:
            yield observer
        finally:
            observer._stop.set()
            observer._thread.join(HTTP_TIMEOUT)

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            asked = time.monotonic()
            try:
                servers = self.api.servers()
            except requests.RequestException:
                continue
            with self._changed:
                self._snapshot = Snapshot(asked, time.monotonic(), servers)
                self._changed.notify_all()

    def wait(
        self, decide: Callable[[Snapshot], T | None], *, asked_after: float, deadline: float
    ) -> T | None:
        """The first answer that is not None from news asked after that moment; None at the deadline.

        ``decide`` may ask the hub itself; a request of its that fails counts as no answer.
        """
        seen: Snapshot | None = None
        while (left := deadline - time.monotonic()) > 0:
            with self._changed:
                if self._snapshot is seen:
                    self._changed.wait(left)
                seen = self._snapshot
            if seen.asked >= asked_after:
                with suppress(requests.RequestException):
                    decided = decide(seen)
                    if decided is not None:
                        return decided
        return None


@dataclass(frozen=True)
class Start:
    """How one start went."""

    seconds: float | None
    """From the request until the hub called the server ready; None: it did not come."""
    problem: str = ""
    """``refused (HTTP 429)``, ``failed`` or ``late``."""

    @property
    def is_refused(self) -> bool:
        return self.problem.startswith("refused")


def start_one(observer: Observer, name: str, limit: float) -> Start:
    """Start a server and wait ``limit`` seconds at most until it is ready."""
    begin = time.monotonic()
    try:
        status = observer.api.start(name)
    except requests.RequestException as error:
        return Start(None, f"refused ({type(error).__name__})")
    if status not in (201, 202):
        return Start(None, f"refused (HTTP {status})")
    answered = time.monotonic()

    def decide(news: Snapshot) -> Start | None:
        server = news.servers.get(name)
        if server and server.ready:
            return Start(news.received - begin)
        gone = server is None and news.asked > answered and not observer.api.has_server(name)
        return Start(None, "failed") if gone else None

    return observer.wait(decide, asked_after=begin, deadline=begin + limit) or Start(None, "late")


def start_all(observer: Observer, names: Sequence[str], limit: float) -> list[Start]:
    """Start them all at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        return list(pool.map(lambda name: start_one(observer, name, limit), names))


def stop_one(observer: Observer, name: str, limit: float) -> bool:
    """Stop a server and wait until the hub says that it has stopped; False after ``limit`` seconds."""
    begin = time.monotonic()
    try:
        if observer.api.stop(name) == requests.codes.no_content:
            return True
    except requests.RequestException:
        return False
    return bool(
        observer.wait(
            lambda news: True if name not in news.servers and not observer.api.has_server(name) else None,
            asked_after=begin,
            deadline=begin + limit,
        )
    )


def stop_all(observer: Observer, names: Sequence[str], limit: float) -> None:
    """Stop them all at once."""
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: stop_one(observer, name, limit), names))
