"""The process: it serves, survives its surroundings and ends quickly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from swarmhub.controller import main as module
from swarmhub.controller.live_config import LiveConfig
from swarmhub.controller.main import Environment, environment_from, serve
from swarmhub.pins import FILE_NAME
from tests.unit.controller.certs import Authority
from tests.unit.controller.fakes import Clock, FakeCloud, FakeSwarm

CONFIG = "hub: {name: lab}\npools: {cpu: {}}\ncourses: {intro: {image: 'a@sha256:1', pool: cpu}}\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_environment_names_files_and_region() -> None:
    assert environment_from({}) == Environment()
    given = environment_from({"SWARMHUB_STATE": "/s", "SWARMHUB_CONFIG": "/c", "AWS_REGION": "eu-west-1"})
    assert (given.state, given.config, given.region) == (Path("/s"), Path("/c"), "eu-west-1")


async def test_everything_together_serves_and_keeps_the_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.02)
    file = tmp_path / "swarmhub.yaml"
    file.write_text(CONFIG)
    certificates = Authority().issue(tmp_path / "certificates", "boss", "swarm-manager")
    environment = Environment(
        config=file,
        state=tmp_path,
        certificates=certificates,
        scratch=tmp_path,
        agent_port=0,
        local_port=free_port(),
    )
    clock, stop = Clock(), asyncio.Event()
    swarm, cloud = FakeSwarm(clock), FakeCloud(clock)
    serving = asyncio.create_task(serve(environment, LiveConfig(file), swarm, cloud, stop))
    async with asyncio.timeout(10):
        while not (cloud.parameters and (tmp_path / FILE_NAME).exists()):
            await asyncio.sleep(0.01)
            assert not serving.done()
    assert cloud.parameters == {"/swarmhub/lab/join-token": "SWMTKN-1"}
    url = f"http://127.0.0.1:{environment.local_port}/status"
    answer = await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(url, timeout=5)))
    assert {m["node"] for m in answer["members"]} == {"host1", "host2"}
    assert [(row["image"], row["courses"]) for row in answer["images"]] == [("a@sha256:1", ["intro"])]
    stop.set()
    async with asyncio.timeout(2):
        await serving


def test_without_docker_aws_or_certificates_it_runs_says_so_and_ends_within_two_seconds(
    tmp_path: Path,
) -> None:
    file = tmp_path / "swarmhub.yaml"
    file.write_text(CONFIG)
    environment = {
        **os.environ,
        "SWARMHUB_CONFIG": str(file),
        "SWARMHUB_STATE": str(tmp_path),
        "SWARMHUB_CERTIFICATES_DIR": str(tmp_path / "none"),
        "DOCKER_HOST": "tcp://127.0.0.1:9",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    port = free_port()
    code = (
        "import dataclasses, swarmhub.controller.main as m; read = m.environment_from; "
        f"m.environment_from = lambda e: dataclasses.replace(read(e), local_port={port}, agent_port=0); "
        "m.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        document = _status(f"http://127.0.0.1:{port}/status")
        problems = " ".join(document["problems"])
        assert "the swarm cannot be read" in problems
        assert "certificate" in problems
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=10)
        assert time.monotonic() - asked < 2
    finally:
        process.kill()
    assert process.returncode == 0
    assert all(json.loads(line)["event"] for line in output.splitlines())


def test_a_bad_configuration_is_said_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "swarmhub.yaml"
    file.write_text(CONFIG.replace("pool: cpu", "pool: gpu"))
    done = subprocess.run(
        [sys.executable, "-c", "from swarmhub.controller.main import main; main()"],
        env={**os.environ, "SWARMHUB_CONFIG": str(file)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert f"{file}:3" in done.stderr


def _status(url: str) -> dict[str, list[str]]:
    """The status document, once the controller has tried everything at least once."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                document: dict[str, list[str]] = json.load(answer)
            if len(document["problems"]) >= 2:
                return document
        except (urllib.error.URLError, OSError):
            pass
        assert time.monotonic() < deadline, "the controller does not answer"
        time.sleep(0.05)
