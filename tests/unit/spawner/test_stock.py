"""dockerspawner's settings with our class: what works, what there is instead, what is refused."""

from typing import Any

import dockerspawner
import pytest
from traitlets.config import Config

from swarmhub.spawner import SwarmSpawner
from swarmhub.spawner.stock import OURS, REFUSALS, WORKS, RefusedSettingsError, unsupported
from tests.unit.spawner.conftest import LabHub
from tests.unit.spawner.fake_swarm import FakeSwarm


class CampusSpawner(SwarmSpawner):
    """Somebody's own."""


STOCK = {
    trait
    for spawner in (dockerspawner.SwarmSpawner, dockerspawner.DockerSpawner)
    for trait in spawner.class_trait_names(config=True)
}


def told(section: str, trait: str, value: Any) -> list[str]:
    config = Config()
    config[section][trait] = value
    return unsupported(config)


def refused(section: str, trait: str, value: Any) -> str:
    with pytest.raises(RefusedSettingsError) as raised:
        told(section, trait, value)
    (sentence,) = raised.value.sentences
    return sentence


def test_each_of_dockerspawners_traits_is_known_and_nothing_else() -> None:
    assert WORKS | OURS.keys() == STOCK


def test_no_trait_both_works_and_has_something_instead() -> None:
    assert not WORKS & OURS.keys()


def test_what_works_is_a_setting_of_our_class_too() -> None:
    assert set(SwarmSpawner.class_trait_names(config=True)) >= WORKS


def test_refusals_are_about_settings_that_exist() -> None:
    assert {refusal.trait for refusal in REFUSALS} <= STOCK | {"internal_ssl"}


@pytest.mark.parametrize("trait", sorted(OURS))
def test_a_setting_without_effect_is_named_with_what_there_is_instead(trait: str) -> None:
    (sentence,) = told("DockerSpawner", trait, object())
    assert sentence.startswith(f"DockerSpawner.{trait} has no effect: ")
    assert len(sentence.split()) >= 6
    assert sentence.endswith(".")
    assert ".." not in sentence


@pytest.mark.parametrize("trait", sorted(WORKS))
def test_a_setting_that_works_is_not_mentioned(trait: str) -> None:
    assert told("SwarmSpawner", trait, {"key": "value"}) == []


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("remove", True),
        ("remove_containers", True),
        ("pull_policy", "Skip"),
        ("ip", "0.0.0.0"),
        ("post_start_cmd", False),
        ("use_internal_ip", True),
        ("use_internal_hostname", False),
    ],
)
def test_a_setting_that_asks_for_what_happens_anyway_is_not_mentioned(trait: str, value: object) -> None:
    assert told("DockerSpawner", trait, value) == []


@pytest.mark.parametrize(
    ("trait", "value", "instead"),
    [
        ("remove", False, "belongs into a home or a volume"),
        ("pull_policy", "always", "SwarmSpawner.pin_image"),
        ("ip", "127.0.0.1", "all addresses"),
        ("use_internal_ip", False, "SwarmSpawner.network_name"),
        ("use_internal_ip", 1, "SwarmSpawner.network_name"),
        ("extra_host_config", {"auto_remove": True}, "SwarmSpawner.extra_container_spec"),
        ("extra_host_config", print, "SwarmSpawner.extra_container_spec"),
    ],
)
def test_other_values_of_it_are_answered(trait: str, value: object, instead: str) -> None:
    (sentence,) = told("SwarmSpawner", trait, value)
    assert instead in sentence


def test_the_hubs_settings_of_the_same_name_are_not_meant() -> None:
    assert told("JupyterHub", "ip", "10.0.0.1") == []


def test_sections_of_other_spawners_are_not_meant_and_those_of_a_subclass_can_be() -> None:
    config = Config()
    config.CampusSpawner.prefix = "campus"
    assert unsupported(config) == []
    (sentence,) = unsupported(config, [ancestor.__name__ for ancestor in CampusSpawner.__mro__])
    assert sentence.startswith("CampusSpawner.prefix has no effect")


@pytest.mark.parametrize(
    ("section", "trait", "value", "instead"),
    [
        ("JupyterHub", "internal_ssl", True, "--opt encrypted"),
        (
            "DockerSpawner",
            "extra_host_config",
            {"security_opt": ["no-new-privileges"]},
            "extra_container_spec",
        ),
        ("DockerSpawner", "extra_host_config", {"cap_drop": ["ALL"], "links": {}}, "extra_container_spec"),
        ("SwarmSpawner", "extra_task_spec", {"networks": ["exam"]}, "SwarmSpawner.network_name only"),
        ("DockerSpawner", "network_name", "bridge", "--driver overlay"),
        ("SwarmSpawner", "network_name", "host", "--driver overlay"),
    ],
)
def test_what_would_weaken_a_protection_unseen_is_refused(
    section: str, trait: str, value: object, instead: str
) -> None:
    sentence = refused(section, trait, value)
    assert sentence.startswith(f"{section}.{trait}: ")
    assert instead in sentence


