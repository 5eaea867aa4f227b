from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from swarmhub_agent.certificate import CertificateUnavailableError, NodeTls
from swarmhub_agent.controller import (
    ControllerClient,
    ControllerRefusedError,
    ControllerUnavailableError,
    NodeUnknownError,
)
from swarmhub_agent.protocol import AgentPhase, Check, Notice, NoticeKind, Reply, Report

from tests.unit.agent.fakes import INSTANCE, NODE, FakeController, Pki, port_of, serving

REPORT = Report(
    agent_version="0.1.0",
    instance_id=INSTANCE,
    pool="cpu",
    phase=AgentPhase.MEMBER,
    checks=(Check(name="disk", ok=True, detail="Enough."),),
    notices=(Notice(kind=NoticeKind.SPOT, seen_at=datetime(2026, 3, 1, tzinfo=UTC)),),
)


def client(
    session: aiohttp.ClientSession, certificates: Path, port: int, ahead_s: float = 0, timeout_s: float = 5
) -> ControllerClient:
    return ControllerClient(
        session,
        NodeTls(certificates, certificates),
        port=port,
        now=lambda: datetime.now(UTC) + timedelta(seconds=ahead_s),
        timeout_s=timeout_s,
    )


@pytest.fixture
def certificates(pki: Pki, tmp_path: Path) -> Path:
    return pki.write(tmp_path / "certificates", NODE)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


async def test_a_report_arrives_whole_with_the_nodes_certificate(
    session: aiohttp.ClientSession, certificates: Path, controller_service: FakeController
) -> None:
    controller_service.reply = Reply(
        state="draining", reason="it goes", may_leave=True, images=("a@sha256:b",)
    )
    answer = await client(session, certificates, controller_service.port).report(["127.0.0.1"], NODE, REPORT)
    assert answer.reply == controller_service.reply
    assert answer.manager == "127.0.0.1"
    assert controller_service.reports.get_nowait() == (NODE, REPORT)
    [peer] = controller_service.peers
    assert (("commonName", NODE),) in peer["subject"]
    assert (("organizationalUnitName", "swarm-worker"),) in peer["subject"]


async def test_the_difference_of_the_clocks_is_measured(
    session: aiohttp.ClientSession, certificates: Path, controller_service: FakeController
) -> None:
    answer = await client(session, certificates, controller_service.port, ahead_s=60).report(
        ["127.0.0.1"], NODE, REPORT
    )
    assert answer.clock_skew_s == pytest.approx(60, abs=2)


async def test_the_next_manager_is_tried_and_then_preferred(
    session: aiohttp.ClientSession, certificates: Path, controller_service: FakeController
) -> None:
    reporter = client(session, certificates, controller_service.port)
    # Nobody listens on 127.0.0.2; that the first is not asked again shows in the order of the failures below.
    assert (await reporter.report(["127.0.0.2", "127.0.0.1"], NODE, REPORT)).manager == "127.0.0.1"
    controller_service.status = 500
    with pytest.raises(ControllerUnavailableError, match=r"^127\.0\.0\.1 answered 500; 127\.0\.0\.2: "):
        await reporter.report(["127.0.0.2", "127.0.0.1"], NODE, REPORT)


async def test_a_manager_that_says_nothing_is_given_up(
    session: aiohttp.ClientSession, certificates: Path, silent_port: int
) -> None:
    with pytest.raises(ControllerUnavailableError, match=r"127\.0\.0\.1 did not answer in time"):
        await client(session, certificates, silent_port, timeout_s=0.1).report(["127.0.0.1"], NODE, REPORT)


async def test_no_manager_known_is_said(session: aiohttp.ClientSession, certificates: Path) -> None:
    with pytest.raises(ControllerUnavailableError, match="no manager is known"):
        await client(session, certificates, 1).report([], NODE, REPORT)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (410, NodeUnknownError),
        (403, ControllerRefusedError),
        (404, ControllerRefusedError),
        (429, ControllerRefusedError),
        (500, ControllerUnavailableError),
        (503, ControllerUnavailableError),
        (302, ControllerUnavailableError),
    ],
)
async def test_every_other_status_is_an_error_of_its_kind(
    session: aiohttp.ClientSession,
    certificates: Path,
    controller_service: FakeController,
    status: int,
    error: type[Exception],
) -> None:
    controller_service.status = status
    with pytest.raises(error):
        await client(session, certificates, controller_service.port).report(["127.0.0.1"], NODE, REPORT)


async def test_a_reply_that_is_none_is_an_error(
    session: aiohttp.ClientSession, certificates: Path, controller_service: FakeController
) -> None:
    controller_service.raw = b'{"state": 1}'
    with pytest.raises(ControllerUnavailableError, match="no reply"):
        await client(session, certificates, controller_service.port).report(["127.0.0.1"], NODE, REPORT)


async def test_a_server_with_a_workers_certificate_gets_no_report(
    session: aiohttp.ClientSession, certificates: Path, pki: Pki, tmp_path: Path
) -> None:
    impostor = FakeController()
    context = pki.server_context(tmp_path / "worker", role="swarm-worker")
    async with serving(
        "/v1/nodes/{node}/report",
        impostor.handle,
        lambda runner: web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context),
    ) as runner:
        with pytest.raises(ControllerUnavailableError, match="swarm-manager"):
            await client(session, certificates, port_of(runner)).report(["127.0.0.1"], NODE, REPORT)
    assert impostor.reports.empty()


async def test_a_manager_of_another_swarm_gets_no_report(
    session: aiohttp.ClientSession, controller_service: FakeController, tmp_path: Path
) -> None:
    certificates = Pki().write(tmp_path / "other", NODE)
    with pytest.raises(ControllerUnavailableError):
        await client(session, certificates, controller_service.port).report(["127.0.0.1"], NODE, REPORT)
    assert controller_service.reports.empty()


async def test_a_renewed_certificate_is_used_from_the_next_report_on(
    session: aiohttp.ClientSession, certificates: Path, controller_service: FakeController, pki: Pki
) -> None:
    reporter = client(session, certificates, controller_service.port)
    await reporter.report(["127.0.0.1"], NODE, REPORT)
    pki.write(certificates, "an0thernode")
    os.utime(certificates / "swarm-node.crt", (1, 1))
    await reporter.report(["127.0.0.1"], "an0thernode", REPORT)
    assert (("commonName", "an0thernode"),) in controller_service.peers[1]["subject"]


async def test_without_a_certificate_nothing_is_sent(session: aiohttp.ClientSession, tmp_path: Path) -> None:
    with pytest.raises(CertificateUnavailableError):
        await client(session, tmp_path, 1).report(["127.0.0.1"], NODE, REPORT)
