"""The control port: calls, refusals and what it tells."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from lab.cloud.asg.model import Ec2State, Instance, Transition
from lab.cloud.asg.world import put_instance
from lab.cloud.control import HELP, Control, Health
from lab.cloud.imds import Faults
from lab.cloud.launcher import MemoryLauncher
from lab.cloud.runtime import Runtime

MANAGER = "i-0aa00000000000001"


class Port:
    def __init__(self, client, runtime, health, faults, launcher):
        self.client, self.runtime, self.health = client, runtime, health
        self.faults, self.launcher = faults, launcher

    async def get(self, path):
        answer = await self.client.get(path)
        return answer.status, await answer.json()

    async def post(self, path, body=None):
        answer = await self.client.post(path, json=body) if body is not None else await self.client.post(path)
        return answer.status, await answer.json()


@pytest.fixture
async def port(asg):
    asg.in_service(1)
    asg.add_hook(Transition.TERMINATING)
    manager = Instance(
        instance_id=MANAGER,
        launched=0,
        instance_type="t3.large",
        image_id="ami-1",
        zone="us-east-1a",
        container="manager",
        private_ip="10.0.0.9",
        state=Ec2State.RUNNING,
        dispatched=True,
        static=True,
    )
    runtime = Runtime(
        put_instance(asg.world, manager),
        MemoryLauncher(),
        lambda: asg.now,
        save=lambda world: None,
        publish=lambda event: None,
    )
    health, faults = Health(), Faults()
    async with TestClient(TestServer(Control(runtime, faults, health).app())) as client:
        yield Port(client, runtime, health, faults, runtime.launcher)


@pytest.fixture
def first(asg, port):
    return asg.members[0].instance_id


async def test_the_list_names_every_instance_the_pools_first(port, first):
    status, listed = await port.get("/instances")
    assert status == 200
    assert [item["instance_id"] for item in listed] == [first, MANAGER]
    expected = {
        "instance_id": first,
        "container": f"swarmhub-{first}",
        "state": "running",
        "lifecycle_state": "InService",
        "pool": "cpu",
        "private_ip": port.runtime.world.instances[first].private_ip,
    }
    assert expected.items() <= listed[0].items()
    assert (listed[1]["container"], listed[1]["pool"]) == ("manager", None)


async def test_a_spot_interruption_sets_the_deadline_120_seconds_ahead_by_default(port, first, asg):
    status, shown = await port.post(f"/instances/{first}/spot-interruption")
    assert status == 200
    assert port.runtime.world.instances[first].spot_deadline == asg.now + 120
    assert shown["spot_deadline"]
    await port.post(f"/instances/{first}/spot-interruption", {"in_seconds": 5})
    assert port.runtime.world.instances[first].spot_deadline == asg.now + 5


async def test_terminate_keeps_the_desired_capacity_unless_told_otherwise(port, first, asg):
    assert (await port.post(f"/instances/{first}/terminate"))[1]["lifecycle_state"] == "Terminating"
    assert port.runtime.world.groups[asg.group.name].desired == 1
    await port.post(f"/instances/{first}/terminate", {"decrement": True})
    assert port.runtime.world.groups[asg.group.name].desired == 0


async def test_kill_rebalance_partition_and_fault(port, first, asg):
    assert (await port.post(f"/instances/{first}/rebalance"))[0] == 200
    assert port.runtime.world.instances[first].rebalance_at == asg.now
    assert (await port.post(f"/instances/{first}/partition", {"seconds": 7}))[0] == 200
    assert port.launcher.partitions == [(first, 7)]
    assert (await port.post(f"/instances/{first}/metadata-fault", {"mode": "hang", "seconds": 9}))[0] == 200
    assert port.faults.current(first, asg.now).mode == "hang"
    assert (await port.post(f"/instances/{first}/kill"))[1]["state"] == "terminated"


async def test_an_unknown_instance_is_404_and_names_the_known(port, first):
    status, body = await port.post("/instances/i-0/kill")
    assert status == 404
    assert first in body["error"]
    assert MANAGER in body["error"]


@pytest.mark.parametrize(
    ("call", "body", "mentions"),
    [
        ("spot-interruption", {"in_seconds": -1}, ["in_seconds", "0 to 3600"]),
        ("spot-interruption", {"in_second": 1}, ["in_second", "in_seconds"]),
        ("partition", {"seconds": "soon"}, ["seconds"]),
        ("metadata-fault", {"mode": "418"}, ["mode", "401 | 404 | 429 | 500 | hang | garbage"]),
        ("metadata-fault", {}, ["mode"]),
        ("terminate", [], ["body", "decrement"]),
    ],
)
async def test_a_bad_body_is_400_and_names_field_and_allowed_values(port, first, call, body, mentions):
    status, answer = await port.post(f"/instances/{first}/{call}", body)
    assert status == 400
    for words in mentions:
        assert words in answer["error"]


@pytest.mark.parametrize("call", ["kill", "terminate", "spot-interruption", "rebalance", "partition"])
async def test_the_manager_is_not_ours_to_end(port, call):
    status, body = await port.post(f"/instances/{MANAGER}/{call}")
    assert status == 409
    assert MANAGER in body["error"]
    assert port.runtime.world.instances[MANAGER].state == "running"


async def test_killing_the_dead_is_refused(port, first):
    await port.post(f"/instances/{first}/kill")
    status, body = await port.post(f"/instances/{first}/kill")
    assert status == 409
    assert "terminated" in body["error"]


async def test_the_hook_log_tells_how_an_action_ended(port, first, asg):
    await port.post(f"/instances/{first}/terminate")
    asg.now += 2
    port.runtime.tick()
    (waiting,) = (await port.get("/hooks"))[1]
    assert (waiting["instance_id"], waiting["ended"], waiting["ended_by"]) == (first, None, None)
    asg.now += 400
    port.runtime.tick()
    (ended,) = [entry for entry in (await port.get("/hooks"))[1] if entry["instance_id"] == first]
    assert ended["ended_by"] == "heartbeat-timeout"
    assert ended["result"] == "ABANDON"
    assert ended["transition"] == "autoscaling:EC2_INSTANCE_TERMINATING"
    await port.runtime.close()


async def test_activities_are_newest_first(port, first):
    await port.post(f"/instances/{first}/terminate")
    activities = (await port.get("/activities"))[1]
    assert activities[0]["description"] == f"Terminating EC2 instance: {first}"
    assert activities[-1]["status"] == "Successful"


async def test_health_says_why_it_is_not_ready(port):
    port.health.reason = "bootstrap failed: x"
    assert await port.get("/health") == (503, {"ready": False, "reason": "bootstrap failed: x"})
    port.health.ready.set()
    assert await port.get("/health") == (200, {"ready": True})


async def test_people_get_a_list_of_calls_and_wrong_calls_a_pointer_to_it(port):
    assert await (await port.client.get("/")).text() == HELP
    status, body = await port.get("/nonsense")
    assert status == 404
    assert "GET /" in body["error"]
