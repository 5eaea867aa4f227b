"""Machines go away under students' notebooks: by spot notice, by scale-in, and without a word.

Each drill takes a worker with four JupyterLab servers on it and ends with two active workers again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from tests.support.local_cloud import (
    NodeRow,
    active_workers,
    control,
    hooks,
    instances,
    live_worker_instances,
    manager,
    node_of_instance,
    node_of_server,
    nodes,
    status,
    workers,
)
from tests.support.polling import eventually
from tests.support.students import Prober, Student

SERVERS_ON_THE_WORKER = 4
MOST_FAILED_SECONDS = 3.0
Measured = Callable[[str], None]


@dataclass
class Scene:
    """A worker that is about to go, and the students on it."""

    instance_id: str
    node: NodeRow
    students: list[Student]

    def node_now(self) -> NodeRow | None:
        return next((n for n in nodes() if n.id == self.node.id), None)


@pytest.fixture
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """Two workers, one of them with four servers: the other is paused while they start."""
    eventually("two active workers", lambda: len(active_workers()) == 2, seconds=240, every=1)
    victim_instance = live_worker_instances()[0]["instance_id"]
    victim = node_of_instance(victim_instance)
    assert victim is not None
    others = [worker for worker in active_workers() if worker.id != victim.id]
    drill = request.node.name.removeprefix("test_")[:12].strip("_").replace("_", "-")
    students = [Student.create(f"student-{drill}-{n}") for n in range(SERVERS_ON_THE_WORKER)]
    for other in others:
        manager("docker", "node", "update", "--availability", "pause", other.id)
    try:
        for student in students:
            student.request_start()
        for student in students:
            student.wait_until_ready(180)
    finally:
        for other in others:
            manager("docker", "node", "update", "--availability", "active", other.id)
    for student in students:
        student.write("work.txt", f"the work of {student.name}")
        assert node_of_server(student.name) == victim.id
    yield Scene(victim_instance, victim, students)
    for student in students:
        student.stop()
    eventually("two active workers again", lambda: len(active_workers()) == 2, seconds=240, every=1)


def rounded(numbers: dict[str, float] | list[float]) -> str:
    """For the summary: seconds with one digit."""
    if isinstance(numbers, dict):
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in numbers.items())
    return " ".join(f"{seconds:.1f}" for seconds in numbers)


def wait_for_all(waits: dict[str, tuple[Callable[[], object], float]]) -> dict[str, float]:
    """Runs the named waits side by side; seconds each took. A wait that does not come fails with its name."""
    begin = time.monotonic()

    def wait(name: str) -> float:
        get, seconds = waits[name]
        eventually(name, get, seconds=seconds, every=0.3)
        return time.monotonic() - begin

    with ThreadPoolExecutor(len(waits)) as pool:
        futures = {name: pool.submit(wait, name) for name in waits}
        return {name: future.result() for name, future in futures.items()}


def all_moved(scene: Scene) -> bool:
    return all(node_of_server(student.name) not in (None, scene.node.id) for student in scene.students)


def replacement_is_active(before: set[str]) -> bool:
    return any(worker.id not in before for worker in active_workers())


def assert_files_are_intact(scene: Scene) -> None:
    for student in scene.students:
        assert student.read("work.txt") == f"the work of {student.name}"


def assert_a_new_server_starts_on(node_ids: set[str]) -> None:
    newcomer = Student.create("student-newcomer")
    newcomer.start()
    try:
        assert node_of_server("student-newcomer") in node_ids
    finally:
        newcomer.stop()


def ended_hook(instance_id: str, transition: str) -> dict[str, object] | None:
    return next(
        (h for h in hooks(instance_id) if transition in h["transition"].lower() and h["ended"] is not None),
        None,
    )


def test_spot_reclaim_moves_four_servers_without_a_gap(scene: Scene, measured: Measured) -> None:
    before = {worker.id for worker in workers()}
    with ExitStack() as stack:
        probers = [stack.enter_context(Prober(student)) for student in scene.students]
        time.sleep(2)
        control(scene.instance_id, "spot-interruption", {"in_seconds": 120})
        took = wait_for_all(
            {
                "the node is paused": (
                    lambda: scene.node_now() is None or scene.node_now().availability != "active",
                    5,
                ),
                "every server runs elsewhere": (lambda: all_moved(scene), 110),
                "the old node is gone from the swarm": (lambda: scene.node_now() is None, 118),
            }
        )
        time.sleep(3)
        failed = [prober.failed_seconds() for prober in probers]
        assert all(prober.answering_since(time.monotonic() - 3) for prober in probers)
    assert all(len(prober.samples) > 20 for prober in probers)
    measured(f"{rounded(took)}; failed seconds per server: {rounded(failed)}")
    assert max(failed) <= MOST_FAILED_SECONDS, failed
    assert_files_are_intact(scene)
    hook = eventually("the hook has ended", lambda: ended_hook(scene.instance_id, "terminating"), seconds=20)
    assert hook["ended_by"] == "completed"
    eventually("a replacement is active", lambda: replacement_is_active(before), seconds=180, every=1)
    survivor = next(iter({w.id for w in active_workers()} & before))
    manager("docker", "node", "update", "--availability", "pause", survivor)
    try:
        assert_a_new_server_starts_on({w.id for w in workers()} - before)
    finally:
        manager("docker", "node", "update", "--availability", "active", survivor)


def test_asg_scale_in_completes_the_hook_when_the_node_is_empty(scene: Scene, measured: Measured) -> None:
    before = {worker.id for worker in workers()}
    with ExitStack() as stack:
        probers = [stack.enter_context(Prober(student)) for student in scene.students]
        control(scene.instance_id, "terminate")
        eventually("every server runs elsewhere", lambda: all_moved(scene), seconds=110, every=0.3)
        hook = eventually(
            "the hook has ended", lambda: ended_hook(scene.instance_id, "terminating"), seconds=60, every=0.2
        )
        time.sleep(2)
        failed = [prober.failed_seconds() for prober in probers]
    completed_after = seconds_from_empty_to_end(scene.instance_id, hook)
    measured(
        f"hook completed {completed_after:.1f} s after empty; failed seconds per server: {rounded(failed)}"
    )
    assert hook["ended_by"] == "completed"
    assert 0 <= completed_after <= 5
    assert max(failed) <= MOST_FAILED_SECONDS, failed
    assert_files_are_intact(scene)
    eventually("the old node is gone", lambda: scene.node_now() is None, seconds=10)
    eventually("the instance is terminated", lambda: is_terminated(scene.instance_id), seconds=60)
    eventually("a replacement is active", lambda: replacement_is_active(before), seconds=180, every=1)


def test_hard_kill_brings_servers_back_and_removes_the_ghost(scene: Scene, measured: Measured) -> None:
    with ExitStack() as stack:
        probers = [stack.enter_context(Prober(student)) for student in scene.students]
        control(scene.instance_id, "kill")
        killed = time.monotonic()
        took = wait_for_all(
            {
                "every server answers again": (
                    lambda: (
                        all_moved(scene) and all(p.answering_since(time.monotonic() - 1.5) for p in probers)
                    ),
                    60,
                ),
                "the ghost node is gone": (lambda: scene.node_now() is None, 60),
            }
        )
        time.sleep(2)
        back_after = [prober.seconds_until_back(killed) for prober in probers]
    measured(f"{rounded(took)}; seconds until each server was back: {rounded(back_after)}")
    assert min(back_after) > 0, "the machine was killed and nobody noticed: the drill drilled nothing"
    assert max(back_after) <= 20, back_after
    assert_files_are_intact(scene)


def seconds_from_empty_to_end(instance_id: str, hook: dict[str, object]) -> float:
    """From the controller's note that the node is empty to the hook's end, both by this machine's clock.

    At most so many: the fake cloud writes whole seconds, cut off.
    """
    [empty] = [e for e in status()["events"] if (e["subject"], e["what"]) == (instance_id, "empty")]
    ended = datetime.fromisoformat(str(hook["ended"])) + timedelta(seconds=1)
    return (ended - datetime.fromisoformat(empty["time"])).total_seconds()


def is_terminated(instance_id: str) -> bool:
    found = [i for i in instances() if i["instance_id"] == instance_id]
    return not found or found[0]["state"] == "terminated"
