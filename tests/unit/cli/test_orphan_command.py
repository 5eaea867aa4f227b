"""``swarmhub orphans``: shown first, removed only when asked for, never on a hub's doubtful word."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import requests
from click.testing import CliRunner, Result

from swarmhub.cli import main, orphan_command

CONFIG = "hub: {name: lab}\npools: {cpu: {}}\ncourses:\n  intro: {image: 'a:1', pool: cpu}\n"


class Engine:
    """Services by user, made ``age`` seconds ago."""

    def __init__(self) -> None:
        self.ages: dict[tuple[str, str], float] = {}
        self.removed: list[str] = []
        self.away = False

    def services(self, filters: Any = None) -> list[dict[str, Any]]:
        if self.away:
            raise requests.ConnectionError("no socket")
        assert filters == {"label": "org.swarmhub.hub=lab"}
        return [_service(user, server, age) for (user, server), age in self.ages.items()]

    def secrets(self, filters: Any = None) -> list[dict[str, Any]]:
        return []

    def remove_service(self, service: str) -> bool:
        self.removed.append(service)
        return True

    def remove_secret(self, secret: str) -> bool:
        raise AssertionError(secret)


def _service(user: str, server: str, age: float) -> dict[str, Any]:
    made = datetime.fromtimestamp(time.time() - age, UTC).isoformat()
    labels = {"org.swarmhub.user": user, "org.swarmhub.server": server}
    return {"ID": f"id-{user}{server}", "CreatedAt": made, "Spec": {"Name": f"lab-{user}", "Labels": labels}}


class Hub:
    """JupyterHub's two questions; ``listed`` may differ from ``users``, as between two pages."""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {}
        self.listed: dict[str, dict[str, Any]] | None = None
        self.page = 200
        self.status = 200
        self.answer: Any = None
        self.asked_alone: list[str] = []

    def get(self, path: str, query: dict[str, list[str]], headers: Any) -> tuple[int, Any]:
        if headers["Authorization"] != "token hush":
            return 403, {}
        if self.status != 200 or self.answer is not None:
            return self.status, self.answer
        if path == "/hub/api/users":
            assert query["state"] == ["active"]
            assert "jupyterhub-pagination" in headers["Accept"]
            users = self.users if self.listed is None else self.listed
            models = [{"name": name, "servers": servers} for name, servers in users.items()]
            start = int(query["offset"][0])
            end = start + min(self.page, int(query["limit"][0]))
            following = {"offset": end, "limit": self.page} if end < len(models) else None
            return 200, {"items": models[start:end], "_pagination": {"next": following}}
        name = unquote(path.removeprefix("/hub/api/users/"))
        self.asked_alone.append(name)
        return (200, {"name": name, "servers": self.users[name]}) if name in self.users else (404, {})


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def url(hub: Hub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            status, answer = hub.get(parts.path, parse_qs(parts.query), self.headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    (tmp_path / "swarmhub.yaml").write_text(CONFIG)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "api-token").write_text("hush\n")
    monkeypatch.setenv("SWARMHUB_CONFIG", str(tmp_path / "swarmhub.yaml"))
    monkeypatch.setenv("SWARMHUB_STATE", str(tmp_path))
    made = Engine()
    monkeypatch.setattr(orphan_command, "docker_client", lambda _credentials: made)
    return made


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["orphans", "--hub-url", url, *arguments])


def test_without_orphans_it_says_so(engine: Engine, hub: Hub, url: str) -> None:
    engine.ages = {("ana", ""): 9000}
    hub.users = {"ana": {"": {}}}
    result = run(url, "--remove")
    assert (result.exit_code, result.output, engine.removed) == (0, "No orphans.\n", [])


def test_orphans_are_shown_with_age_and_reason_but_not_removed(engine: Engine, hub: Hub, url: str) -> None:
    engine.ages = {("ana", ""): 9000, ("bea", "two"): 9000, ("cyd", ""): 10}
    hub.users = {"ana": {"": {}}, "bea": {"": {}}}
    result = run(url)
    lines = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "service lab-bea bea two 2h the hub knows no such server would be removed" in lines
    assert "service lab-cyd cyd - 10s the hub knows no such server too young" in lines
    assert "lab-ana" not in result.output
    assert "Nothing was removed" in result.output
    assert engine.removed == []


def test_remove_removes_what_is_old_enough_and_nothing_else(engine: Engine, hub: Hub, url: str) -> None:
    engine.ages = {("ana", ""): 9000, ("bea", ""): 9000, ("cyd", ""): 10}
    hub.users = {"ana": {"": {}}}
    rows = [json.loads(line) for line in run(url, "--remove", "--json").output.splitlines()]
    assert [(row["user"], row["outcome"]) for row in rows] == [("bea", "removed"), ("cyd", "too young")]
    assert engine.removed == ["id-bea"]
    run(url, "--remove", "--min-age", "5")
    assert engine.removed == ["id-bea", "id-bea", "id-cyd"]


def test_every_page_of_users_is_read(engine: Engine, hub: Hub, url: str) -> None:
    hub.page = 2
    hub.users = {f"u{i}": {"": {}} for i in range(5)}
    engine.ages = {(name, ""): 9000.0 for name in hub.users}
    assert run(url, "--remove").output == "No orphans.\n"
    assert hub.asked_alone == []


def test_a_user_who_slipped_between_two_pages_is_asked_for_alone(engine: Engine, hub: Hub, url: str) -> None:
    hub.users = {"ana müller@x/y": {"": {}}}
    hub.listed = {}
    engine.ages = {("ana müller@x/y", ""): 9000}
    assert run(url, "--remove").output == "No orphans.\n"
    assert engine.removed == []


def test_the_service_of_a_renamed_user_is_no_orphan(engine: Engine, hub: Hub, url: str) -> None:
    engine.ages = {("ana", ""): 9000}
    hub.users = {"anna": {"": {"state": {"object_id": "id-ana"}}}}
    assert run(url, "--remove").output == "No orphans.\n"


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (403, {}, "refuses to answer: 403"),
        (200, b"<html>", "is no JupyterHub"),
        (200, {"items": [{"name": "ana"}], "_pagination": {"next": None}}, "token may not read users"),
        (200, [], "is no JupyterHub"),
    ],
)
def test_a_hub_that_does_not_answer_as_it_should_removes_nothing(
    *, engine: Engine, hub: Hub, url: str, status: int, answer: Any, said: str
) -> None:
    engine.ages = {("bea", ""): 9000}
    hub.status, hub.answer = status, answer
    result = run(url, "--remove")
    assert (result.exit_code, engine.removed) == (4, [])
    assert "Nothing was removed" in result.output
    assert said in result.output


def test_a_hub_or_engine_that_is_away_or_a_missing_token_is_said(
    engine: Engine, hub: Hub, url: str, tmp_path: Path
) -> None:
    engine.ages = {("bea", ""): 9000}
    result = run("http://127.0.0.1:9", "--remove")
    assert (result.exit_code, "does not answer on http://127.0.0.1:9/hub/api" in result.output) == (4, True)
    engine.away = True
    result = run(url, "--remove")
    assert (result.exit_code, "Docker does not answer as it should: no socket" in result.output) == (4, True)
    result = run(url, "--token-file", str(tmp_path / "absent"))
    assert (result.exit_code, f"{tmp_path}/absent: No such file" in result.output) == (4, True)
    assert engine.removed == []
