"""What the page does while a server starts: in words, and when stream, hub or network fail.

Runs the page's own script in node; Chromium sees the page in tests/e2e.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.unit.hub.test_templates import render

HARNESS = Path(__file__).with_name("browser.js")
Run = Callable[[str], Any]


def find_node() -> str | None:
    """node, if it is installed; else the one inside playwright's package."""
    playwright = find_spec("playwright")
    bundled = Path(playwright.origin).parent / "driver" / "node" if playwright and playwright.origin else None
    return shutil.which("node") or (str(bundled) if bundled and bundled.exists() else None)


NODE = find_node()
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no node here")


def runner(page: str) -> Run:
    script = re.findall(r"<script>(.*?)</script>", render(page), flags=re.DOTALL)[-1]

    def run(scenario: str) -> Any:
        assert NODE
        result = subprocess.run(
            [NODE, str(HARNESS)],
            input=json.dumps({"script": script, "scenario": scenario}),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


@pytest.fixture
def pending() -> Run:
    return runner("spawn_pending.html")


@pytest.fixture
def stopping() -> Run:
    return runner("stop_pending.html")


def test_the_current_step_is_shown_once_and_kept_in_the_log(pending: Run) -> None:
    shown = pending("""
        page.send({progress: 10, message: "You are number 7 in the queue"});
        page.send({progress: 10, message: "You are number 7 in the queue"});
        page.send({progress: 40, message: "Starting <b>"});
        return [page.element("progress-message").html, page.element("progress-bar").style.width, page.log()];
    """)
    assert shown == ["Starting &lt;b&gt;", "40%", ["You are number 7 in the queue", "Starting &lt;b&gt;"]]


def test_the_log_does_not_grow_without_end(pending: Run) -> None:
    log = pending("""
        for (let i = 0; i < 300; i += 1) page.send({message: "step " + i});
        return page.log();
    """)
    assert (len(log), log[-1]) == (200, "step 299")


def test_what_is_no_message_is_passed_over(pending: Run) -> None:
    text = "page.send('{broken'); page.send({message: 'fine'}); return page.element('progress-message').html;"
    assert pending(text) == "fine"


def test_a_ready_server_is_opened_at_once(pending: Run) -> None:
    assert pending("""
        page.send({progress: 100, ready: true, message: "Ready"});
        await page.pass(1);
        return [page.reloads, page.stream.closed];
    """) == [1, True]


def test_a_failed_start_is_said_and_then_explained_on_its_own_page(pending: Run) -> None:
    assert pending("""
        page.send({progress: 100, failed: true, message: "Spawn failed: no seat"});
        const before = page.reloads;
        await page.pass(5000);
        return [before, page.element("progress-message").html, page.reloads];
    """) == [0, "Spawn failed: no seat", 1]


def test_when_the_stream_breaks_the_page_comes_again_as_soon_as_the_hub_answers(pending: Run) -> None:
    assert pending("""
        page.stream.onerror();
        await page.pass(1500);
        return [page.reloads, page.requests.map((r) => r.url), page.stream.closed];
    """) == [1, ["/hub/health"], True]


def test_while_the_hub_is_away_the_pauses_grow_and_the_page_says_so(pending: Run) -> None:
    times, hidden, warning, reloads = pending("""
        page.answer = (url) => { throw new Error("refused"); };
        page.stream.onerror();
        await page.pass(120000);
        return [page.requests.map((r) => r.at - 1e6), page.element("connection").hidden,
                page.element("connection").html, page.reloads];
    """)
    pauses = [later - earlier for earlier, later in zip([0, *times], times, strict=False)]
    assert pauses[:5] == [1000, 2000, 4000, 8000, 15000]
    assert max(pauses) == 15000
    assert (hidden, reloads) == (False, 0)
    assert "The hub does not answer" in warning


def test_a_hub_that_answers_with_an_error_counts_as_away(pending: Run) -> None:
    assert pending("""
        page.answer = () => ({ok: page.requests.length > 2});
        page.stream.onerror();
        await page.pass(2999);
        const early = page.reloads;
        await page.pass(10000);
        return [early, page.reloads];
    """) == [0, 1]


def test_a_hub_whose_streams_keep_breaking_is_not_stormed(pending: Run) -> None:
    assert pending("""
        page.stored["swarmhub-reloads"] = "4";
        page.stream.onerror();
        await page.pass(14999);
        const early = page.reloads;
        await page.pass(1);
        return [early, page.reloads, page.stored["swarmhub-reloads"]];
    """) == [0, 1, "5"]


def test_a_stream_that_lived_starts_with_short_pauses_again(pending: Run) -> None:
    assert (
        pending("""
        page.stored["swarmhub-reloads"] = "4";
        await page.pass(11000);
        page.stream.onerror();
        await page.pass(1000);
        return page.reloads;
    """)
        == 1
    )


def test_a_silent_stream_is_opened_anew(pending: Run) -> None:
    assert pending("""
        page.send({message: "waiting"});
        await page.pass(59000);
        const before = page.streams.length;
        await page.pass(10000);
        return [before, page.streams.length, page.streams[0].closed, page.reloads];
    """) == [1, 2, True, 0]


def test_the_stop_button_stops_and_the_page_comes_again(pending: Run) -> None:
    assert pending("""
        await page.element("stop-server-btn").handlers.click();
        await page.pass(1000);
        const [request] = page.requests;
        return [request.method, request.url, page.element("stop-server-status").html, page.reloads];
    """) == ["DELETE", "/hub/api/users/ana/server?_xsrf=x", "Stopped.", 1]


def test_a_stop_that_is_refused_says_why_and_can_be_tried_again(pending: Run) -> None:
    assert pending("""
        page.answer = () => ({ok: false, status: 400, json: async () => ({message: "being renamed"})});
        await page.element("stop-server-btn").handlers.click();
        return [page.element("stop-server-status").html, page.element("stop-server-btn").disabled];
    """) == ["It could not be stopped: being renamed. Please try again.", False]


def test_a_stopping_page_asks_every_second_but_only_a_hub_that_answers(stopping: Run) -> None:
    assert stopping("""
        page.answer = () => { if (page.requests.length < 3) throw new Error("refused"); return {ok: true}; };
        await page.pass(2999);
        const early = page.reloads;
        await page.pass(1);
        return [early, page.reloads];
    """) == [0, 1]