def test_a_value_that_is_only_added_to_is_refused_too() -> None:
    config = Config()
    config.DockerSpawner.extra_host_config.update({"read_only": True})
    with pytest.raises(RefusedSettingsError, match="these restrictions would not hold"):
        unsupported(config)


@pytest.mark.parametrize(
    ("section", "trait", "value"),
    [
        ("JupyterHub", "internal_ssl", False),
        ("SwarmSpawner", "extra_task_spec", {"restart_policy": {"condition": "none"}}),
        ("SwarmSpawner", "network_name", "notebooks"),
        ("SwarmSpawner", "network_name", ""),
    ],
)
def test_other_values_are_not_refused(section: str, trait: str, value: object) -> None:
    assert told(section, trait, value) == []


def test_all_that_is_refused_is_said_at_once() -> None:
    config = Config()
    config.JupyterHub.internal_ssl = True
    config.SwarmSpawner.network_name = "host"
    with pytest.raises(RefusedSettingsError) as raised:
        unsupported(config)
    assert len(raised.value.sentences) == 2


def test_two_classes_of_one_name_are_told_once() -> None:
    names = [ancestor.__name__ for ancestor in SwarmSpawner.__mro__]
    config = Config()
    config.SwarmSpawner.prefix = "campus"
    assert names.count("SwarmSpawner") == 2
    assert len(unsupported(config, names)) == 1


async def test_a_configuration_for_dockerspawner_makes_the_same_server(swarm: FakeSwarm) -> None:
    hub = LabHub(swarm, None)
    traits = hub.traits
    traits.Spawner.args = ["--collaborative"]
    traits.Spawner.environment = {"LANG": "de_DE.UTF-8"}
    traits.Spawner.notebook_dir = "/home/jovyan/work"
    traits.DockerSpawner.container_image = "notebook:1"
    traits.DockerSpawner.network_name = "notebooks"
    traits.DockerSpawner.port = 9999
    traits.DockerSpawner.mem_limit = lambda spawner: "2G" if spawner.user.name == "ana" else "1G"
    traits.DockerSpawner.volumes = {"home-{username}": "/home/jovyan/work"}
    traits.DockerSpawner.read_only_volumes = {"/srv/{username}": "/srv/own"}
    traits.SwarmSpawner.cpu_guarantee = 0.5
    traits.SwarmSpawner.volume_driver = "nfs"
    traits.SwarmSpawner.volume_driver_options = {"share": "data"}
    traits.SwarmSpawner.extra_container_spec = {"hostname": "notebook-{username}"}
    traits.SwarmSpawner.extra_placement_spec = {"constraints": ["node.labels.disk==ssd"]}
    traits.SwarmSpawner.extra_create_kwargs = {"labels": {"faculty": "physics"}}
    assert unsupported(traits) == []

    _, port = await hub.start(hub.spawner("ana"))
    await hub.runtime.close()

    (body,) = swarm.bodies
    task = body["task_template"]
    container = task["ContainerSpec"]
    environment = dict(entry.split("=", 1) for entry in container["Env"])
    mounts = {mount["Target"]: mount for mount in container["Mounts"]}
    assert port == 9999
    assert container["Image"].startswith("notebook@")
    assert "--collaborative" in container["Args"]
    assert environment["LANG"] == "de_DE.UTF-8"
    assert environment["JUPYTERHUB_ROOT_DIR"] == "/home/jovyan/work"
    assert environment["JUPYTERHUB_SERVICE_URL"].startswith("http://0.0.0.0:9999/")
    assert task["Resources"]["Limits"]["MemoryBytes"] == 2 * 2**30
    assert task["Resources"]["Reservations"]["NanoCPUs"] == 5 * 10**8
    assert mounts["/home/jovyan/work"]["Source"] == "home-ana"
    assert mounts["/home/jovyan/work"]["VolumeOptions"]["DriverConfig"]["Name"] == "nfs"
    assert (mounts["/srv/own"]["Source"], mounts["/srv/own"]["ReadOnly"]) == ("/srv/ana", True)
    assert container["Hostname"] == "notebook-ana"
    assert "node.labels.disk==ssd" in task["Placement"]["Constraints"]
    assert body["labels"]["faculty"] == "physics"


async def test_a_server_that_dockerspawner_started_is_found_under_its_name_after_the_change(
    hub: LabHub,
) -> None:
    spawner = hub.spawner("ana")
    spawner.load_state({"object_id": "abc", "object_name": "jupyter-ana"})
    assert (spawner.object_id, spawner.object_name) == ("abc", "jupyter-ana")
