"""The programs that run in containers, as far as they run without: their pure parts and the light server."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from types import ModuleType

import pytest
from websockets.sync.client import connect

from bench.cloud import locked_requirements
from bench.workload import LIGHT, PROGRAMS


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("GET", "/v1.45/tasks", "GET /tasks"),
        ("GET", "/v1.45/services/bench-ada", "GET /services/{id}"),
        ("POST", "/v1.45/services/create", "POST /services/create"),
        ("POST", "/v1.45/services/abc/update", "POST /services/{id}/update"),
        ("GET", "/version", "GET /version"),
    ],
)
def test_calls_are_counted_without_version_and_ids(method: str, path: str, verb: str) -> None:
    assert load("count_calls").verb(method, path) == verb


def test_locked_requirements_are_cut_out_with_their_hashes() -> None:
    locked = (
        "aiodns==4.0.4 \\\n    --hash=sha256:a\n    # via x\n"
        "aiohttp==3 \\\n    --hash=sha256:b\n"
        "pycares==5 \\\n    --hash=sha256:c\n"
    )
    assert locked_requirements(locked, ("aiodns", "pycares")) == (
        "aiodns==4.0.4 \\\n    --hash=sha256:a\npycares==5 \\\n    --hash=sha256:c"
    )


@pytest.fixture(scope="module")
def light_server() -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = LIGHT.command[-1].replace("8888", str(port))
    with subprocess.Popen([sys.executable, "-c", source]) as process:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
        process.terminate()
        assert process.wait(5) == 0


def test_the_light_server_answers_every_path(light_server: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{light_server}/user/ada/api", timeout=5) as answer:
        assert answer.read() == b"{}"


def test_the_light_servers_websocket_keeps_beating(light_server: int) -> None:
    with connect(
        f"ws://127.0.0.1:{light_server}/user/ada/beat", compression=None, close_timeout=0.1
    ) as beating:
        assert [beating.recv(timeout=2) for _ in range(3)] == ["beat"] * 3
