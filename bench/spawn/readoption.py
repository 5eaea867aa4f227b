"""The hub restarts while servers run: how soon does it know them again, and does anybody notice?

Re-adopted is what the servers add to a restart: from the start of the hub's process until all are ready, less
what the same hub took from its start until its first answer when it had none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench.cloud import Hub, hub, hub_started_at, server_tasks
from bench.hub_api import Observer, start_all
from bench.results import Measurement, Target
from bench.run import Run, all_ready, case, usernames
from bench.workload import LIGHT
from tests.support.local_cloud import manager
from tests.support.polling import eventually

NAME = "re-adoption"
START_LIMIT = 295
RESTART_LIMIT = 120
"""Seconds."""
LISTENERS = 5
"""Students whose websocket is listened to, on the first servers."""
INIT_SPAWNERS = "jupyterhub_init_spawners_duration_seconds_sum"
WATCH_AFTER = 15
"""Seconds: what a hub does wrong to servers it does not know, it does after its start."""
TARGETS = (
    Target(NAME, "60 light: re-adopted", "ours", 3),
    Target(NAME, "60 light: servers lost", "ours", 0),
    Target(NAME, "60 light: websockets dropped", "ours", 0),
)


class Listener:
    """A websocket through the proxy to a light server, which sends a beat every 0.2 s."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.longest_silence = 0.0
        self.is_dropped = False

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(10)

    def _run(self) -> None:
        try:
            with connect(
                self._address, open_timeout=10, close_timeout=1, compression=None, ping_interval=None
            ) as socket:
                last = time.monotonic()
                while not self._stop.is_set():
                    socket.recv(timeout=RESTART_LIMIT)
                    now = time.monotonic()
                    self.longest_silence, last = max(self.longest_silence, now - last), now
        except (OSError, TimeoutError, WebSocketException):
            self.is_dropped = not self._stop.is_set()


def measure(run: Run) -> Iterator[Measurement]:
    count = run.steady_counts[-1]
    what = case(count, LIGHT)
    for contender in run.among("ours", "stock"):
        with hub(run.cloud, contender, LIGHT) as running, ExitStack() as stack:
            alone = _restart(running, 0)
            names = usernames(run, "adopt", count)
            running.api.create_users(names)
            with Observer.of(running.api, count) as observer:
                _, note = all_ready([s.seconds for s in start_all(observer, names, START_LIMIT)], START_LIMIT)
            # Servers that did not start are no part of the question.
            ready = [name for name, server in running.api.servers().items() if server.ready]
            listeners = [
                stack.enter_context(Listener(f"ws://{running.proxy}/user/{name}/beat").listening())
                for name in sorted(ready)[:LISTENERS]
            ]
            before = server_tasks()
            took = _restart(running, len(ready))
            time.sleep(WATCH_AFTER)
            figures = {
                "re-adopted": ("s", took - alone),
                "restart until all ready": ("s", took),
                "restart without servers": ("s", alone),
                "init_spawners by the hub": ("s", running.api.metric(INIT_SPAWNERS)),
                "servers lost": ("", len(before - server_tasks())),
                "websockets dropped": ("", sum(listener.is_dropped for listener in listeners)),
                "longest silence": ("s", max(listener.longest_silence for listener in listeners)),
            }
            run.say(f"{contender}: {what}: " + ", ".join(f"{k} {v:.2f}" for k, (_, v) in figures.items()))
            for figure, (unit, value) in figures.items():
                yield run.measured(NAME, f"{what}: {figure}", unit, contender, value, note=note)
                note = ""


def _restart(running: Hub, servers: int) -> float:
    """Seconds from the new process's start until the hub answers and calls that many servers ready."""
    previous = hub_started_at()
    manager("docker", "service", "update", "--force", "--detach", "bench_hub")

    def again() -> float | None:
        try:
            known = sum(server.ready for server in running.api.servers().values())
        except requests.RequestException:
            return None
        now, started = time.time(), hub_started_at() if known >= servers else previous
        return now - started if started > previous else None

    return eventually(f"the restarted hub knows {servers} servers", again, seconds=RESTART_LIMIT, every=0.05)
