"""Record and route follow a server to where it runs."""

import asyncio

import pytest

from swarmhub.spawner import SwarmSpawner
from tests.unit.spawner.conftest import LabHub
from tests.unit.spawner.fake_swarm import FakeSwarm


async def settle(hub: LabHub) -> None:
    """Two more views, and what they set off."""
    for _ in range(2):
        await hub.runtime.watch.newer_than(hub.runtime.watch.now(), within=5)
        await asyncio.sleep(0)


def url(swarm: FakeSwarm, spawner: SwarmSpawner) -> str:
    return f"http://{swarm.address(spawner.object_id)}:8888"


@pytest.mark.parametrize("server", ["", "exam"])
async def test_a_moved_server_is_routed_to_its_new_address(hub: LabHub, server: str) -> None:
    spawner = hub.spawner("ana", server)
    await hub.start(spawner)
    before = url(hub.swarm, spawner)
    assert hub.proxy.table == {spawner.proxy_spec: before}
    hub.swarm.update(spawner.object_id)
    await settle(hub)
    after = url(hub.swarm, spawner)
    assert after != before
    assert hub.proxy.table == {spawner.proxy_spec: after}
    assert spawner.server.host == after
    hub.db.expire_all()
    assert spawner.orm_spawner.server.ip == hub.swarm.address(spawner.object_id)


async def test_while_the_new_task_does_not_run_the_old_one_keeps_the_route(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    before = dict(hub.proxy.table)
    hub.swarm.runs_at_once = False
    hub.swarm.update(spawner.object_id)
    await settle(hub)
    assert hub.proxy.table == before
    hub.swarm.set_state(spawner.object_id, "running")
    await settle(hub)
    assert hub.proxy.table == {spawner.proxy_spec: url(hub.swarm, spawner)}
    assert hub.proxy.table != before


async def test_a_server_replaced_after_its_node_died_is_routed_again(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.kill_node(hub.swarm.newest(spawner.object_id)["NodeID"])
    await settle(hub)
    assert hub.proxy.table == {spawner.proxy_spec: url(hub.swarm, spawner)}


async def test_a_route_that_the_proxy_refused_is_tried_again(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.proxy.fails = 2
    hub.swarm.update(spawner.object_id)
    for _ in range(3):
        await settle(hub)
    assert hub.proxy.table == {spawner.proxy_spec: url(hub.swarm, spawner)}


async def test_a_server_that_moved_while_the_hub_was_down_is_found_by_poll(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    await hub.runtime.close()
    hub.swarm.update(spawner.object_id)
    hub.restart()
    again = hub.spawner()
    assert again is not spawner
    # JupyterHub checks every server at its start, and may not be routed during the check.
    again._check_pending = True
    assert await again.poll() is None
    assert again.server.host == url(hub.swarm, again)
    again._check_pending = False
    await settle(hub)
    assert hub.proxy.table == {again.proxy_spec: url(hub.swarm, again)}


async def test_a_move_while_the_hub_still_checks_a_new_server_changes_the_record_only(hub: LabHub) -> None:
    spawner = hub.spawner()
    hub.prepare(spawner)
    spawner._spawn_pending = True
    spawner.server.ip, spawner.server.port = await spawner.start()
    hub.swarm.update(spawner.object_id)
    await settle(hub)
    assert spawner.server.host == url(hub.swarm, spawner)
    assert hub.proxy.table == {}
    spawner._spawn_pending = False
    await settle(hub)
    assert hub.proxy.table == {spawner.proxy_spec: url(hub.swarm, spawner)}


async def test_a_server_being_stopped_is_left_alone(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    before = dict(hub.proxy.table)
    spawner._stop_pending = True
    hub.swarm.update(spawner.object_id)
    await settle(hub)
    assert hub.proxy.table == before


async def test_a_server_that_stays_is_not_routed_again(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.proxy.table.clear()
    await settle(hub)
    assert hub.proxy.table == {}
