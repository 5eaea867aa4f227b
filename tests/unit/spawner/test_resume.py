"""A start that a hub's end cut off goes on in the next hub process."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from swarmhub.spawner import resume
from swarmhub.spawner.spawner import SwarmSpawner
from tests.unit.spawner.conftest import LabHub
from tests.unit.spawner.waiting import until


async def cut_off(hub: LabHub, call: str, **options: Any) -> None:
    """A start that has come as far as this call to Docker when its hub process ends."""
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner, **options)
    start = asyncio.ensure_future(spawner.start())
    await until(lambda: call in hub.swarm.calls and (call != "create_service" or spawner.object_id))
    spawner._remove_quietly = _nothing  # a dead process removes nothing
    start.cancel()
    await asyncio.wait([start])
    await hub.runtime.close()
    hub.restart()


async def _nothing(_runtime: object) -> None:
    return


async def test_a_created_server_is_waited_for_and_kept(hub: LabHub) -> None:
    await cut_off(hub, "create_service", course="stats")
    again = hub.spawner()
    polled = asyncio.ensure_future(again.poll())
    await asyncio.sleep(0.05)
    assert not polled.done(), "the hub may not judge a server that is still starting"
    hub.swarm.set_state(again.object_name, "running")
    assert await asyncio.wait_for(polled, 5) is None
    assert (again.server.ip, again.server.port) == (hub.swarm.address(again.object_name), 8888)
    assert again.course_name == "stats"
    assert len(hub.swarm.names) == 1
    assert await again.poll() is None
    assert "starting_since" not in again.get_state()


async def test_a_created_server_that_fails_is_given_back_to_the_hub(hub: LabHub) -> None:
    await cut_off(hub, "create_service")
    again = hub.spawner()
    polled = asyncio.ensure_future(again.poll())
    await asyncio.sleep(0.02)
    hub.swarm.give_up(again.object_name)
    assert await asyncio.wait_for(polled, 5) == 1


async def test_a_start_that_still_waited_is_asked_for_again_and_keeps_its_place(
    hub: LabHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.swarm.creating.clear()
    await cut_off(hub, "create_secret")
    hub.swarm.creating.set()
    requests: list[HTTPRequest] = []

    async def fetch(_self: object, request: HTTPRequest) -> None:
        requests.append(request)

    monkeypatch.setattr(AsyncHTTPClient, "fetch", fetch)
    for service in hub.swarm.services():
        hub.swarm.remove_service(service["ID"])
    again: SwarmSpawner = hub.spawner()
    since = again._unfinished_since
    assert await again.poll() == 1
    await until(lambda: requests)
    (request,) = requests
    assert request.url == "http://127.0.0.1:8081/hub/api/users/ana/server"
    assert json.loads(request.body) is None, "the hub keeps what was chosen"
    assert request.headers["Authorization"].startswith("token ")
    assert hub.runtime.resumed["ana", ""] == since


async def test_a_start_that_the_hub_refuses_is_not_asked_for_a_second_time(
    hub: LabHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[HTTPRequest] = []

    async def refuse(_self: object, request: HTTPRequest) -> None:
        asked.append(request)
        raise HTTPClientError(403, "Your home is full")

    monkeypatch.setattr(AsyncHTTPClient, "fetch", refuse)
    await asyncio.wait_for(resume._ask_again(hub.spawner()), 5)
    assert len(asked) == 1


async def test_a_start_is_asked_for_once_the_hub_listens_and_has_cleaned_up(
    hub: LabHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    spawner = hub.spawner()
    spawner._check_pending = True

    async def fetch(_self: object, _request: HTTPRequest) -> None:
        asked.append(bool(spawner.pending))
        if len(asked) == 1:
            raise ConnectionRefusedError

    monkeypatch.setattr(AsyncHTTPClient, "fetch", fetch)
    again = asyncio.ensure_future(resume._ask_again(spawner))
    await asyncio.sleep(0.05)
    assert asked == []
    spawner._check_pending = False
    await asyncio.wait_for(again, 5)
    assert asked == [False, False]
