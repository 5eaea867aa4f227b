"""The agents' API with real TLS: a node may speak for itself, and only for itself."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from swarmhub_agent.protocol import Reply, Report

from swarmhub.controller.api import REPORT_BYTES, agent_app, local_app
from swarmhub.controller.serve import AgentListener
from swarmhub.controller.status import StatusDocument
from swarmhub.controller.swarm import SwarmError
from tests.unit.controller.certs import CLUSTER, Authority, client_context
from tests.unit.controller.world import NOW, report

BODY = report().report.model_dump_json()


@dataclass
class FakeDesk:
    """Knows node1 and keeps what it is told."""

    cluster_id: str | None = CLUSTER
    alive: bool = True
    broken: bool = False
    accepted: list[tuple[str, Report]] = field(default_factory=list)

    async def knows(self, node_id: str) -> bool:
        if self.broken:
            raise SwarmError("Docker: no answer")
        return node_id in {"node1", "boss"}

    def accept(self, node_id: str, report: Report) -> Reply:
        self.accepted.append((node_id, report))
        return Reply(state="active", reason="takes servers", images=("a@sha256:1",))

    def status(self) -> StatusDocument:
        return StatusDocument(hub="lab", now=NOW, swarm_seen_at=None, cloud_seen_at=None)

    def is_alive(self) -> bool:
        return self.alive


@dataclass
class Site:
    desk: FakeDesk
    listener: AgentListener
    authority: Authority
    root: Path

    def certificate(self, node_id: str, role: str = "swarm-worker", cluster: str = CLUSTER) -> Path:
        return self.authority.issue(self.root / f"{node_id}-{role}-{cluster}", node_id, role, cluster)

    async def post(self, files: Path | None, about: str, body: str = BODY) -> tuple[int, dict[str, Any]]:
        context = client_context(files, self.root / "manager", self.root)
        url = f"https://127.0.0.1:{self.listener.port}/v1/nodes/{about}/report"
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, data=body, ssl=context, server_hostname="swarm-manager") as answer,
        ):
            return answer.status, json.loads(await answer.text())


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[Site]:
    authority, desk = Authority(), FakeDesk()
    files = authority.issue(root / "manager", "boss", "swarm-manager")
    listener = AgentListener(agent_app(desk), "127.0.0.1", 0, files, root)
    await listener.start()
    try:
        yield Site(desk, listener, authority, root)
    finally:
        await listener.stop()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serving(tmp_path) as running:
        yield running


async def test_a_node_speaks_for_itself(site: Site) -> None:
    status, answer = await site.post(site.certificate("node1"), "node1")
    assert status == 200
    assert Reply.model_validate(answer) == Reply(
        state="active", reason="takes servers", images=("a@sha256:1",)
    )
    assert site.desk.accepted == [("node1", report().report)]


async def test_a_manager_too_speaks_for_itself(site: Site) -> None:
    assert (await site.post(site.certificate("boss", "swarm-manager"), "boss"))[0] == 200
    assert (await site.post(site.certificate("boss", "swarm-manager"), "node1"))[0] == 403


async def test_a_node_that_speaks_for_another_is_refused_and_named_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="swarmhub.controller"):
        status, answer = await site.post(site.certificate("node2"), "node1")
    assert status == 403
    assert "node node2 tried to speak for node node1" in answer["error"]
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    fields = line.__dict__["fields"]
    assert (fields["node"], fields["about_node"]) == ("node2", "node1")
    assert "node2 tried to speak for node node1" in fields["reason"]
    assert site.desk.accepted == []


async def test_without_a_certificate_there_is_no_conversation(site: Site) -> None:
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await site.post(None, "node1")
    assert site.desk.accepted == []


async def test_a_certificate_of_another_authority_is_refused_in_the_handshake(site: Site) -> None:
    foreign = Authority().issue(site.root / "foreign", "node1")
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await site.post(foreign, "node1")
    assert site.desk.accepted == []


@pytest.mark.parametrize(
    ("role", "cluster", "named"),
    [("swarm-worker", "cluster1", "another swarm"), ("swarm-ca", CLUSTER, "role is 'swarm-ca'")],
)
async def test_a_wrong_cluster_or_role_is_refused(site: Site, role: str, cluster: str, named: str) -> None:
    status, answer = await site.post(site.certificate("node1", role, cluster), "node1")
    assert (status, named in answer["error"]) == (403, True)
    assert site.desk.accepted == []


async def test_a_node_that_was_removed_is_told_that_it_is_gone(site: Site) -> None:
    status, answer = await site.post(site.certificate("node7"), "node7")
    assert status == 410
    assert "node7" in answer["error"]


async def test_a_swarm_that_does_not_answer_is_not_taken_for_a_removed_node(site: Site) -> None:
    site.desk.broken = True
    assert (await site.post(site.certificate("node1"), "node1"))[0] == 503


async def test_before_the_swarms_id_is_known_nobody_is_let_in(site: Site) -> None:
    site.desk.cluster_id = None
    assert (await site.post(site.certificate("node1"), "node1"))[0] == 503


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("{", "body"),
        ("{}", "agent_version"),
        (BODY.replace('"member"', '"dancing"'), "phase"),
        (BODY.replace('"version":1', '"version":2'), "version"),
    ],
)
async def test_a_bad_body_is_refused_with_the_field_named(site: Site, body: str, named: str) -> None:
    status, answer = await site.post(site.certificate("node1"), "node1", body)
    assert (status, named in answer["error"]) == (400, True)


async def test_a_report_that_is_too_long_is_refused(site: Site) -> None:
    status, answer = await site.post(site.certificate("node1"), "node1", " " * (REPORT_BYTES + 1))
    assert (status, "error" in answer) == (413, True)


async def test_a_renewed_certificate_is_taken_over_and_a_broken_one_is_not(site: Site) -> None:
    files, node1 = site.root / "manager", site.certificate("node1")
    (files / "swarm-node.key").write_text("not a key")
    await site.listener.refresh()
    assert "cannot be used" in (site.listener.problem or "")
    assert (await site.post(node1, "node1"))[0] == 200
    site.authority = Authority()
    site.authority.issue(files, "boss", "swarm-manager")
    await site.listener.refresh()
    assert site.listener.problem is None
    assert (await site.post(site.certificate("node1"), "node1"))[0] == 200


async def test_the_local_listener_serves_status_and_health() -> None:
    desk = FakeDesk()
    async with TestClient(TestServer(local_app(desk))) as client:
        answer = await client.get("/status")
        assert StatusDocument.model_validate_json(await answer.text()) == desk.status()
        assert (await client.get("/healthz")).status == 200
        desk.alive = False
        assert (await client.get("/healthz")).status == 503
        assert (await (await client.get("/secrets")).json())["error"]
