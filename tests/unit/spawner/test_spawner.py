"""Start, poll and stop as JupyterHub calls them, against a swarm in memory."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from swarmhub.spawner import SwarmSpawner
from swarmhub.spawner import spawner as spawner_module
from swarmhub.spawner.errors import (
    CapacityFailure,
    ConfigFailure,
    CrashedFailure,
    EngineFailure,
    ImageFailure,
    MountFailure,
    NetworkFailure,
    RejectedFailure,
    SpawnException,
)
from tests.unit.spawner.conftest import LabHub
from tests.unit.spawner.fake_swarm import DIGEST, FakeSwarm
from tests.unit.spawner.waiting import until


async def views(hub: LabHub, number: int = 2) -> None:
    for _ in range(number):
        await hub.runtime.watch.newer_than(hub.runtime.watch.now(), within=5)


async def created(hub: LabHub) -> None:
    """Wait until the service is there."""
    await called(hub, "create_service")


async def nothing_left(hub: LabHub) -> None:
    """Wait until the swarm has no service and no secret any more."""
    await until(lambda: not hub.swarm.names and not hub.swarm.secrets())


def step_of(spawner: SwarmSpawner) -> str:
    return spawner._start.step.message if spawner._start else ""


async def called(hub: LabHub, name: str) -> None:
    """Wait until Docker was asked this."""
    await until(lambda: name in hub.swarm.calls)


def environment(body: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in body["task_template"]["ContainerSpec"]["Env"])


# Start


async def test_start_gives_the_address_of_the_running_task(hub: LabHub) -> None:
    spawner = hub.spawner()
    ip, port = await hub.start(spawner)
    assert (ip, port) == (hub.swarm.address(spawner.object_name), 8888)
    assert await spawner.poll() is None


async def test_the_service_is_what_course_and_user_ask_for(hub: LabHub, tmp_path: Path) -> None:
    spawner = hub.spawner("ana")
    await hub.start(spawner, course="stats")
    (body,) = hub.swarm.bodies
    container = body["task_template"]["ContainerSpec"]
    assert container["Image"] == f"registry:5000/notebook@{DIGEST}"
    assert container["Args"][-1] == "jupyterhub-singleuser"
    home = Path(container["Mounts"][0]["Source"])
    assert home.parent == tmp_path / "homes"
    assert container["User"].split(":")[0] == str(spawner.get_state()["uid"])
    assert body["labels"]["org.swarmhub.course"] == "stats"
    assert body["task_template"]["Resources"]["Limits"]["MemoryBytes"] == 2**31
    assert "node.labels.org.swarmhub.pool==cpu" in body["task_template"]["Placement"]["Constraints"]
    assert "/user/ana/api" in body["labels"]["org.swarmhub.health"]


async def test_the_server_listens_where_the_hub_looks_and_knows_the_hub(hub: LabHub) -> None:
    hub.traits.Spawner.hub_connect_url = "http://10.0.0.5:8081"
    await hub.start(hub.spawner("ana"))
    env = environment(hub.swarm.bodies[0])
    assert env["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:8888/user/ana/"
    assert env["JUPYTERHUB_API_URL"] == "http://10.0.0.5:8081/hub/api"
    assert env["MEM_LIMIT"] == str(2**30)
    assert env["HOME"] == "/home/jovyan"


@pytest.mark.parametrize("name", ["josé@exámple.edu", "学生" * 40, "x" * 80, "a b/c"])
async def test_any_user_name_can_have_a_server(hub: LabHub, name: str) -> None:
    spawner = hub.spawner(name)
    await hub.start(spawner)
    assert len(spawner.object_name) <= 63
    assert hub.swarm.bodies[0]["labels"]["org.swarmhub.user"] == name


async def test_two_servers_of_one_user_share_the_home_and_nothing_else(hub: LabHub) -> None:
    await hub.start(hub.spawner("ana"))
    await hub.start(hub.spawner("ana", "exam"))
    one, two = hub.swarm.bodies
    assert one["name"] != two["name"]
    mounts = [body["task_template"]["ContainerSpec"]["Mounts"][0]["Source"] for body in (one, two)]
    assert mounts[0] == mounts[1]


async def test_many_servers_of_one_course_ask_the_registry_once(hub: LabHub) -> None:
    hub.traits.SwarmSpawner.storage_root = ""
    await asyncio.gather(*(hub.start(hub.spawner(f"student{number}")) for number in range(10)))
    assert hub.swarm.calls.count("inspect_distribution") == 1
    assert len(hub.swarm.names) == 10


async def test_the_operators_own_settings_are_merged(hub: LabHub) -> None:
    async def labels(spawner: Any) -> dict[str, Any]:
        return {"labels": {"for": spawner.user.name}}

    hub.traits.SwarmSpawner.extra_container_spec = labels
    hub.traits.SwarmSpawner.extra_placement_spec = {"constraints": ["node.labels.disk==ssd"]}
    hub.traits.SwarmSpawner.mem_limit = "3G"
    hub.traits.SwarmSpawner.volumes = {"/srv/data": {"bind": "/data", "mode": "ro"}, "cache": "/cache"}
    hub.traits.SwarmSpawner.mounts = [{"source": "/srv/x", "target": "/x", "type": "bind"}]
    await hub.start(hub.spawner("ana"))
    template = hub.swarm.bodies[0]["task_template"]
    assert template["ContainerSpec"]["Labels"]["for"] == "ana"
    assert len(template["Placement"]["Constraints"]) == 3
    assert template["Resources"]["Limits"]["MemoryBytes"] == 3 * 2**30
    mounts = {mount["Target"]: mount for mount in template["ContainerSpec"]["Mounts"]}
    assert (mounts["/data"]["Type"], mounts["/data"]["ReadOnly"]) == ("bind", True)
    assert mounts["/cache"]["Type"] == "volume"
    assert mounts["/x"]["Source"] == "/srv/x"


async def test_without_a_configuration_file_it_is_configured_like_dockerspawner(swarm: FakeSwarm) -> None:
    hub = LabHub(swarm, None)
    hub.traits.SwarmSpawner.image = "notebook:1"
    hub.traits.SwarmSpawner.network_name = "notebooks"
    hub.traits.SwarmSpawner.cpu_limit = 2.0
    await hub.start(hub.spawner("ana"))
    template = swarm.bodies[0]["task_template"]
    assert template["ContainerSpec"]["Image"] == f"notebook@{DIGEST}"
    assert template["Resources"]["Limits"] == {"NanoCPUs": 2 * 10**9}
    assert template["Resources"]["Reservations"]["MemoryBytes"] > 0
    await hub.runtime.close()


async def test_a_leftover_of_the_same_name_is_gone_before_the_new_one_starts(hub: LabHub) -> None:
    first = hub.spawner()
    await hub.start(first)
    leftover = first.object_id
    hub.swarm.stops_at_once = False
    hub.prepare(first)
    start = asyncio.ensure_future(first.start())
    await until(lambda: hub.swarm.names == [])
    await views(hub, 3)
    assert len(hub.swarm.bodies) == 1, "the old container still runs"
    hub.swarm.end_containers()
    await start
    assert first.object_id != leftover
    assert len(hub.swarm.names) == 1


async def test_poll_is_alive_while_start_is_under_way(hub: LabHub) -> None:
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    await created(hub)
    assert await spawner.poll() is None
    assert spawner.object_name in hub.swarm.names
    hub.swarm.set_state(spawner.object_name, "running")
    await start


async def test_two_bad_attempts_do_not_fail_a_start(hub: LabHub) -> None:
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    await created(hub)
    hub.swarm.set_state(spawner.object_name, "rejected", message="no such image")
    hub.swarm.set_state(spawner.object_name, "failed", exit_code=1)
    await views(hub)
    hub.swarm.set_state(spawner.object_name, "running")
    assert await start == (hub.swarm.address(spawner.object_name), 8888)


async def test_three_rejections_fail_a_start_with_swarms_reason_and_remove_the_service(hub: LabHub) -> None:
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    await created(hub)
    for _ in range(3):
        hub.swarm.set_state(spawner.object_name, "rejected", message="invalid mount config")
    with pytest.raises(RejectedFailure, match="invalid mount config"):
        await start
    assert hub.swarm.names == []
    await views(hub)
    assert await spawner.poll() == 0


async def test_a_server_that_ends_at_once_has_crashed(hub: LabHub) -> None:
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    await created(hub)
    hub.swarm.set_state(spawner.object_name, "complete", exit_code=0)
    with pytest.raises(CrashedFailure):
        await start


async def test_waiting_for_a_seat_ends_with_a_capacity_failure(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "START_MARGIN", 1.0)
    hub = LabHub(FakeSwarm(), config)
    spawner = hub.spawner()
    spawner.start_timeout = 2
    hub.prepare(spawner)
    with pytest.raises(CapacityFailure, match="insufficient resources on 2 nodes"):
        await spawner.start()
    assert hub.swarm.names == []
    await hub.runtime.close()


async def test_a_seat_that_comes_up_late_is_taken(config: Any) -> None:
    hub = LabHub(FakeSwarm(), config)
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    await created(hub)
    hub.swarm.add_node("worker-1")
    assert (await start)[1] == 8888
    await hub.runtime.close()


async def test_a_cancelled_start_leaves_no_service(hub: LabHub) -> None:
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    await created(hub)
    assert len(hub.swarm.names) == 1
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await nothing_left(hub)


async def test_a_start_cancelled_while_docker_creates_the_service_leaves_none_either(hub: LabHub) -> None:
    spawner = hub.spawner()
    hub.prepare(spawner)
    hub.swarm.creating.clear()
    start = asyncio.ensure_future(spawner.start())
    await called(hub, "create_service")
    start.cancel()
    await asyncio.sleep(0)
    hub.swarm.creating.set()
    with pytest.raises(asyncio.CancelledError):
        await start
    await nothing_left(hub)


async def test_an_unknown_course_is_refused(hub: LabHub) -> None:
    with pytest.raises(ConfigFailure, match=r"There is no course 'nope' .*intro, stats"):
        await hub.start(hub.spawner(), course="nope")
    assert hub.swarm.bodies == []


async def test_an_unknown_image_is_refused_and_asked_for_again_the_next_time(hub: LabHub) -> None:
    hub.traits.SwarmSpawner.allowed_images = ["absent:1"]
    for _ in range(2):
        with pytest.raises(ImageFailure, match=r"absent:1.*manifest unknown"):
            await hub.start(hub.spawner(), image="absent:1")
    assert hub.swarm.calls.count("inspect_distribution") == 2


async def test_a_missing_network_is_named(hub: LabHub) -> None:
    hub.swarm.networks = ("other",)
    with pytest.raises(NetworkFailure, match="network notebooks not found"):
        await hub.start(hub.spawner())


async def test_a_home_that_cannot_be_made_fails_the_start_before_docker_is_asked(
    hub: LabHub, tmp_path: Path
) -> None:
    (tmp_path / "homes").symlink_to("/")
    with pytest.raises(MountFailure, match="homes"):
        await hub.start(hub.spawner())
    assert hub.swarm.bodies == []


async def test_docker_being_away_is_a_failure_the_student_can_read(hub: LabHub) -> None:
    hub.swarm.is_away = True
    with pytest.raises((EngineFailure, ImageFailure), match="the engine is away"):
        await hub.start(hub.spawner())


async def test_failures_are_jupyterhubs_own_kind(hub: LabHub) -> None:
    with pytest.raises(SpawnException) as raised:
        await hub.start(hub.spawner(), course=5)
    assert raised.value.reason == "config"
    assert raised.value.jupyterhub_message.startswith("'course' must be a name, not 5")


async def test_the_page_shows_growing_progress_with_the_worker(hub: LabHub) -> None:
    hub.swarm.runs_at_once = False
    spawner = hub.spawner()
    hub.prepare(spawner)
    start = asyncio.ensure_future(spawner.start())
    events: list[dict[str, Any]] = []
    async for event in spawner.progress():
        events.append(event)
        if "Starting on worker" in event["message"]:
            hub.swarm.set_state(spawner.object_name, "rejected", message="full disk")
            hub.swarm.set_state(spawner.object_name, "starting")
        if "Notebook server is starting on worker i-" in event["message"]:
            break
    percents = [event["progress"] for event in events]
    assert percents == sorted(percents)
    assert "home directory" in events[0]["message"]
    hub.swarm.set_state(spawner.object_name, "running")
    await start


# Poll


async def test_poll_of_a_server_never_started_is_stopped(hub: LabHub) -> None:
    assert await hub.spawner().poll() == 0


@pytest.mark.parametrize("state", ["new", "assigned", "accepted", "preparing", "ready", "starting"])
async def test_a_server_being_replaced_is_alive(hub: LabHub, state: str) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.runs_at_once = False
    hub.swarm.set_state(spawner.object_id, "failed", exit_code=1)
    hub.swarm.set_state(spawner.object_id, state)
    await views(hub)
    assert await spawner.poll() is None


async def test_a_server_on_a_dead_node_is_alive(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.runs_at_once = False
    for node in hub.swarm.nodes():
        hub.swarm.kill_node(node["ID"])
    await views(hub)
    assert await spawner.poll() is None


async def test_a_students_own_shutdown_is_exit_status_0_and_its_service_is_removed(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.set_state(spawner.object_id, "complete", exit_code=0)
    assert len(hub.swarm.names) == 1
    await views(hub)
    assert await spawner.poll() == 0
    await spawner.run_post_stop_hook()
    assert hub.swarm.names == []


async def test_a_server_that_swarm_gave_up_has_its_exit_code(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.give_up(spawner.object_id)
    await views(hub)
    assert await spawner.poll() == 137


async def test_a_service_removed_by_someone_is_gone(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.remove_service(spawner.object_id)
    await views(hub)
    assert await spawner.poll() == 0


async def test_poll_says_nothing_while_docker_is_away(hub: LabHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawner_module, "POLL_TIMEOUT", 0.03)
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.remove_service(spawner.object_id)
    await views(hub)
    hub.swarm.is_away = True
    # The last view says that it is gone, but that view is older than the question.
    assert await spawner.poll() is None


async def test_poll_right_after_a_hub_start_waits_for_the_first_list(hub: LabHub) -> None:
    await hub.start(hub.spawner())
    await hub.runtime.close()
    hub.restart()
    assert hub.runtime.watch.view is None
    assert await hub.spawner().poll() is None


async def test_poll_after_a_hub_start_with_docker_away_is_alive(
    hub: LabHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawner_module, "POLL_TIMEOUT", 0.03)
    await hub.start(hub.spawner())
    await hub.runtime.close()
    hub.restart()
    hub.swarm.is_away = True
    assert await hub.spawner().poll() is None


async def test_poll_never_raises(hub: LabHub, monkeypatch: pytest.MonkeyPatch) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)

    def broken(*_: Any) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(hub.runtime.watch, "follow", broken)
    assert await spawner.poll() is None


# Stop


async def test_stop_removes_the_service_and_waits_for_the_container(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.stops_at_once = False
    stop = asyncio.ensure_future(spawner.stop())
    await views(hub, 3)
    assert hub.swarm.names == []
    assert not stop.done()
    hub.swarm.end_containers()
    await asyncio.wait_for(stop, 5)


async def test_stop_does_not_wait_for_ever(hub: LabHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawner_module, "STOP_TIMEOUT", 0.03)
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.stops_at_once = False
    await asyncio.wait_for(spawner.stop(), 5)


async def test_stop_now_does_not_wait(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.stops_at_once = False
    await asyncio.wait_for(spawner.stop(now=True), 5)
    assert hub.swarm.names == []


async def test_stop_on_a_dead_node_does_not_wait_for_it(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.kill_node(hub.swarm.newest(spawner.object_id)["NodeID"])
    await asyncio.wait_for(spawner.stop(), 5)


async def test_stopping_what_is_gone_is_fine(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    hub.swarm.remove_service(spawner.object_id)
    await spawner.stop()


async def test_nobody_follows_a_stopped_server(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner)
    await spawner.stop()
    spawner.clear_state()
    assert hub.runtime.watch._followers == {}


# State


async def test_a_restarted_hub_knows_the_server_and_what_it_is_made_of(hub: LabHub) -> None:
    before = hub.spawner()
    await hub.start(before, course="stats")
    await hub.runtime.close()
    hub.restart()
    after = hub.spawner()
    assert (after.object_id, after.object_name) == (before.object_id, before.object_name)
    assert (after.course_name, after.image_digest, after.home) == (
        "stats",
        before.image_digest,
        before.home,
    )
    assert after.get_state() == before.get_state()
    assert after.get_state()["uid"] == (20000 if os.geteuid() == 0 else os.geteuid())


async def test_of_a_stopped_server_only_the_home_and_the_choice_are_remembered(hub: LabHub) -> None:
    spawner = hub.spawner()
    await hub.start(spawner, course="stats")
    await spawner.stop()
    spawner.clear_state()
    state = spawner.get_state()
    assert set(state) == {"home", "uid", "gid", "last_choice"}
    assert state["last_choice"]["course"] == "stats"


async def test_a_home_stays_its_students_whatever_it_would_be_called_today(
    hub: LabHub, tmp_path: Path
) -> None:
    spawner = hub.spawner()
    (tmp_path / "homes" / "by-hand").mkdir(parents=True)
    os.chown(tmp_path / "homes" / "by-hand", 20007 if os.geteuid() == 0 else -1, -1)
    spawner.load_state({"home": "/elsewhere/homes/by-hand", "uid": 20007, "gid": 100})
    await hub.start(spawner)
    assert spawner.home.path == str(tmp_path / "homes" / "by-hand")


async def test_courses_are_offered_in_a_form_that_refuses_what_it_does_not_offer(hub: LabHub) -> None:
    spawner = hub.spawner()
    assert "Statistics" in await spawner.get_options_form()
    assert spawner.run_options_from_form({"course": ["stats"]}) == {"course": "stats"}
    with pytest.raises(ConfigFailure, match="intro, stats"):
        spawner.run_options_from_form({"course": ["forged"]})


async def test_the_last_word_on_a_service_has_the_operators_hook(hub: LabHub) -> None:
    async def hook(spawner: Any, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "labels": {**body["labels"], "who": spawner.user.name}}

    hub.traits.SwarmSpawner.modify_service_hook = hook
    await hub.start(hub.spawner("ana"))
    assert hub.swarm.bodies[0]["labels"]["who"] == "ana"


# Turns


async def test_without_a_seat_two_starts_wait_in_swarm_and_the_others_in_the_queue(config: Any) -> None:
    hub = LabHub(FakeSwarm(), config)
    spawners = [hub.spawner(f"student{number}") for number in range(5)]
    starts = [asyncio.ensure_future(hub.start(spawner)) for spawner in spawners[:2]]
    await until(lambda: "no free seat" in step_of(spawners[1]))
    starts += [asyncio.ensure_future(hub.start(spawner)) for spawner in spawners[2:]]
    async with asyncio.timeout(5):
        async for event in spawners[4].progress():
            if "number 5 in the queue" in event["message"]:
                break
    assert "no free seat" in event["message"]
    assert len(hub.swarm.names) == 2
    hub.swarm.add_node("worker-1", instance="i-1")
    await asyncio.wait_for(asyncio.gather(*starts), 10)
    assert len(hub.swarm.names) == 5
    await hub.runtime.close()


async def test_what_is_only_preferred_of_a_machine_is_given_up_in_time(config: Any) -> None:
    swarm = FakeSwarm()
    swarm.suits = lambda task, _node: "node.labels.disk==nvme" not in str(task["Spec"]["Placement"])
    swarm.add_node("worker-1", instance="i-1")
    course = config.courses["intro"].model_copy(update={"prefer": {"disk": "nvme"}, "relax_after": 0.2})
    hub = LabHub(swarm, config.model_copy(update={"courses": {"intro": course}}))
    await asyncio.wait_for(hub.start(hub.spawner()), 10)
    assert "node.labels.disk==nvme" in str(swarm.bodies[0]["task_template"]["Placement"])
    await hub.runtime.close()
