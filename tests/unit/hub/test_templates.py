"""JupyterHub's pages as this hub shows them, rendered as JupyterHub does."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader
from jupyterhub._data import DATA_FILES_PATH

import swarmhub.hub
from swarmhub.spawner import errors
from swarmhub.spawner.errors import CapacityFailure, CrashedFailure, StartFailure

OURS = Path(swarmhub.hub.__file__).with_name("templates")
STOCK = Path(DATA_FILES_PATH) / "templates"
PAGES = ("spawn.html", "spawn_pending.html", "not_running.html", "stop_pending.html")


def render(page: str, **values: Any) -> str:
    loader = ChoiceLoader(
        [PrefixLoader({"templates": FileSystemLoader([STOCK])}), FileSystemLoader([OURS, STOCK])]
    )
    user = SimpleNamespace(
        name="ana", escaped_name="ana", json_escaped_name="ana", spawner=SimpleNamespace(options_form="")
    )
    names: dict[str, Any] = {
        "base_url": "/hub/",
        "prefix": "/",
        "user": user,
        "spawner": SimpleNamespace(name=""),
        "progress_url": "/hub/api/users/ana/server/progress?_xsrf=x",
        "static_url": lambda path, **_: f"/hub/static/{path}",
        "xsrf_token": "x",
        "parsed_scopes": {},
        "services": [],
        "server_name": "",
        "spawn_url": "/hub/spawn/ana",
        "no_spawner_check": True,
        "url": "/hub/spawn/ana?_xsrf=x",
        "spawner_options_form": "<p id='form'></p>",
    }
    return Environment(loader=loader, autoescape=True).get_template(page).render(names | values)


def failed(exception: object, **values: Any) -> str:
    message = getattr(exception, "jupyterhub_message", None)
    html = getattr(exception, "jupyterhub_html_message", None)
    return render(
        "not_running.html",
        failed=True,
        exception=exception,
        failed_message=message,
        failed_html_message=html,
        **values,
    )


class Text(HTMLParser):
    """The words somebody reads without opening anything, and the ids there are."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.ids: set[str] = set()
        self._silent: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids |= {value for name, value in attrs if name == "id" and value}
        if tag in ("script", "style", "details"):
            self._silent.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._silent and self._silent[-1] == tag:
            self._silent.pop()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.text += data


def all_failures(base: type[StartFailure] = StartFailure) -> list[type[StartFailure]]:
    return [failure for sub in base.__subclasses__() for failure in (sub, *all_failures(sub))]


@pytest.mark.parametrize("page", PAGES)
def test_pages_need_nothing_from_elsewhere(page: str) -> None:
    html = render(page)
    assert "http:" not in html
    assert "https:" not in html.replace("https://github.com", "")


@pytest.mark.parametrize("page", PAGES)
def test_pages_keep_jupyterhubs_frame(page: str) -> None:
    html = render(page)
    assert 'id="jupyterhub-logo"' in html
    assert "window.jhdata" in html


def test_the_form_stands_in_jupyterhubs_own_page() -> None:
    html = render("spawn.html", error_message="There is no course 'x'")
    assert {"spawn_form", "form"} <= Text(html).ids
    assert "Start your server" in html
    assert "There is no course &#39;x&#39;" in html


def test_the_pending_page_keeps_the_elements_that_stock_pages_have() -> None:
    ids = Text(render("spawn_pending.html")).ids
    assert {"progress-bar", "progress-message", "progress-log", "progress-details", "stop-server-btn"} <= ids


def test_the_pending_page_follows_the_servers_own_progress() -> None:
    html = render("spawn_pending.html", progress_url="/hub/api/users/ana/servers/a%20b/progress?x=1&y=2")
    assert r'const progressUrl = "/hub/api/users/ana/servers/a%20b/progress?x=1\u0026y=2"' in html
    assert 'aria-live="polite"' in html


@pytest.mark.parametrize(("name", "path"), [("", "users/ana/server"), ("big", "users/ana/servers/big")])
def test_the_stop_button_stops_the_server_that_starts(name: str, path: str) -> None:
    html = render("spawn_pending.html", spawner=SimpleNamespace(name=name))
    assert f'hub + "api/" + "{path}"' in html


@pytest.mark.parametrize("failure", all_failures(), ids=lambda failure: failure.reason)
def test_each_reason_has_advice_of_its_own(failure: type[StartFailure]) -> None:
    text = Text(failed(failure("Something went wrong"))).text
    unknown = Text(failed(RuntimeError("?"))).text
    heading = text.split("Something went wrong")[0].strip().splitlines()[-1]
    assert heading
    assert heading not in unknown
    assert "Something went wrong" in text
    assert "What you can do:" in text
    assert "Who can help:" in text


def test_advice_is_the_same_on_jupyterhub_5_which_overwrites_the_reason() -> None:
    failure = CapacityFailure("No room")
    failure.reason = "error"
    assert "No seat became free in time" in Text(failed(failure)).text


def test_every_kind_of_failure_is_among_those_tested() -> None:
    assert {errors.CapacityFailure, errors.EngineFailure} <= set(all_failures())


def test_details_are_there_but_folded() -> None:
    failure = CrashedFailure("Your server ended (exit code 3)", "task: non-zero exit (3)")
    failure.detail_log = "ImportError: no module <numpy>"
    html = failed(failure)
    assert "task: non-zero exit (3)" in html
    assert "ImportError: no module &lt;numpy&gt;" in html
    assert "non-zero" not in Text(html).text
    assert "ImportError" not in Text(html).text


def test_a_failures_sentence_cannot_inject_html() -> None:
    assert "<script>alert" not in failed(CapacityFailure("<script>alert(1)</script>", "<script>alert(2)"))


def test_an_error_without_a_sentence_still_gives_a_page_with_advice() -> None:
    text = Text(failed(RuntimeError("internal"))).text
    assert "Your server did not start" in text
    assert "Try once more" in text
    assert "internal" not in text


def test_an_error_page_without_any_exception_is_complete() -> None:
    text = Text(render("not_running.html", failed=True, failed_message="Too late")).text
    assert "Too late" in text
    assert "What you can do:" in text


def test_jupyterhubs_own_timeout_has_its_advice() -> None:
    error = TimeoutError("late")
    error.reason = "timeout"
    assert "took too long" in Text(failed(error)).text


def test_a_server_that_is_only_stopped_is_no_failure() -> None:
    text = Text(render("not_running.html", implicit_spawn_seconds=0)).text
    assert "Your server is not running" in text
    assert "What you can do" not in text


def test_a_server_that_starts_by_itself_says_so() -> None:
    html = render("not_running.html", implicit_spawn_seconds=3, spawn_url="/hub/spawn/ana?next=x")
    assert "starts by itself" in html
    assert '"/hub/spawn/ana?next=x"' in html
    assert "1000 * 3" in html


@pytest.mark.parametrize("page", ["spawn_pending.html", "stop_pending.html"])
def test_without_scripts_a_waiting_page_comes_again(page: str) -> None:
    assert '<noscript><meta http-equiv="refresh"' in render(page)
