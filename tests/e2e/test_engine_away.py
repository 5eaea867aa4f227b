"""The manager's Docker engine dies in a storm: nobody's server is lost, nobody sees an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
from playwright.sync_api import Page, Response

from tests.e2e.test_first_notebook import log_in
from tests.support.local_cloud import manager, rows
from tests.support.polling import eventually
from tests.support.students import Student

STUDENTS = 30
AWAY_S = 20
READY_WITHIN_S = 420
HOLD = "/run/systemd/system/docker.service.d/hold.conf"


@contextmanager
def engine_killed() -> Iterator[None]:
    """SIGKILL for the manager's dockerd, which systemd may not start again until the block ends."""
    manager("install", "-d", HOLD.rpartition("/")[0])
    manager("sh", "-c", f"printf '[Service]\\nRestart=no\\n' > {HOLD} && systemctl daemon-reload")
    try:
        manager("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "docker.service")
        eventually("dockerd is dead", lambda: not _engine_runs(), seconds=5)
        yield
    finally:
        manager("sh", "-c", f"rm {HOLD}; systemctl daemon-reload; systemctl reset-failed docker.service")
        manager("systemctl", "start", "docker.service", timeout=120)


def _engine_runs() -> bool:
    return bool(manager("pidof", "dockerd", check=False).strip())


def services() -> set[str]:
    """Names of the storm's services."""
    found = rows(manager("docker", "service", "ls", "--format", "json", "-f", "label=org.swarmhub.hub=lab"))
    return {row["Name"] for row in found if "student-storm" in row["Name"]}


@pytest.fixture
def storm() -> Iterator[list[Student]]:
    students = [Student.create(f"student-storm-{number:02}") for number in range(STUDENTS)]
    yield students
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda student: student.stop(120), students))


def test_a_storm_survives_twenty_seconds_without_the_managers_engine(
    page: Page, storm: list[Student], measured: Callable[[str], None]
) -> None:
    watching, others = storm[0], storm[1:]
    errors: list[str] = []
    page.on("response", lambda response: errors.extend(_error_page(response)))
    log_in(page, watching.name)
    begin = time.monotonic()
    page.click("text=Start My Server")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda student: student.request_start(), others))
    eventually("the storm has reached Swarm", lambda: len(services()) >= 5, seconds=30)

    with engine_killed():
        page.wait_for_timeout(AWAY_S * 1000)
    eventually("the hub answers again", watching.is_up, seconds=120, every=1)
    waiting = set(storm)
    while waiting:
        page.wait_for_timeout(1000)
        waiting = {student for student in waiting if not _ready(student)}
        took = time.monotonic() - begin
        assert took < READY_WITHIN_S, f"not ready: {sorted(student.name for student in waiting)}"

    page.wait_for_url(f"**/user/{watching.name}/lab**", timeout=60_000)
    assert errors == []
    assert len(services()) == STUDENTS
    for student in storm:
        eventually(f"{student.name} answers", student.answers, seconds=30)
    measured(
        f"{STUDENTS} of {STUDENTS} ready {took:.0f} s after the first press, the engine away for {AWAY_S} s"
    )


def _ready(student: Student) -> bool:
    try:
        return student.is_ready()
    except (requests.RequestException, AssertionError):
        return False


def _error_page(response: Response) -> list[str]:
    """What a student would see of it: an error in place of a page."""
    if response.request.is_navigation_request() and response.status >= 400:
        return [f"{response.status} {response.url}"]
    return []
