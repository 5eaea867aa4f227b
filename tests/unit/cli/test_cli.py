"""What the operator types."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from swarmhub.cli import main
from swarmhub.controller.status import MemberRow, StatusDocument

GOOD = "hub: {name: lab}\npools: {cpu: {}}\ncourses:\n  intro: {image: 'a:1', pool: cpu}\n"
NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
DOCUMENT = StatusDocument(
    hub="lab",
    now=NOW,
    swarm_seen_at=NOW,
    cloud_seen_at=None,
    problems=("AWS cannot be read: throttled",),
    members=(
        MemberRow(
            node="host1",
            node_id="node1",
            instance="i-1",
            pool="cpu",
            state="draining",
            servers=2,
            since=NOW,
            deadline=None,
            reason="EC2 takes the spot instance back",
        ),
    ),
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def answer() -> list[str]:
    """What the controller answers; a test may change it."""
    return [DOCUMENT.model_dump_json()]


@pytest.fixture
def controller(answer: list[str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer[0].encode())

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/status"
    server.shutdown()
    server.server_close()


def test_status_is_a_table_with_reasons(controller: str) -> None:
    result = run("status", "--url", controller)
    assert result.exit_code == 0
    for shown in ("host1", "i-1", "draining", "EC2 takes the spot instance back", "AWS seen never"):
        assert shown in result.output
    assert "PROBLEM: AWS cannot be read: throttled" in result.output


def test_status_as_json_is_the_whole_document(controller: str) -> None:
    result = run("status", "--json", "--url", controller)
    assert StatusDocument.model_validate_json(result.output) == DOCUMENT


def test_a_proxy_of_the_environment_is_not_asked(controller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert run("status", "--url", controller).exit_code == 0


def test_without_a_controller_it_says_what_to_do() -> None:
    result = run("status", "--url", "http://127.0.0.1:9/status")
    assert result.exit_code == 3
    assert "docker service ps swarmhub_controller" in result.output


def test_something_else_on_the_port_is_not_taken_for_the_controller(
    controller: str, answer: list[str]
) -> None:
    answer[0] = "<html>"
    result = run("status", "--url", controller)
    assert (result.exit_code, "no controller of this version" in result.output) == (3, True)


def test_a_good_configuration_is_summarised(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    file.write_text(GOOD)
    result = run("config", "check", str(file))
    assert result.exit_code == 0
    assert result.output.startswith("OK: hub lab, 1 pool, 1 course")


def test_a_bad_configuration_is_explained_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    file.write_text(GOOD.replace("pool: cpu", "pool: gpu"))
    for command in ("check", "show"):
        result = run("config", command, str(file))
        assert result.exit_code == 1
        assert f"{file}:4: courses.intro.pool" in result.output


def test_the_file_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "elsewhere.yaml"
    file.write_text(GOOD)
    monkeypatch.setenv("SWARMHUB_CONFIG", str(file))
    assert run("config", "check").exit_code == 0


def test_show_fills_the_defaults_in(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    file.write_text(GOOD)
    shown = json.loads(run("config", "show", "--json", str(file)).output)
    assert shown["default_course"] == "intro"
    assert "course intro: pool cpu, image a:1" in run("config", "show", str(file)).output
