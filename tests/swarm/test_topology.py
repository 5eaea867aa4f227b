"""Three nodes, and servers on workers only."""

from __future__ import annotations

import json

from tests.support.local_cloud import active_workers, manager, node_of_server, nodes, rows
from tests.support.students import Student


def test_the_swarm_is_one_manager_and_two_active_workers() -> None:
    assert [n.is_manager for n in nodes()].count(True) == 1
    assert len(active_workers()) == 2


def test_servers_run_on_workers_only_and_spread_over_them(student: Student) -> None:
    second = Student.create(f"{student.name}-2")
    student.request_start()
    second.request_start()
    try:
        student.wait_until_ready()
        second.wait_until_ready()
        places = {node_of_server(student.name), node_of_server(second.name)}
    finally:
        second.stop()
    assert places == {worker.id for worker in active_workers()}


def test_a_service_says_whose_it_is_and_is_safe_to_move(student: Student) -> None:
    student.start()
    [found] = rows(
        manager(
            "docker",
            "service",
            "ls",
            "--format",
            "json",
            "--filter",
            f"label=org.swarmhub.user={student.name}",
        )
    )
    [service] = json.loads(manager("docker", "service", "inspect", found["ID"]))
    spec = service["Spec"]
    assert spec["Labels"]["org.swarmhub.hub"] == "lab"
    assert spec["Labels"]["org.swarmhub.course"] == "intro"
    assert spec["Labels"]["org.swarmhub.pool"] == "cpu"
    assert "@sha256:" in spec["TaskTemplate"]["ContainerSpec"]["Image"]
    assert spec["TaskTemplate"]["RestartPolicy"]["Condition"] == "on-failure"
    assert spec["UpdateConfig"]["Order"] == "start-first"
    assert spec["EndpointSpec"]["Mode"] == "dnsrr"
    assert spec["TaskTemplate"]["Resources"]["Reservations"]["MemoryBytes"] > 0
    assert len(spec["Name"]) <= 63


def test_a_stopped_server_leaves_no_service_and_starts_again_with_its_files(student: Student) -> None:
    student.start()
    student.write("kept.txt", "still here")
    student.stop()
    left = manager("docker", "service", "ls", "-q", "--filter", f"label=org.swarmhub.user={student.name}")
    assert left.strip() == ""
    student.start()
    assert student.read("kept.txt") == "still here"
