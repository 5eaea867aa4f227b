"""The service that Docker is asked for."""

import json
import shlex
from dataclasses import replace
from typing import Any

import pytest

from swarmhub.spawner.spec import Extras, HomeMount, ServerRequest, merge, service_body

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
    home=HomeMount("/srv/swarmhub/homes/ana", 20001, 100),
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


def test_labels_tell_whose_server_it_is_on_service_and_container() -> None:
    labels = {
        "org.swarmhub.hub": "lab",
        "org.swarmhub.user": "ana",
        "org.swarmhub.server": "",
        "org.swarmhub.course": "intro",
        "org.swarmhub.pool": "cpu",
    }
    assert body()["labels"] == labels
    assert container()["Labels"] == labels


def test_only_workers_of_the_pool_are_allowed() -> None:
    assert body()["task_template"]["Placement"]["Constraints"] == [
        "node.role==worker",
        "node.labels.org.swarmhub.pool==cpu",
    ]


def test_without_a_pool_any_node_is_allowed() -> None:
    assert body(pool="")["task_template"]["Placement"]["Constraints"] == []


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


def test_health_is_asked_often_at_the_start_and_forgivingly_later() -> None:
    check = container()["Healthcheck"]
    assert check["StartInterval"] == 10**9 // 2
    assert check["StartPeriod"] == 180 * 10**9
    assert check["Interval"] * check["Retries"] >= 120 * 10**9
    assert check["Timeout"] == 10 * 10**9


def test_health_is_asked_at_the_servers_own_prefix_whatever_it_contains() -> None:
    kind, command = container(base_url="/user/o'neil%40x $(id)/")["Healthcheck"]["Test"]
    assert kind == "CMD-SHELL"
    assert shlex.split(command)[-1] == "http://127.0.0.1:8888/user/o'neil%40x $(id)/api"


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
