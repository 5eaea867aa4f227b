"""The health check, run by a real shell against a real server with what different images have."""

import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmhub.spawner.health import START_INTERVAL, health_check, no_health_check, probe

TOOLS = {
    "curl": shutil.which("curl"),
    "wget": shutil.which("wget"),
    "python3": sys.executable,
    "python": sys.executable,
}
"""Where this machine has what an image may have; None: not here."""


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers ``/<status>/...`` with that status."""

    def do_GET(self) -> None:
        status = int(self.path.split("/")[1])
        self.server.paths.append(self.path)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/500/hub/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Tests print nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.paths = []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def install(directory: Path, tool: str) -> None:
    """Put ``tool``, and nothing else, on the path that is ``directory``."""
    found = TOOLS[tool]
    if found is None:
        pytest.skip(f"this machine has no {tool}")
    fake(directory, tool, f'exec {found} "$@"')


def fake(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(path: Path, port: int, url_path: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", "-c", probe(port, url_path)],
        env={"PATH": str(path), **env},
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (302, True), (404, True), (503, False)])
def test_an_answer_below_500_is_a_sign_of_life(
    tool: str, status: int, is_healthy: bool, server: http.server.HTTPServer, tmp_path: Path
) -> None:
    install(tmp_path, tool)
    done = run(tmp_path, server.server_port, f"/{status}/user/ana/api")
    assert (done.returncode == 0) is is_healthy, done
    assert f"/{status}/user/ana/api" in server.paths
    # What the server said is in the engine's health log, for whoever looks for a reason.
    assert is_healthy or "503" in done.stdout


@pytest.mark.parametrize("tool", TOOLS)
def test_nobody_listening_is_unhealthy(tool: str, tmp_path: Path) -> None:
    install(tmp_path, tool)
    assert run(tmp_path, 1, "/user/ana/api").returncode == 1


@pytest.mark.parametrize("tool", ["curl", "wget", "python3"])
def test_a_proxy_in_the_servers_environment_is_not_asked(
    tool: str, server: http.server.HTTPServer, tmp_path: Path
) -> None:
    install(tmp_path, tool)
    proxy = {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}
    assert run(tmp_path, server.server_port, "/200/api", **proxy).returncode == 0


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("  HTTP/1.1 200 OK\n  Server: TornadoServer/6.5", 0),
        ("wget: server returned error: HTTP/1.1 404 Not Found", 0),
        ("wget: server returned error: HTTP/1.1 500 Internal Server Error", 1),
        ("wget: can't connect to remote host (127.0.0.1): Connection refused", 1),
    ],
)
def test_busyboxs_wget_is_understood(answer: str, code: int, tmp_path: Path) -> None:
    # Its exit status is 1 for every error; only its words tell a 404 from a closed port.
    fake(tmp_path, "wget", f'echo "{answer}" >&2; exit {int("error" in answer or "can" in answer)}')
    assert run(tmp_path, 1, "/api").returncode == code


def test_the_first_tool_there_is_decides(tmp_path: Path) -> None:
    fake(tmp_path, "curl", 'echo "HTTP/1.1 200"')
    fake(tmp_path, "wget", "echo asked >&2; exit 1")
    assert run(tmp_path, 1, "/api").returncode == 0


def test_an_image_without_any_tool_counts_as_healthy(tmp_path: Path) -> None:
    assert run(tmp_path, 1, "/api").returncode == 0


@pytest.mark.parametrize("tool", ["curl", "python3"])
def test_a_prefix_is_data_whatever_it_contains(
    tool: str, server: http.server.HTTPServer, tmp_path: Path
) -> None:
    install(tmp_path, tool)
    path = f"/200/o'neil%40x$(touch${{IFS}}{tmp_path}/hacked);`id`/api"
    assert run(tmp_path, server.server_port, path).returncode == 0
    assert path in server.paths
    assert not (tmp_path / "hacked").exists()


def test_health_is_asked_often_at_the_start_and_forgivingly_later() -> None:
    check = health_check(8888, "/user/ana/", 180.0)
    assert check["Test"] == ["CMD-SHELL", probe(8888, "/user/ana/api")]
    assert check["StartInterval"] == START_INTERVAL * 10**9
    assert check["StartPeriod"] == 180 * 10**9
    assert check["Interval"] * check["Retries"] >= 120 * 10**9
    # The tools' own limit comes first, so that the log says what happened.
    assert check["Timeout"] > 8 * 10**9


def test_an_image_without_a_shell_is_not_asked() -> None:
    assert no_health_check() == {"Test": ["NONE"]}
