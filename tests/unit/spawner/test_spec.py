"""The service that Docker is asked for."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from docker.types import Mount

from swarmhub.spawner.spec import (
    Extras,
    FileRef,
    HomeMount,
    SecretRef,
    ServerRequest,
    labels,
    merge,
    service_body,
)
from swarmhub.spawner.tokens import command_with_token

HOME_MOUNT = HomeMount("/srv/swarmhub/homes/ana", 20001, 100)
REQUEST = ServerRequest(
    name="lab-ana-x",
    hub="lab",
    user="ana",
    server="",
    image="registry:5000/notebook@sha256:" + "a" * 64,
    command=("jupyterhub-singleuser", "--debug"),
    env={"JUPYTERHUB_API_TOKEN": "t"},
    port=8888,
    base_url="/user/ana/",
    network="notebooks",
    course="intro",
    pool="cpu",
    home=HOME_MOUNT,
    memory=2**30,
    memory_reservation=2**28,
    cpu=1.5,
    cpu_reservation=0.1,
)


def body(**changes: Any) -> Any:
    """The body as Docker receives it."""
    return json.loads(json.dumps(service_body(replace(REQUEST, **changes))))


def container(**changes: Any) -> Any:
    return body(**changes)["task_template"]["ContainerSpec"]


def test_the_service_is_one_replica_reached_by_its_tasks_address() -> None:
    assert body()["name"] == "lab-ana-x"
    assert body()["mode"] == {"replicated": {"Replicas": 1}}
    assert body()["endpoint_spec"] == {"Mode": "dnsrr"}


def test_the_network_is_in_the_task_template_only() -> None:
    # The service-wide field was removed with API 1.44 (docker-py#3362).
    assert body()["task_template"]["Networks"] == [{"Target": "notebooks"}]
    assert "networks" not in body()


def test_labels_tell_whose_server_it_is_on_service_container_and_secret() -> None:
    expected = {
        "org.swarmhub.hub": "lab",
        "org.swarmhub.user": "ana",
        "org.swarmhub.server": "",
        "org.swarmhub.course": "intro",
        "org.swarmhub.pool": "cpu",
        "org.swarmhub.spec": "2",
    }
    assert body(has_shell=False)["labels"] == expected
    assert container()["Labels"] == expected
    assert labels(REQUEST) == expected


def test_only_workers_of_the_pool_are_allowed() -> None:
    assert body()["task_template"]["Placement"]["Constraints"] == [
        "node.role==worker",
        "node.labels.org.swarmhub.pool==cpu",
    ]


def test_without_a_pool_any_node_is_allowed() -> None:
    assert body(pool="")["task_template"]["Placement"]["Constraints"] == []


def test_required_and_preferred_labels_are_constraints() -> None:
    rules = body(require={"zone": "a"}, prefer={"disk": "nvme"})["task_template"]["Placement"]["Constraints"]
    assert rules[2:] == ["node.labels.zone==a", "node.labels.disk==nvme"]


def test_a_students_own_shutdown_stays_down_and_everything_else_is_replaced_after_a_second() -> None:
    policy = body()["task_template"]["RestartPolicy"]
    assert policy["Condition"] == "on-failure"
    assert policy["Delay"] == 10**9


def test_a_move_starts_the_new_task_first() -> None:
    update = body()["update_config"]
    assert (update["Parallelism"], update["Order"], update["FailureAction"]) == (1, "start-first", "continue")
    assert body()["task_template"]["ForceUpdate"] == 0


def test_memory_is_bytes_and_cpu_is_billionths_of_a_core() -> None:
    assert body()["task_template"]["Resources"] == {
        "Limits": {"MemoryBytes": 2**30, "NanoCPUs": 1_500_000_000},
        "Reservations": {"MemoryBytes": 2**28, "NanoCPUs": 100_000_000},
    }


def test_no_limits_are_sent_when_there_are_none() -> None:
    bare = body(memory=None, memory_reservation=None, cpu=None, cpu_reservation=None)
    assert "Resources" not in bare["task_template"]


def test_the_home_is_mounted_and_the_server_runs_as_its_owner() -> None:
    spec = container()
    home = {"Target": "/home/jovyan", "Source": "/srv/swarmhub/homes/ana", "Type": "bind", "ReadOnly": False}
    assert spec["Mounts"][0] == home
    assert spec["User"] == "20001:100"
    assert spec["Dir"] == "/home/jovyan"
    assert {"HOME=/home/jovyan", "USER=jovyan", "JUPYTERHUB_API_TOKEN=t"} <= set(spec["Env"])


def test_without_a_home_the_images_own_user_stays() -> None:
    spec = container(home=None)
    assert "User" not in spec
    assert [mount["Target"] for mount in spec["Mounts"]] == ["/dev/shm"]
    assert spec["Env"] == ["JUPYTERHUB_API_TOKEN=t"]


def test_shared_memory_is_half_the_memory_limit() -> None:
    shm = container()["Mounts"][-1]
    assert (shm["Target"], shm["Type"]) == ("/dev/shm", "tmpfs")
    assert shm["TmpfsOptions"] == {"Mode": 0o1777, "SizeBytes": 2**29}


def test_the_container_has_an_init_no_capabilities_and_half_a_minute_to_stop() -> None:
    spec = container()
    assert spec["Init"] is True
    assert spec["CapabilityDrop"] == ["ALL"]
    assert spec["StopGracePeriod"] == 30 * 10**9
    assert spec["Args"] == ["jupyterhub-singleuser", "--debug"]


def test_a_server_is_not_asked_for_its_health_until_it_moves() -> None:
    made = body(base_url="/user/ana/", start_period=60.0)
    assert made["task_template"]["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}
    check = json.loads(made["labels"]["org.swarmhub.health"])
    assert "http://127.0.0.1:8888/user/ana/api" in check["Test"][1]
    assert check["StartPeriod"] == 60 * 10**9


def test_an_image_without_a_shell_is_never_asked() -> None:
    assert "org.swarmhub.health" not in body(has_shell=False)["labels"]


def test_nobody_gains_rights_through_a_program() -> None:
    assert container()["Privileges"] == {"NoNewPrivileges": True}


def test_processes_and_open_files_are_limited() -> None:
    limited = body(pids=512, open_files=8192)["task_template"]
    assert limited["Resources"]["Limits"] == {"MemoryBytes": 2**30, "NanoCPUs": 1_500_000_000, "Pids": 512}
    assert limited["ContainerSpec"]["Ulimits"] == [{"Name": "nofile", "Soft": 8192, "Hard": 8192}]


def test_limits_that_are_not_set_are_not_sent() -> None:
    assert "Ulimits" not in container()
    assert "Pids" not in body()["task_template"]["Resources"]["Limits"]
    assert body(memory=None, cpu=None, pids=9)["task_template"]["Resources"]["Limits"] == {"Pids": 9}


def test_generic_resources_are_reserved_by_kind_and_number() -> None:
    reserved = body(generic_resources={"gpu": 1, "fpga": 2})["task_template"]["Resources"]["Reservations"]
    assert reserved["GenericResources"] == [
        {"DiscreteResourceSpec": {"Kind": "gpu", "Value": 1}},
        {"DiscreteResourceSpec": {"Kind": "fpga", "Value": 2}},
    ]
    assert reserved["MemoryBytes"] == 2**28


def test_shared_memory_has_the_size_that_is_asked_for() -> None:
    assert container(shared_memory=2**20)["Mounts"][-1]["TmpfsOptions"]["SizeBytes"] == 2**20


def test_the_server_is_a_member_of_its_folders_groups() -> None:
    assert container(home=replace(HOME_MOUNT, groups=(30001, 30002)))["Groups"] == ["30001", "30002"]
    assert "Groups" not in container()


def test_the_environment_names_the_user() -> None:
    env = container(full_name="Ana\nroot:x:0:0")["Env"]
    assert {"USER=jovyan", "NB_UID=20001", "NB_GID=100", "SWARMHUB_FULL_NAME=Ana root x 0 0"} <= set(env)


def test_nothing_in_the_environment_makes_the_server_somebody_else() -> None:
    env = container(env={"NB_UID": "0", "USER": "root"})["Env"]
    assert {"USER=jovyan", "NB_UID=20001"} <= set(env)
    assert not {"USER=root", "NB_UID=0"} & set(env)


def test_folders_are_mounted_between_the_home_and_the_operators_mounts() -> None:
    @dataclass(frozen=True)
    class Folder:
        source: str
        target: str
        read_only: bool

    data = Folder("/srv/swarmhub/courses/intro/data", "/home/jovyan/data", True)
    work = Folder("/srv/swarmhub/courses/intro/work", "/home/jovyan/work", False)
    mounts = container(folders=(data, work), mounts=(Mount("/mnt/x", "x"),))["Mounts"]
    assert [mount["Target"] for mount in mounts] == [
        "/home/jovyan",
        "/home/jovyan/data",
        "/home/jovyan/work",
        "/mnt/x",
        "/dev/shm",
    ]
    assert mounts[1] == {"Target": data.target, "Source": data.source, "Type": "bind", "ReadOnly": True}
    assert mounts[2]["ReadOnly"] is False


def test_files_are_readable_by_everybody_and_writable_by_nobody() -> None:
    (config,) = container(files=(FileRef("id1", "lab-passwd-1", "/etc/passwd"),))["Configs"]
    assert config == {
        "ConfigID": "id1",
        "ConfigName": "lab-passwd-1",
        "File": {"Name": "/etc/passwd", "UID": "0", "GID": "0", "Mode": 0o444},
    }


def test_the_token_is_in_a_file_for_the_servers_user_and_nowhere_else() -> None:
    request = replace(
        REQUEST,
        env={"JUPYTERHUB_API_TOKEN": "s3cret", "JPY_API_TOKEN": "s3cret", "X": "y"},
        token_secret=SecretRef("id1", "lab-ana-x-0a"),
    )
    spec = json.loads(json.dumps(service_body(request)))["task_template"]["ContainerSpec"]
    assert spec["Secrets"] == [
        {
            "SecretID": "id1",
            "SecretName": "lab-ana-x-0a",
            "File": {"Name": "jupyterhub-api-token", "UID": "20001", "GID": "100", "Mode": 0o400},
        }
    ]
    assert "s3cret" not in json.dumps(spec)
    assert "X=y" in spec["Env"]
    assert spec["Args"] == list(command_with_token(["jupyterhub-singleuser", "--debug"]))


def test_an_unknown_user_of_the_image_can_read_its_token_too() -> None:
    (secret,) = container(home=None, token_secret=SecretRef("id1", "s"))["Secrets"]
    assert secret["File"]["Mode"] == 0o444


def test_names_that_students_choose_are_no_templates_to_swarm() -> None:
    # Swarm expands variables, and refuses the service if it cannot (400, "expanding env failed").
    env = {"JUPYTERHUB_SERVER_NAME": "{{.Node.ID}}{{{", "NODE": "{{.Node.Hostname}}", "JUPYTERHUB_X": None}
    sent = container(env=env)["Env"]
    assert 'JUPYTERHUB_SERVER_NAME={{"{{"}}.Node.ID}}{{"{{"}}{' in sent
    assert "NODE={{.Node.Hostname}}" in sent
    assert "JUPYTERHUB_X" in sent


def test_extras_are_merged_deeply() -> None:
    extras = Extras(
        container={"hostname": "notebook", "labels": {"owner": "me"}, "healthcheck": {"Retries": 9}},
        resources={"generic_resources": {"gpu": 1}},
        placement={"constraints": ["node.labels.disk==ssd"]},
        task={"force_update": 7},
        endpoint={"mode": "vip"},
        create={"labels": {"billing": "x"}},
    )
    merged = body(extras=extras)
    spec = merged["task_template"]["ContainerSpec"]
    assert spec["Hostname"] == "notebook"
    assert spec["Labels"]["owner"] == "me"
    assert spec["Labels"]["org.swarmhub.user"] == "ana"
    assert (spec["Healthcheck"]["Retries"], spec["Healthcheck"]["Timeout"]) == (9, 10**10)
    assert len(merged["task_template"]["Placement"]["Constraints"]) == 3
    assert "GenericResources" in merged["task_template"]["Resources"]["Reservations"]
    assert merged["task_template"]["ForceUpdate"] == 7
    assert merged["endpoint_spec"] == {"Mode": "vip"}
    assert merged["labels"]["billing"] == "x"


def test_what_docker_py_does_not_know_is_given_in_the_engines_words() -> None:
    extras = Extras(
        container={"OomScoreAdj": 100, "Ulimits": [{"Name": "memlock", "Soft": -1, "Hard": -1}]},
        resources={"Limits": {"Pids": 9}},
        task={"Runtime": "container"},
    )
    template = body(extras=extras, pids=512, open_files=8192)["task_template"]
    assert template["ContainerSpec"]["OomScoreAdj"] == 100
    assert [limit["Name"] for limit in template["ContainerSpec"]["Ulimits"]] == ["nofile", "memlock"]
    assert template["Resources"]["Limits"] == {"MemoryBytes": 2**30, "NanoCPUs": 1_500_000_000, "Pids": 9}
    assert template["Runtime"] == "container"


def test_the_operators_limit_replaces_ours_of_the_same_name() -> None:
    extras = Extras(container={"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]})
    assert container(extras=extras, open_files=8192)["Ulimits"] == [{"Name": "nofile", "Soft": 1, "Hard": 2}]


def test_the_operator_can_take_back_a_protection() -> None:
    extras = Extras(container={"privileges": None, "cap_drop": None, "healthcheck": None})
    assert not {"Privileges", "CapabilityDrop", "Healthcheck"} & container(extras=extras).keys()


@pytest.mark.parametrize(
    ("base", "extra", "merged"),
    [
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1]}, {"a": [2]}, {"a": [1, 2]}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
    ],
)
def test_merge_rules(base: Any, extra: Any, merged: Any) -> None:
    before = json.dumps([base, extra])
    assert merge(base, extra) == merged
    assert json.dumps([base, extra]) == before


def test_building_twice_gives_the_same_body() -> None:
    assert body() == body()
