from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from swarmhub_agent.engine import Engine
from swarmhub_agent.identity import Identity
from swarmhub_agent.metadata import Metadata

from tests.unit.agent.fakes import (
    INSTANCE,
    LIMIT_S,
    FakeController,
    FakeEngine,
    FakeMetadata,
    Pki,
    port_of,
    serving,
)


class Clock:
    """A clock the test drives: time passes only by sleeping on it."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def identity() -> Identity:
    return Identity(instance_id=INSTANCE, region="us-east-1", private_ip="10.0.0.7", hub="lab", pool="cpu")


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def metadata_service() -> AsyncIterator[FakeMetadata]:
    fake = FakeMetadata()
    async with serving(
        "/{path:.*}", fake.handle, lambda runner: web.TCPSite(runner, "127.0.0.1", 0)
    ) as runner:
        fake.url = f"http://127.0.0.1:{port_of(runner)}"
        yield fake


@pytest.fixture
def metadata(metadata_service: FakeMetadata, session: aiohttp.ClientSession) -> Metadata:
    return Metadata(session, metadata_service.url, timeout_s=LIMIT_S)


@pytest.fixture
def socket_path() -> Iterator[Path]:
    # Not tmp_path: the name of a unix socket must be shorter than 108 bytes.
    with tempfile.TemporaryDirectory(prefix="swarmhub") as directory:
        yield Path(directory) / "docker.sock"


@pytest.fixture
async def engine_service(socket_path: Path, tmp_path: Path) -> AsyncIterator[FakeEngine]:
    fake = FakeEngine(tmp_path)
    async with serving("/{path:.*}", fake.handle, lambda runner: web.UnixSite(runner, socket_path)):
        yield fake
        fake.hang.set()


@pytest.fixture
async def engine(engine_service: FakeEngine, socket_path: Path) -> AsyncIterator[Engine]:
    connector = aiohttp.UnixConnector(path=str(socket_path))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Engine(session)


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def controller_service(pki: Pki, tmp_path: Path) -> AsyncIterator[FakeController]:
    fake = FakeController()
    context = pki.server_context(tmp_path / "manager")
    async with serving(
        "/v1/nodes/{node}/report",
        fake.handle,
        lambda runner: web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context),
    ) as runner:
        fake.port = port_of(runner)
        yield fake
