"""Hub, controller and agent may be restarted at any moment: a student's kernel does not notice."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest
import requests

from tests.support.local_cloud import HUB, manager, node_of_server, on_instance, status
from tests.support.polling import eventually
from tests.support.students import Student

BEATS = 45
COUNTER = f"""
import time
for beat in range({BEATS}):
    print(beat, flush=True)
    time.sleep(1)
"""


def container_of(service: str) -> str:
    """Id of the service's running container on the manager, empty while there is none."""
    return manager(
        "docker", "ps", "-q", "-f", f"label=com.docker.swarm.service.name=swarmhub_{service}"
    ).strip()


def restart_container(service: str) -> None:
    """Kills the service's container and waits until Swarm runs another."""
    old = container_of(service)
    manager("docker", "kill", old)
    eventually(f"a new container of {service}", lambda: container_of(service) not in ("", old), seconds=60)


def hub_answers() -> bool:
    try:
        return requests.get(f"{HUB}/hub/health", timeout=2).ok
    except requests.RequestException:
        return False


def controller_answers() -> bool:
    try:
        return bool(status()["members"])
    except AssertionError:
        return False


def test_a_kernels_counter_loses_no_beat_while_hub_controller_and_agent_restart(
    student: Student, measured: Callable[[str], None]
) -> None:
    student.start()
    member = next(m for m in status()["members"] if m["node_id"] == node_of_server(student.name))
    worker = f"swarmhub-{member['instance']}"
    agent_before = on_instance(worker, "systemctl", "show", "-P", "MainPID", "swarmhub-agent").strip()
    failures: list[str] = []

    def restart_everything() -> None:
        steps: tuple[tuple[str, Callable[[], None], Callable[[], bool]], ...] = (
            ("hub", lambda: restart_container("hub"), hub_answers),
            ("controller", lambda: restart_container("controller"), controller_answers),
            ("agent", lambda: _restart_agent(worker), lambda: _agent_is_active(worker)),
        )
        for name, restart, is_back in steps:
            try:
                restart()
                eventually(f"{name} is back", is_back, seconds=60, every=0.5)
            except AssertionError as error:
                failures.append(f"{name}: {error}")

    restarts = threading.Thread(target=restart_everything)
    arrivals: list[tuple[float, int]] = []
    with student.kernel() as kernel:
        counting = kernel.execute(COUNTER)
        for moment, text in kernel.output(counting, seconds=10):
            arrivals += [(moment, int(beat)) for beat in text.split()]
            if len(arrivals) == 3:
                restarts.start()
    restarts.join(150)

    assert failures == []
    assert [beat for _, beat in arrivals] == list(range(BEATS))
    longest = max(later - earlier for (earlier, _), (later, _) in itertools.pairwise(arrivals))
    measured(f"{len(arrivals)} of {BEATS} beats, at most {longest:.1f} s between two")
    assert longest < 2.5, f"a beat came {longest:.1f} s after the one before it"
    assert on_instance(worker, "systemctl", "show", "-P", "MainPID", "swarmhub-agent").strip() != agent_before
    assert student.is_ready(), "the restarted hub has forgotten a running server"
    assert controller_answers()


def _restart_agent(worker: str) -> None:
    on_instance(worker, "systemctl", "restart", "swarmhub-agent")


def _agent_is_active(worker: str) -> bool:
    return on_instance(worker, "systemctl", "is-active", "swarmhub-agent", check=False).strip() == "active"


def test_the_restarted_hub_still_starts_and_stops_servers(student: Student) -> None:
    restart_container("hub")
    eventually("the hub is back", hub_answers, seconds=60)
    begin = time.monotonic()
    student.start()
    assert time.monotonic() - begin < 120


def test_the_agents_unit_says_in_a_sentence_what_it_does() -> None:
    active = [m for m in status()["members"] if m["state"] == "active"]
    if not active:
        pytest.fail(f"no active member: {status()['members']}")
    text = on_instance(
        f"swarmhub-{active[0]['instance']}", "systemctl", "show", "-P", "StatusText", "swarmhub-agent"
    )
    assert len(text.split()) >= 3, text
