"""How a start is judged by what the hub says, with a hub that answers from a script."""

from __future__ import annotations

import time

import requests

from bench.hub_api import HubApi, Observer, Server, Start, start_one, stop_one

READY = Server(ready=True, pending=None)
SPAWNING = Server(ready=False, pending="spawn")
TWO_PAUSES = 0.1
"""Seconds; the observer looks every 0.05 s for few servers."""
STOPPING = Server(ready=False, pending="stop")


class ScriptedHub(HubApi):
    """Lists its answers one after the other; the last one stays."""

    def __init__(self, *lists: dict[str, Server] | Exception, status: int = 202) -> None:
        super().__init__("http://hub.invalid/hub/api", "token")
        self.lists = list(lists)
        self.status = status
        self.asked: list[str] = []
        self.looks_closer = 0
        """How often a closer look still finds a server."""

    def start(self, name: str) -> int:
        self.asked.append(name)
        return self.status

    def stop(self, name: str) -> int:
        self.asked.append(name)
        return self.status

    def has_server(self, name: str) -> bool:
        self.looks_closer -= 1
        return self.looks_closer >= 0 or name in self.servers()

    def servers(self) -> dict[str, Server]:
        found = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(found, Exception):
            raise found
        return found


def start(hub: ScriptedHub, limit: float = 5) -> Start:
    with Observer.of(hub, 1) as observer:
        return start_one(observer, "ada", limit)


def test_a_start_ends_when_the_hub_calls_the_server_ready() -> None:
    hub = ScriptedHub({"ada": SPAWNING}, {"ada": SPAWNING}, {"ada": READY})
    begin = time.monotonic()
    result = start(hub)
    assert hub.asked == ["ada"]
    assert result.problem == ""
    assert result.seconds is not None
    assert TWO_PAUSES < result.seconds <= time.monotonic() - begin


def test_a_refused_start_is_told_from_a_failed_one() -> None:
    refused = start(ScriptedHub({}, status=429))
    assert (refused.seconds, refused.problem, refused.is_refused) == (None, "refused (HTTP 429)", True)
    failed = start(ScriptedHub({"ada": SPAWNING}, {}))
    assert (failed.seconds, failed.problem, failed.is_refused) == (None, "failed", False)


def test_a_start_is_late_at_its_limit() -> None:
    assert start(ScriptedHub({"ada": SPAWNING}), limit=0.2).problem == "late"


def test_a_hub_that_does_not_answer_for_a_moment_is_no_failure() -> None:
    away = requests.ConnectionError("away")
    assert start(ScriptedHub({"ada": SPAWNING}, away, away, {"ada": READY})).problem == ""


def test_a_stop_that_the_hub_still_works_on_is_waited_for() -> None:
    hub = ScriptedHub({"ada": STOPPING}, {"ada": STOPPING}, {})
    with Observer.of(hub, 1) as observer:
        assert stop_one(observer, "ada", 5)
    with Observer.of(ScriptedHub({"ada": STOPPING}), 1) as observer:
        assert not stop_one(observer, "ada", 0.2)


def test_a_server_missing_from_the_list_for_a_moment_has_not_failed_and_has_not_stopped() -> None:
    hub = ScriptedHub({}, {}, {}, {"ada": READY})
    hub.looks_closer = 3
    assert start(hub).problem == ""
    hub = ScriptedHub({})
    hub.looks_closer = 3
    with Observer.of(hub, 1) as observer:
        assert stop_one(observer, "ada", 5)
    assert hub.looks_closer < 0
