"""The Docker edge against a small engine over HTTP."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from swarmhub.controller.swarm import JoinSecret, Swarm, SwarmError
from swarmhub.registries import Credentials, PasswordRegistry
from swarmhub.spawner.states import TaskState
from tests.unit.controller.engine import Engine, serving, task_json
from tests.unit.controller.world import NOW


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def swarm(engine: Engine) -> Iterator[Swarm]:
    with serving(engine) as url:
        yield Swarm("lab", lambda: NOW, lambda: docker.APIClient(url, version="1.44", timeout=5))


async def test_a_look_at_the_swarm(engine: Engine, swarm: Swarm) -> None:
    view = await swarm.snapshot()
    worker, manager = view.nodes
    assert (worker.id, worker.hostname, worker.role, worker.availability) == (
        "node1",
        "host1",
        "worker",
        "pause",
    )
    assert (worker.status, worker.address, worker.claim, worker.version) == ("ready", "10.0.0.1", "i-1", 10)
    assert (manager.role, manager.address) == ("manager", "10.0.0.9")
    (server,) = view.servers
    assert (server.name, server.force_update, server.update_state) == ("lab-ada", 3, "completed")
    assert server.image == "a@sha256:1"
    (task,) = server.tasks
    assert (task.node_id, task.state, task.desired, task.force_update) == ("node1", "running", "running", 3)
    assert (task.created_at.second, task.created_at.microsecond) == (0, 123456)


async def test_only_the_hubs_own_servers_are_asked_for_and_nodes_before_tasks(
    engine: Engine, swarm: Swarm
) -> None:
    await swarm.snapshot()
    assert [path for _, path, _ in engine.requests] == ["nodes", "services", "tasks"]
    for _, _, query in engine.requests[1:]:
        assert json.loads(query["filters"][0]) == {"label": ["org.swarmhub.hub=lab"]}


async def test_a_service_without_a_user_is_no_server(engine: Engine, swarm: Swarm) -> None:
    del engine.services["service1"]["Spec"]["Labels"]["org.swarmhub.user"]
    assert (await swarm.snapshot()).servers == ()


async def test_a_task_state_nobody_knows_is_not_an_end(engine: Engine, swarm: Swarm) -> None:
    engine.tasks = [task_json(Status={"State": "hibernating"}, DesiredState="shutdown")]
    (task,) = (await swarm.snapshot()).servers[0].tasks
    assert (task.state, task.is_alive) == (TaskState.UNKNOWN, True)


async def test_setting_a_node_keeps_everything_else(engine: Engine, swarm: Swarm) -> None:
    await swarm.set_node("node1", "active", {"org.swarmhub.pool": "cpu", "org.swarmhub.reason": None})
    assert engine.nodes["node1"]["Spec"] == {
        "Role": "worker",
        "Availability": "active",
        "Labels": {"theirs": "kept", "org.swarmhub.pool": "cpu"},
    }


async def test_setting_a_node_reads_its_labels_again_when_somebody_else_wrote_first(
    engine: Engine, swarm: Swarm
) -> None:
    def interfere() -> None:
        engine.before_update = lambda: None
        engine.nodes["node1"]["Spec"]["Labels"]["just"] = "set"
        engine.nodes["node1"]["Version"]["Index"] += 1

    engine.before_update = interfere
    await swarm.set_node("node1", "pause", {"org.swarmhub.reason": "why"})
    assert engine.nodes["node1"]["Spec"]["Labels"] == {
        "theirs": "kept",
        "just": "set",
        "org.swarmhub.reason": "why",
    }


async def test_a_node_that_is_as_it_should_be_is_not_written(engine: Engine, swarm: Swarm) -> None:
    await swarm.set_node("node1", "pause", {"theirs": "kept", "org.swarmhub.reason": None})
    assert [method for method, _, _ in engine.requests] == ["GET"]


async def test_a_move_changes_the_counter_and_nothing_else(engine: Engine, swarm: Swarm) -> None:
    before = copy.deepcopy(engine.services["service1"]["Spec"])
    assert await swarm.force_update("service1", 3)
    after = engine.services["service1"]["Spec"]
    assert after["TaskTemplate"].pop("ForceUpdate") == before["TaskTemplate"].pop("ForceUpdate") + 1
    assert after == before
    assert engine.requests[-1][2] == {"version": ["20"], "registryAuthFrom": ["spec"]}


async def test_a_move_puts_the_health_check_of_the_label_in_place(engine: Engine, swarm: Swarm) -> None:
    check = {"Test": ["CMD-SHELL", "true"], "Interval": 1}
    engine.services["service1"]["Spec"]["Labels"]["org.swarmhub.health"] = json.dumps(check)
    assert await swarm.force_update("service1", 3)
    container = engine.services["service1"]["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert container["Healthcheck"] == check
    assert container["Image"] == "a@sha256:1"


async def test_a_move_that_was_asked_for_meanwhile_is_not_asked_for_twice(
    engine: Engine, swarm: Swarm
) -> None:
    assert await swarm.force_update("service1", 3)
    assert not await swarm.force_update("service1", 3)
    assert engine.services["service1"]["Spec"]["TaskTemplate"]["ForceUpdate"] == 4


async def test_a_move_carries_the_registrys_login_of_now(
    engine: Engine, swarm: Swarm, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("fresh")
    swarm.credentials = Credentials(
        [PasswordRegistry("docker.io", "hub", tmp_path / "password")], lambda: NOW
    )
    assert await swarm.force_update("service1", 3)
    assert json.loads(base64.urlsafe_b64decode(engine.logins[-1] or ""))["password"] == "fresh"


async def test_a_node_is_removed_by_force_and_removing_it_twice_is_no_error(
    engine: Engine, swarm: Swarm
) -> None:
    await swarm.remove_node("node1")
    assert engine.requests[-1] == ("DELETE", "nodes/node1", {"force": ["True"]})
    await swarm.remove_node("node1")
    assert not await swarm.has_node("node1")
    assert await swarm.has_node("node9")


async def test_the_join_secret(swarm: Swarm) -> None:
    assert await swarm.join_secret() == JoinSecret("cluster0", "SWMTKN-w")


async def test_an_engine_that_refuses_or_is_away_is_one_kind_of_error(engine: Engine, swarm: Swarm) -> None:
    engine.down = True
    with pytest.raises(SwarmError, match="no leader"):
        await swarm.snapshot()
    with pytest.raises(SwarmError):
        await swarm.has_node("node1")
    away = Swarm("lab", lambda: NOW, lambda: docker.APIClient("http://127.0.0.1:9", version="1.44"))
    with pytest.raises(SwarmError):
        await away.snapshot()


async def test_an_answer_nobody_understands_is_an_error_too(engine: Engine, swarm: Swarm) -> None:
    del engine.nodes["node1"]["Spec"]
    with pytest.raises(SwarmError, match="unexpected"):
        await swarm.snapshot()
