"""A student's first notebook, in a browser: log in, start, run a cell, save; the file is theirs alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.support.local_cloud import HUB, REPOSITORY, manager, rows
from tests.support.polling import eventually
from tests.support.students import Student

PICTURES = REPOSITORY / "var" / "pictures"


@pytest.fixture
def student01() -> Iterator[Student]:
    student = Student.create("student01")
    student.stop()
    # An earlier run's open tabs would come back.
    manager("bash", "-c", "rm -rf /srv/swarmhub/homes/student01-*")
    yield student
    student.stop()


def home_on_the_shared_volume(user: str) -> tuple[Path, int]:
    """Where the user's home lies on the shared volume, and the uid their server runs as."""
    [found] = rows(
        manager("docker", "service", "ls", "--format", "json", "--filter", f"label=org.swarmhub.user={user}")
    )
    container = json.loads(
        manager(
            "docker",
            "service",
            "inspect",
            found["ID"],
            "--format",
            "{{json .Spec.TaskTemplate.ContainerSpec}}",
        )
    )
    [source] = [
        m["Source"] for m in container["Mounts"] if m["Type"] == "bind" and m["Target"] == "/home/jovyan"
    ]
    return Path(source), int(container["User"].split(":")[0])


def log_in(page: Page, name: str) -> None:
    page.goto(f"{HUB}/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", "swarmhub")
    page.click("#login_submit")


def test_login_start_compute_save_and_nobody_else_reads_it(page: Page, student01: Student) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    log_in(page, "student01")
    page.click("text=Start My Server")

    progress = page.locator("#progress-message")
    expect(progress).to_have_text(
        re.compile("seat|Starting on worker|starting|ready", re.IGNORECASE), timeout=30_000
    )
    page.screenshot(path=PICTURES / "starting.png")

    page.wait_for_url(re.compile(r"/user/student01/lab"), timeout=120_000)
    page.locator(".jp-LauncherCard[data-category=Notebook]").first.click(timeout=60_000)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    eventually("the new notebook keeps what is typed", lambda: _typed(page, "6*7"), seconds=30)
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-executeResult .jp-OutputArea-output").first).to_have_text(
        "42", timeout=60_000
    )
    page.keyboard.press("Control+s")
    rename = page.locator(".jp-Dialog button.jp-mod-accept")
    if rename.count() or _appears(page, ".jp-Dialog button.jp-mod-accept"):
        rename.first.click()
    page.screenshot(path=PICTURES / "notebook.png")

    home, uid = home_on_the_shared_volume("student01")
    notebook = eventually("the notebook is saved with its output", lambda: _saved_notebook(home), seconds=30)
    assert uid >= 20000
    assert manager("stat", "-c", "%u %a", str(home)).split() == [str(uid), "700"]
    assert manager("stat", "-c", "%u", notebook).strip() == str(uid)

    second = Student.create("student02")
    second.start()
    try:
        other_home, other_uid = home_on_the_shared_volume("student02")
        assert (other_home, other_uid) != (home, uid)
        seen = _in_terminal(
            second,
            f"id -u; cat {notebook}; ls -A {home}; find / -name 'Untitled*' 2>/dev/null",
        )
        assert f"{other_uid}" in seen
        assert "No such file or directory" in seen or "Permission denied" in seen
        assert '"cells"' not in seen
        assert "Untitled" not in seen.replace(str(notebook), "")
    finally:
        second.stop()
    # Even where the directory can be seen, the mode keeps another student's uid out.
    refused = manager(
        "setpriv", f"--reuid={other_uid}", "--regid=100", "--clear-groups", "cat", notebook, check=False
    )
    assert refused == ""


def test_a_wrong_password_is_told_so_and_starts_nothing(page: Page) -> None:
    page.goto(f"{HUB}/hub/login")
    page.fill("#username_input", "student77")
    page.fill("#password_input", "not the password")
    page.click("#login_submit")
    expect(page.locator(".login_error")).to_be_visible()
    assert (
        manager("docker", "service", "ls", "-q", "--filter", "label=org.swarmhub.user=student77").strip()
        == ""
    )


def _typed(page: Page, text: str) -> bool:
    """Types into the first cell; False if JupyterLab took it away again, as it does while it still loads."""
    cell = page.locator(".jp-Notebook .jp-Cell .cm-content").first
    cell.click()
    page.keyboard.press("Control+a")
    page.keyboard.type(text, delay=50)
    page.wait_for_timeout(1_000)
    return cell.inner_text() == text


def _appears(page: Page, selector: str) -> bool:
    try:
        page.wait_for_selector(selector, timeout=3_000)
    except PlaywrightTimeout:
        return False
    return True


def _saved_notebook(home: Path) -> str | None:
    found = manager("find", str(home), "-maxdepth", "1", "-name", "*.ipynb").split("\n")
    for path in filter(None, found):
        text = manager("cat", path)
        if '"42"' in text:
            return path
    return None


def _in_terminal(student: Student, command: str) -> str:
    """What a shell in a JupyterLab terminal of the student prints for the command."""
    from websockets.sync.client import connect

    answer = student.session.post(f"{student.url}/api/terminals", timeout=30)
    assert answer.ok, answer.text
    address = f"{student.url.replace('http', 'ws')}/terminals/websocket/{answer.json()['name']}"
    printed = ""
    with connect(
        address, additional_headers={"Authorization": str(student.session.headers["Authorization"])}
    ) as socket:
        # The mark is written in two halves so that the echo of the typed line does not hold it.
        socket.send(json.dumps(["stdin", f"{command}; echo 'the-''end'\r"]))
        while "the-end" not in printed:
            kind, *rest = json.loads(socket.recv(timeout=30))
            if kind == "stdout":
                printed += rest[0]
    return printed.rpartition("'the-''end'")[2]
