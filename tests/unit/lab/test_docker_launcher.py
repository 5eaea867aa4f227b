"""Instance templates in Docker's words, and the order of calls to the engine."""

from __future__ import annotations

import json

import pytest
from docker.errors import NotFound
from docker.types import ContainerConfig, HostConfig

from lab.cloud.docker_launcher import DockerLauncher, partition_script
from lab.cloud.instance_template import (
    container_options,
    host_options,
    load,
    unconfine,
)

V1 = """
x-instance: &instance
  command: [/lib/systemd/systemd, systemd.unified_cgroup_hierarchy=0]
  cap_add: [ALL]
  cap_drop: [SYS_RESOURCE]
  security_opt: [seccomp=unconfined, apparmor=unconfined, systempaths=unconfined]
  device_cgroup_rules: ["a *:* rwm"]
  cgroup: host
  tmpfs: ["/run:exec", "/run/lock"]
  stop_signal: SIGRTMIN+3
x-worker:
  <<: *instance
  image: swarmhub/worker
  network: lab_swarmhub
  imds_network: lab_metadata
  volumes: ["/sys/fs/cgroup:/sys/fs/cgroup:rw", "lab_efs:/srv/swarmhub"]
  mem_limit: 2g
  environment: {A: b}
services: {}
"""


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "instance.yaml"
    path.write_text(V1)
    return load(path)


@pytest.fixture
def instance(asg):
    asg.in_service(1)
    return asg.members[0]


def test_the_host_config_is_what_compose_would_make(template):
    made = HostConfig(version="1.44", **host_options(template))
    unconfine(template, made)
    assert made["NetworkMode"] == "lab_swarmhub"
    assert made["Binds"] == ["/sys/fs/cgroup:/sys/fs/cgroup:rw", "lab_efs:/srv/swarmhub"]
    assert (made["CapAdd"], made["CapDrop"]) == (["ALL"], ["SYS_RESOURCE"])
    assert made["SecurityOpt"] == ["seccomp=unconfined", "apparmor=unconfined"]
    assert made["MaskedPaths"] == []
    assert made["ReadonlyPaths"] == []
    assert made["DeviceCgroupRules"] == ["a *:* rwm"]
    assert made["CgroupnsMode"] == "host"
    assert made["Tmpfs"] == {"/run": "exec", "/run/lock": ""}
    assert made["Memory"] == 2 * 1024**3


def test_masked_paths_stay_unless_unconfined(template):
    made = HostConfig(version="1.44")
    unconfine(template.model_copy(update={"security_opt": ("seccomp=unconfined",)}), made)
    assert "MaskedPaths" not in made


def test_the_container_carries_its_instance_as_a_label(template, instance):
    made = container_options(template, instance)
    assert made.pop("name") == f"swarmhub-{instance.instance_id}"
    config = ContainerConfig(version="1.44", **made)
    assert config["Labels"]["org.swarmhub.lab"] == "1"
    label = json.loads(config["Labels"]["org.swarmhub.lab.instance"])
    assert label["tags"]["swarmhub:pool"] == "cpu"
    assert config["Volumes"] == {"/var/lib/docker": {}}
    assert config["Hostname"] == instance.instance_id
    assert config["StopSignal"] == "SIGRTMIN+3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x-worker: {image: x, network: n, imds_network: m, cgroup: hots}", ["cgroup", "host"]),
        ("x-worker: {image: x, network: n}", ["imds_network"]),
        ("x-worker: {image: x, network: n, imds_network: m, image_name: y}", ["image_name"]),
        ("services: {}", ["x-worker"]),
        ("image: [", ["line 1"]),
    ],
)
def test_a_bad_template_names_file_and_field(tmp_path, text, words):
    path = tmp_path / "instance.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"instance\.yaml") as refused:
        load(path)
    for word in words:
        assert word in str(refused.value)


def test_a_partition_undoes_exactly_what_it_did():
    cut, wait, mend = partition_script("eth0", 30).partition("; sleep 30; ")
    assert wait
    assert cut.replace("-I ", "-D ") == mend
    assert "INPUT -i eth0" in cut
    assert "OUTPUT -o eth0" in cut


class Engine:
    """Records the calls; stands in for docker-py's client at the engine's edge."""

    def __init__(self, template):
        self.calls = []
        self.containers_by_name = {}
        self.networks = {
            template.network: {"IPAddress": "10.5.0.3"},
            template.imds_network: {"IPAddress": "169.254.169.3"},
        }

    def create_host_config(self, **options):
        return HostConfig(version="1.44", **options)

    def create_container(self, **options):
        self.calls.append("create")
        self.created = options
        return {"Id": "c1"}

    def connect_container_to_network(self, container, network):
        self.calls.append(f"connect {network}")

    def start(self, container):
        self.calls.append("start")

    def inspect_container(self, container):
        return {"NetworkSettings": {"Networks": self.networks}}

    def containers(self, **_):
        return [
            {
                "Names": ["/x"],
                "State": state,
                "Labels": labels,
                "NetworkSettings": {"Networks": self.networks},
            }
            for state, labels in self.listed
        ]


class Client:
    def __init__(self, engine):
        self.api = engine
        self.containers = self
        self.engine = engine

    def get(self, name):
        if name not in self.engine.containers_by_name:
            raise NotFound(name)
        return self.engine.containers_by_name[name]


class Machine:
    def __init__(self, engine, name):
        self.engine, self.name = engine, name

    def stop(self, timeout):
        self.engine.calls.append(f"stop {timeout}")

    def remove(self, *, v, force):
        assert v
        assert force
        self.engine.calls.append("remove")


@pytest.fixture
def engine(template):
    return Engine(template)


@pytest.fixture
def launcher(template, engine):
    return DockerLauncher(template, Client(engine))


async def test_a_machine_is_on_both_networks_before_it_starts(launcher, engine, instance):
    addresses = await launcher.launch(instance)
    assert engine.calls == ["create", "connect lab_metadata", "start"]
    assert (addresses.private_ip, addresses.imds_ip) == ("10.5.0.3", "169.254.169.3")
    assert engine.created["host_config"]["MaskedPaths"] == []


async def test_a_machine_without_an_address_has_failed_to_start(launcher, engine, instance):
    engine.networks["lab_swarmhub"]["IPAddress"] = ""
    with pytest.raises(RuntimeError, match="exited right after its start"):
        await launcher.launch(instance)


async def test_stop_gives_ten_seconds_and_kill_none(launcher, engine, instance):
    engine.containers_by_name[instance.container] = Machine(engine, instance.container)
    await launcher.stop(instance.instance_id)
    assert engine.calls == ["stop 10", "remove"]
    engine.calls.clear()
    await launcher.kill(instance.instance_id)
    assert engine.calls == ["remove"]


async def test_stopping_a_machine_that_is_gone_succeeds(launcher, engine):
    await launcher.stop("i-0")
    await launcher.kill("i-0")
    assert engine.calls == []


async def test_machines_are_found_by_their_label(launcher, engine, template, instance):
    labels = container_options(template, instance)["labels"]
    broken = {**labels, "org.swarmhub.lab.instance": "{}"}
    engine.listed = [("running", labels), ("running", broken), ("running", {"org.swarmhub.lab": "1"})]
    found = await launcher.found()
    assert list(found) == [instance.instance_id]
    assert found[instance.instance_id].running
    assert found[instance.instance_id].instance.member.group == instance.member.group
    engine.listed = [("exited", labels)]
    assert not (await launcher.found())[instance.instance_id].running
