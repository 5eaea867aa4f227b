from __future__ import annotations

import pytest
from aiohttp import web
from swarmhub_agent import identity as identities
from swarmhub_agent.identity import Identity, IdentityIncompleteError
from swarmhub_agent.metadata import Metadata, MetadataUnavailableError

from tests.unit.agent.conftest import Clock
from tests.unit.agent.fakes import FakeMetadata


async def test_the_identity_is_read_from_metadata_and_tags(metadata: Metadata, identity: Identity) -> None:
    assert await identities.read_once(metadata) == identity


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("tags/instance/swarmhub:hub", None, "swarmhub:hub; are instance tags allowed"),
        ("tags/instance/swarmhub:pool", " ", "swarmhub:pool"),
        ("tags/instance/swarmhub:pool", "../x", "only letters"),
        ("instance-id", "<html>", "only letters"),
        ("local-ipv4", "localhost", "no IP address"),
    ],
)
async def test_what_is_missing_or_wrong_is_named(
    metadata: Metadata, metadata_service: FakeMetadata, path: str, value: str | None, reason: str
) -> None:
    full = f"/latest/meta-data/{path}"
    if value is None:
        del metadata_service.items[full]
    else:
        metadata_service.items[full] = value
    with pytest.raises(IdentityIncompleteError, match=reason):
        await identities.read_once(metadata)


async def test_reading_goes_on_until_the_service_answers(
    metadata: Metadata, metadata_service: FakeMetadata, identity: Identity, clock: Clock
) -> None:
    async def broken(request: web.Request) -> web.Response:
        if len(metadata_service.requests) == 4:
            metadata_service.failing = None
        return web.Response(status=503)

    metadata_service.failing = broken
    failures: list[str] = []
    assert (
        await identities.read(
            metadata, time_limit_s=None, on_failure=failures.append, sleep=clock.sleep, clock=clock
        )
        == identity
    )
    assert len(failures) == 4
    assert "503" in failures[0]
    assert clock.slept == sorted(clock.slept)


async def test_reading_ends_with_the_last_reason_when_the_time_is_over(
    metadata: Metadata, metadata_service: FakeMetadata, clock: Clock
) -> None:
    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=503)

    metadata_service.failing = broken
    with pytest.raises(MetadataUnavailableError, match="503"):
        await identities.read(metadata, time_limit_s=60, sleep=clock.sleep, clock=clock)
    assert 60 <= clock.time < 80
