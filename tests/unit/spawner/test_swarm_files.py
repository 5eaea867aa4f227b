"""Configs and secrets in a swarm that is played by a dictionary."""

import asyncio
import itertools
import re
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from docker.errors import APIError

from swarmhub.spawner.docker_calls import DockerApi, DockerCalls
from swarmhub.spawner.swarm_files import (
    FileContent,
    SwarmFiles,
    config_name,
    create_token_secret,
    referenced_configs,
    remove_secret,
)
from tests.unit.spawner.fake_swarm import api_error

PASSWD = FileContent("passwd", "/etc/passwd", "root:x:0:0\n", is_templated=True)
GRACE = 300.0


class Objects:
    """The engine's configs and secrets. ``used``: ids that a service refers to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.items: dict[str, dict[str, Any]] = {}
        self.used: set[str] = set()
        self.calls: list[str] = []
        self.hides = 0
        """So many lists come back empty, as before another process creates its config."""
        self.status = 0
        """If set, the engine fails with it."""
        self.removal_asked = threading.Event()
        self.removing = threading.Event()
        self.removing.set()
        """Cleared by a test, removals wait."""
        self._count = itertools.count(1)

    def configs(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        self._note("configs")
        if self.hides:
            self.hides -= 1
            return []
        names, labels = filters.get("name", [""]), filters.get("label", [])
        return [
            item
            for item in self.items.values()
            if any(item["Spec"]["Name"].startswith(name) for name in names)
            and all(f"{key}={value}" in labels for key, value in item["Spec"]["Labels"].items() if labels)
        ]

    def create_config(
        self, name: str, data: bytes, labels: dict[str, str], templating: dict[str, str] | None
    ) -> dict[str, Any]:
        return self._create("create_config", name, data, labels, templating)

    def create_secret(self, name: str, data: bytes, labels: dict[str, str]) -> dict[str, Any]:
        return self._create("create_secret", name, data, labels, None)

    def remove_config(self, config_id: str) -> bool:
        return self._remove("remove_config", config_id)

    def remove_secret(self, secret_id: str) -> bool:
        return self._remove("remove_secret", secret_id)

    def named(self, name: str) -> dict[str, Any]:
        return next(item for item in self.items.values() if item["Spec"]["Name"] == name)

    def _create(self, call: str, name: str, data: bytes, labels: dict[str, str], templating: Any) -> Any:
        self._note(call)
        if any(item["Spec"]["Name"] == name for item in self.items.values()):
            raise api_error(409, f"config {name} already exists")
        item = {
            "ID": f"id{next(self._count)}",
            "CreatedAt": f"{datetime.fromtimestamp(self.now, UTC):%Y-%m-%dT%H:%M:%S}.123456789Z",
            "Spec": {"Name": name, "Labels": labels, "Data": data, "Templating": templating},
        }
        self.items[item["ID"]] = item
        return {"ID": item["ID"]}

    def _remove(self, call: str, object_id: str) -> bool:
        self._note(call)
        self.removal_asked.set()
        self.removing.wait(5)
        if object_id not in self.items:
            raise api_error(404, f"{object_id} not found")
        if object_id in self.used:
            raise api_error(400, f"{object_id} is in use by the following service: lab-ana")
        del self.items[object_id]
        return True

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.status:
            raise api_error(self.status, "no")


@pytest.fixture
def objects() -> Objects:
    return Objects()


@pytest.fixture
async def docker(objects: Objects) -> AsyncIterator[DockerCalls]:
    calls = DockerCalls(lambda: cast(DockerApi, objects), threads=2, name="test")
    yield calls
    calls.close()


@pytest.fixture
def files(docker: DockerCalls, objects: Objects) -> SwarmFiles:
    return SwarmFiles(docker, "lab", lambda: objects.now)


def service(*config_ids: str) -> dict[str, Any]:
    configs = [{"ConfigID": config_id} for config_id in config_ids]
    return {"Spec": {"TaskTemplate": {"ContainerSpec": {"Configs": configs or None}}}}


async def test_a_hundred_starts_at_once_make_one_config(files: SwarmFiles, objects: Objects) -> None:
    made = await asyncio.gather(*(files.ensure(PASSWD) for _ in range(100)))
    assert len(set(made)) == 1
    assert objects.calls == ["configs", "create_config"]
    spec = objects.items[made[0].config_id]["Spec"]
    assert spec["Name"] == made[0].config_name
    assert spec["Data"] == b"root:x:0:0\n"
    assert spec["Labels"] == {"org.swarmhub.hub": "lab"}
    assert spec["Templating"] == {"Name": "golang"}
    assert made[0].target == "/etc/passwd"


async def test_a_plain_file_is_not_expanded(files: SwarmFiles, objects: Objects) -> None:
    made = await files.ensure(FileContent("group", "/etc/group", "{{x"))
    assert objects.items[made.config_id]["Spec"]["Templating"] is None


async def test_a_restarted_hub_finds_its_config_again(docker: DockerCalls, objects: Objects) -> None:
    before = await SwarmFiles(docker, "lab", lambda: objects.now).ensure(PASSWD)
    after = await SwarmFiles(docker, "lab", lambda: objects.now).ensure(PASSWD)
    assert before == after
    assert objects.calls.count("create_config") == 1


async def test_a_config_whose_name_only_starts_the_same_is_another_one(
    files: SwarmFiles, objects: Objects
) -> None:
    other = objects.create_config(config_name("lab", PASSWD) + "x", b"", {}, None)
    assert (await files.ensure(PASSWD)).config_id != other["ID"]


async def test_two_hub_processes_that_create_at_once_share_the_config(
    files: SwarmFiles, objects: Objects
) -> None:
    objects.create_config(config_name("lab", PASSWD), b"root", {"org.swarmhub.hub": "lab"}, None)
    objects.hides = 1
    made = await files.ensure(PASSWD)
    assert made.config_id == "id1"


async def test_an_engine_that_keeps_refusing_is_not_asked_for_ever(
    files: SwarmFiles, objects: Objects
) -> None:
    objects.create_config(config_name("lab", PASSWD), b"root", {}, None)
    objects.hides = 99
    with pytest.raises(APIError, match="already exists"):
        await files.ensure(PASSWD)
    assert objects.calls.count("configs") == 3


async def test_a_failure_is_everybodys_who_waits_and_is_not_remembered(
    files: SwarmFiles, objects: Objects
) -> None:
    objects.status = 500
    made = await asyncio.gather(*(files.ensure(PASSWD) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(result, APIError) for result in made)
    assert objects.calls == ["configs"]
    objects.status = 0
    assert (await files.ensure(PASSWD)).config_id == "id1"


async def test_a_cancelled_start_takes_nothing_from_the_others(files: SwarmFiles, objects: Objects) -> None:
    first, second = [asyncio.create_task(files.ensure(PASSWD)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).config_id == "id1"
    assert objects.calls == ["configs", "create_config"]


async def test_nothing_is_handed_out_while_it_is_being_swept(
    docker: DockerCalls, files: SwarmFiles, objects: Objects
) -> None:
    await files.ensure(PASSWD)
    objects.now += GRACE + 1
    objects.removing.clear()
    sweep = asyncio.create_task(files.sweep([], GRACE))
    assert await asyncio.to_thread(objects.removal_asked.wait, 5)
    start = asyncio.create_task(files.ensure(PASSWD))
    await asyncio.sleep(0.01)
    assert not start.done()
    objects.removing.set()
    assert await sweep
    assert (await start).config_id in objects.items


async def test_a_forgotten_config_is_looked_up_and_made_again(files: SwarmFiles, objects: Objects) -> None:
    assert files.forget() is False
    first = await files.ensure(PASSWD)
    objects.items.clear()
    assert await files.ensure(PASSWD) == first
    assert files.forget() is True
    assert (await files.ensure(PASSWD)).config_id != first.config_id


def test_names_tell_content_templating_and_hub_apart() -> None:
    names = {
        config_name(hub, FileContent("passwd", "/x", content, templated))
        for hub, content, templated in itertools.product(("lab", "lab2"), ("a", "b"), (True, False))
    }
    assert len(names) == 8


@pytest.mark.parametrize("hub", ["lab", "x" * 63, "My Läb!", "-", "\udcff"])
def test_config_names_are_ones_that_swarm_accepts(hub: str) -> None:
    name = config_name(hub, FileContent("jupyter-config-" * 9, "/x", "content"))
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?", name)
    assert len(name) <= 64


async def test_only_what_no_service_needs_any_more_is_swept(files: SwarmFiles, objects: Objects) -> None:
    used, unused = await files.ensure(PASSWD), await files.ensure(FileContent("old", "/x", "old"))
    foreign = objects.create_config("other-hub", b"", {"org.swarmhub.hub": "other"}, None)["ID"]
    objects.now += GRACE + 1
    assert await files.sweep([service(), service(used.config_id)], GRACE) == (unused.config_name,)
    assert objects.items.keys() == {used.config_id, foreign}


async def test_young_configs_and_those_of_a_start_under_way_are_left(
    files: SwarmFiles, docker: DockerCalls, objects: Objects
) -> None:
    wanted = await files.ensure(PASSWD)
    objects.now += GRACE + 1
    young = await files.ensure(FileContent("young", "/x", "y"))
    await files.ensure(PASSWD)
    assert await files.sweep([], GRACE) == ()
    # A hub that has just started knows of no uses; the engine's date still tells what is young.
    assert await SwarmFiles(docker, "lab", lambda: objects.now).sweep([], GRACE) == (wanted.config_name,)
    assert objects.items.keys() == {young.config_id}


async def test_a_swept_config_is_made_again_when_it_is_needed(files: SwarmFiles, objects: Objects) -> None:
    await files.ensure(PASSWD)
    objects.now += GRACE + 1
    assert await files.sweep([], GRACE)
    made = await files.ensure(PASSWD)
    assert objects.named(made.config_name)["ID"] == made.config_id


async def test_a_config_that_a_service_took_meanwhile_stays(files: SwarmFiles, objects: Objects) -> None:
    made = await files.ensure(PASSWD)
    objects.used.add(made.config_id)
    objects.now += GRACE + 1
    assert await files.sweep([], GRACE) == ()
    assert await files.ensure(PASSWD) == made


def test_services_without_configs_refer_to_none() -> None:
    plugin = {"Spec": {"TaskTemplate": {"PluginSpec": {}}}}
    assert referenced_configs([service(), plugin, service("a", "b"), service("b")]) == {"a", "b"}


async def test_each_start_has_a_secret_of_its_own(docker: DockerCalls, objects: Objects) -> None:
    labels = {"org.swarmhub.user": "ana"}
    one, two = [await create_token_secret(docker, "lab-ana", "t0k3n", labels) for _ in range(2)]
    assert one.name != two.name
    assert re.fullmatch(r"lab-ana-[0-9a-f]{8}", one.name)
    spec = objects.items[one.id]["Spec"]
    assert (spec["Data"], spec["Labels"]) == (b"t0k3n\n", labels)


async def test_removing_a_secret_says_whether_it_is_gone(docker: DockerCalls, objects: Objects) -> None:
    secret = await create_token_secret(docker, "lab-ana", "t", {})
    objects.used.add(secret.id)
    assert await remove_secret(docker, secret.id) is False
    objects.used.clear()
    assert await remove_secret(docker, secret.id) is True
    assert await remove_secret(docker, secret.id) is True
    assert not objects.items


async def test_an_engine_in_trouble_is_no_evidence_about_a_secret(
    docker: DockerCalls, objects: Objects
) -> None:
    objects.status = 500
    with pytest.raises(APIError):
        await remove_secret(docker, "id1")
