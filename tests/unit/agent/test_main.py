"""The command line, run as systemd runs it: a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from swarmhub_agent import main as program

from tests.unit.agent.fakes import INSTANCE, LIMIT_S, NODE, FakeController, FakeEngine, FakeMetadata, Pki


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory, socket_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(socket_path.with_name("notify.sock")))
        listener.setblocking(False)
        yield listener


async def start(environ: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "swarmhub_agent.main",
        *arguments,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def finish(process: asyncio.subprocess.Process) -> tuple[int, list[dict[str, object]]]:
    """Exit status and the lines of the log; everything on standard output must be JSON."""
    async with asyncio.timeout(LIMIT_S * 2):
        output, errors = await process.communicate()
    assert errors == b""
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in output.splitlines()]


@pytest.fixture
async def running(
    *,
    metadata_service: FakeMetadata,
    engine_service: FakeEngine,
    controller_service: FakeController,
    systemd: socket.socket,
    socket_path: Path,
    pki: Pki,
    tmp_path: Path,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The agent on a node that is a member."""
    engine_service.state, engine_service.node_id = "active", NODE
    (tmp_path / "run").mkdir()
    process = await start(
        {
            "SWARMHUB_METADATA_URL": metadata_service.url,
            "SWARMHUB_DOCKER_SOCKET": str(socket_path),
            "SWARMHUB_CONTROLLER_PORT": str(controller_service.port),
            "SWARMHUB_CERTIFICATES_DIR": str(pki.write(tmp_path / "certificates", NODE)),
            "SWARMHUB_RUNTIME_DIR": str(tmp_path / "run"),
            "SWARMHUB_REPORT_INTERVAL": "0.5",
            "NOTIFY_SOCKET": systemd.getsockname(),
            "WATCHDOG_USEC": "200000",
        },
        "run",
    )
    yield process
    if process.returncode is None:
        process.kill()
        await process.wait()


async def test_run_is_ready_reports_and_ends_on_sigterm_without_leaving(
    running: asyncio.subprocess.Process,
    systemd: socket.socket,
    controller_service: FakeController,
    engine_service: FakeEngine,
) -> None:
    report = await asyncio.wait_for(controller_service.next(), LIMIT_S * 2)
    assert report.instance_id == INSTANCE
    running.send_signal(signal.SIGTERM)
    status, lines = await asyncio.wait_for(finish(running), 3)
    assert status == 0
    assert engine_service.calls == []
    assert {"before": "booting", "after": "member"}.items() <= next(
        line for line in lines if line["event"] == "state changed"
    ).items()
    told = b""
    while True:
        try:
            told += systemd.recv(4096) + b"\n"
        except BlockingIOError:
            break
    for word in (b"READY=1", b"WATCHDOG=1", b"STATUS=", b"STOPPING=1"):
        assert word in told


async def test_engine_config_writes_the_labels_and_says_so(
    metadata_service: FakeMetadata, tmp_path: Path
) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"log-driver": "local"}')
    environ = {"SWARMHUB_METADATA_URL": metadata_service.url}
    status, [line] = await finish(await start(environ, "engine-config", "--daemon-json", str(file)))
    assert status == 0
    assert line["changed"] is True
    assert json.loads(file.read_text()) == {
        "log-driver": "local",
        "labels": [f"org.swarmhub.instance={INSTANCE}", "org.swarmhub.pool=cpu"],
    }


async def test_engine_config_ends_with_a_reason_when_the_file_is_broken(
    metadata_service: FakeMetadata, tmp_path: Path
) -> None:
    file = tmp_path / "daemon.json"
    file.write_text("{")
    environ = {"SWARMHUB_METADATA_URL": metadata_service.url}
    status, [line] = await finish(await start(environ, "engine-config", "--daemon-json", str(file)))
    assert status == 1
    assert f"{file}, line 1, column 2" in str(line["reason"])


def test_a_wrong_setting_ends_the_program_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWARMHUB_REPORT_INTERVAL", "often")
    assert program.main(["run"]) == program.EXIT_USAGE
    line = json.loads(capsys.readouterr().out)
    assert line["level"] == "error"
    assert "SWARMHUB_REPORT_INTERVAL='often'" in line["reason"]


def test_without_a_command_the_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main([])
    assert ended.value.code == program.EXIT_USAGE
    assert "engine-config" in capsys.readouterr().err
