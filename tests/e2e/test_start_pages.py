"""What a student sees of a start, in a browser: the choice, the queue, every failure, all of them real."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.support.local_cloud import REPOSITORY, active_workers, manager
from tests.support.polling import eventually
from tests.support.second_hub import image, second_hub
from tests.support.students import Hub, Student

PICTURES = REPOSITORY / "var" / "pictures"
TINY = "tiny"
"""A network whose few addresses are taken."""

SWARMHUB_YAML = """
hub: {{name: second, title: Trying out}}
storage: {{quota: 20M}}
pools: {{cpu: {{title: Small machines}}}}
courses:
  intro:
    title: Introduction
    description: Mondays, room 5
    pool: cpu
    image: "{image}"
    memory_reservation: 64M
    cpu_reservation: 0.01
  stats:
    title: Statistics
    pool: cpu
    require: {{seat: free}}
    images:
      py313: {{title: Python 3.13, image: "{image}", default: true}}
      py312: {{title: Python 3.12, image: "{image}", deprecated: "Python 3.12 goes in March."}}
    sizes:
      small: {{title: Small, memory: 512M, memory_reservation: 64M, cpu_reservation: 0.01, default: true}}
      large: {{title: Large, memory: 1G, memory_reservation: 64M, cpu: 2, cpu_reservation: 0.01}}
  full: {{title: Full, pool: cpu, image: "{image}", memory: 900G, memory_reservation: 900G}}
  gone: {{title: Gone, pool: cpu, image: "registry:5000/swarmhub/gone@sha256:{zeros}"}}
  staff: {{title: Staff, pool: cpu, image: "{image}", allowed_groups: [teachers]}}
"""
EXTRA = """
CASES = {
    "exit-0": ["sh", "-c", "sleep 1"],
    "exit-1": ["sh", "-c", "echo these are my last words >&2; exit 3"],
    "memory": ["python3", "-c", "block = bytearray(10**10); block[::4096] = b'x' * len(block[::4096])"],
}

def prepare(spawner):
    case = spawner.user.name.removeprefix("student-")
    spawner.cmd = CASES.get(case, spawner.cmd)
    if case == "mount":
        spawner.mounts = [{"target": "/mnt/x", "source": "/srv/swarmhub/nowhere", "type": "bind"}]
    if case == "network":
        spawner.network_name = "tiny"
    if case in ("capacity", "network"):
        spawner.start_timeout = 25

c.Spawner.pre_spawn_hook = prepare
"""


@dataclass(frozen=True)
class Case:
    """A way to fail: the course chosen, and what the page says."""

    course: str
    heading: str
    sentence: str


FAILURES = {
    "image": Case(
        "gone", "The software of this course could not be fetched", "cannot get your course's image"
    ),
    "mount": Case("intro", "Your files could not be opened", "folder that your server needs is missing"),
    "exit-0": Case("intro", "Your server started, but ended by itself", "ended"),
    "exit-1": Case("intro", "Your server started, but ended by itself", "exit code 3"),
    "memory": Case("intro", "Your server needed more memory", "more memory"),
    "capacity": Case("full", "No seat became free in time", "no free seat"),
    "network": Case("intro", "The network has no room for your server", "no free address"),
    "quota": Case("intro", "Your home directory is full", "20 MB"),
}


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    PICTURES.mkdir(parents=True, exist_ok=True)
    manager("docker", "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.99.0.0/29", TINY)
    # /29: six addresses, of which the network keeps one and these take the rest.
    for number in range(6):
        manager(
            "docker", "service", "create", "-d", "--name", f"tiny-{number}", "--network", TINY,
            "--endpoint-mode", "dnsrr", "--constraint", "node.role==worker", "--entrypoint", "sleep",
            image("NOTEBOOK"), "600",
        )  # fmt: skip
    try:
        yaml = SWARMHUB_YAML.format(image=image("NOTEBOOK"), zeros="0" * 64)
        with second_hub(yaml, EXTRA) as running:
            yield running
    finally:
        manager("sh", "-c", "docker service ls -q -f name=tiny- | xargs -r docker service rm")
        for node in active_workers():
            manager("docker", "node", "update", "--label-rm", "seat", node.id, check=False)
        eventually(
            "the tiny network is gone",
            lambda: bool(manager("docker", "network", "rm", TINY, check=False).strip()),
            seconds=90,
            every=1,
        )


def log_in(page: Page, hub: Hub, name: str) -> None:
    page.goto(f"{hub.url}/hub/login?next=/hub/spawn/{name}")
    page.fill("#username_input", name)
    page.fill("#password_input", "swarmhub")
    page.click("#login_submit")


def test_a_profile_is_picked_by_keyboard_and_the_seat_comes_after_a_place_in_the_queue(
    page: Page, hub: Hub, measured: Callable[[str], None]
) -> None:
    before = [Student.create(f"student-before-{number}", hub=hub) for number in range(2)]
    for student in before:
        student.request_start(course="stats")
    log_in(page, hub, "student-chooser")
    expect(page.get_by_role("group", name="Which course?")).to_be_visible()
    assert page.get_by_role("radio", name=re.compile("Staff")).count() == 0
    page.get_by_role("radio", name=re.compile("Introduction")).focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name=re.compile("Statistics"))).to_be_checked()
    expect(page.get_by_label("Size")).to_be_visible()
    page.get_by_label("Size").select_option("large")
    page.get_by_label("Image").select_option("py312")
    page.screenshot(path=PICTURES / "choosing.png")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Start").press("Enter")

    message = page.locator("#progress-message")
    expect(message).to_have_text(
        re.compile(r"number \d+ in the queue.*no free seat", re.IGNORECASE), timeout=30_000
    )
    expect(page.locator("#progress-log")).to_contain_text("Python 3.12 goes in March.")
    said = message.inner_text()
    measured(said)
    page.screenshot(path=PICTURES / "queue.png")

    for node in active_workers():
        manager("docker", "node", "update", "--label-add", "seat=free", node.id)
    page.wait_for_url(re.compile(r"/user/student-chooser/"), timeout=90_000)
    chooser = Student.create("student-chooser", hub=hub)
    spec = json.loads(
        manager(
            "sh", "-c",
            "docker service inspect $(docker service ls -q -f label=org.swarmhub.user=student-chooser) "
            "--format '{{json .Spec.TaskTemplate.Resources}}'",
        )
    )  # fmt: skip
    assert spec["Limits"]["MemoryBytes"] == 2**30
    for student in (*before, chooser):
        student.stop()


def test_a_forged_choice_is_refused_where_it_is_made(page: Page, hub: Hub) -> None:
    log_in(page, hub, "student-forger")
    page.get_by_role("radio", name=re.compile("Introduction")).evaluate("radio => radio.value = 'staff'")
    page.get_by_role("radio").first.check()
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".spawn-error-msg, .alert-danger").first).to_contain_text(
        "There is no course 'staff' for you"
    )
    answer = Student.create("student-forger", hub=hub).session.post(
        f"{hub.url}/hub/api/users/student-forger/server", json={"course": "staff"}, timeout=30
    )
    assert answer.status_code == 400
    assert "There is no course 'staff' for you" in answer.text


@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_has_a_page_that_says_what_happened(
    page: Page, hub: Hub, measured: Callable[[str], None], name: str
) -> None:
    case = FAILURES[name]
    student = Student.create(f"student-{name}", hub=hub)
    if name == "quota":
        _fill_home(student)
    log_in(page, hub, student.name)
    page.get_by_role("radio", name=re.compile(f"^{case.course}", re.IGNORECASE)).or_(
        page.locator(f"#swarmhub-course-{case.course}")
    ).first.check()
    page.get_by_role("button", name="Start").click()
    # A failure within the first second is told on the form.
    failed = page.locator("#progress-bar.bg-danger, #failure, .spawn-error-msg")
    expect(failed.first).to_be_attached(timeout=75_000)
    page.goto(f"{hub.url}/hub/spawn-pending/{student.name}")
    expect(page.locator("h1")).to_contain_text(case.heading)
    failure = page.locator("#failure")
    expect(failure).to_contain_text(case.sentence)
    measured(f"{failure.inner_text()}")
    page.screenshot(path=PICTURES / f"failure-{name}.png")
    if name == "exit-1":
        assert "these are my last words" in page.content()
    left = manager("docker", "service", "ls", "-q", "-f", f"label=org.swarmhub.user={student.name}")
    assert left.strip() == "", "a failed start leaves nothing"


def _fill_home(student: Student) -> None:
    """More than the quota in a home that there is already."""
    manager("sh", "-c", f"rm -rf /srv/swarmhub/homes/{student.name}-*")
    student.start()
    with student.kernel() as kernel:
        kernel.run("open('big', 'wb').write(b'x' * 30 * 2**20)")
    student.stop()
    # Homes are measured beside everything else, first those that were used last.
    time.sleep(3)
