from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from swarmhub_agent.metadata import Metadata, MetadataUnavailableError

from tests.unit.agent.conftest import Clock
from tests.unit.agent.fakes import INSTANCE, FakeMetadata

ID = "/latest/meta-data/instance-id"


async def test_one_token_serves_many_reads(metadata: Metadata, metadata_service: FakeMetadata) -> None:
    assert await metadata.get(ID) == INSTANCE
    assert await metadata.get("/latest/meta-data/tags/instance/swarmhub:pool") == "cpu"
    assert len(metadata_service.tokens) == 1


async def test_concurrent_reads_share_one_token(metadata: Metadata, metadata_service: FakeMetadata) -> None:
    assert await asyncio.gather(*(metadata.get(ID) for _ in range(5))) == [INSTANCE] * 5
    assert len(metadata_service.tokens) == 1


async def test_the_token_is_renewed_before_the_service_lets_it_expire(
    metadata_service: FakeMetadata, session: aiohttp.ClientSession, clock: Clock
) -> None:
    metadata = Metadata(session, metadata_service.url, clock=clock)
    metadata_service.ttl_header = "100"
    await metadata.get(ID)
    clock.time = 39
    await metadata.get(ID)
    assert len(metadata_service.tokens) == 1
    clock.time = 41
    await metadata.get(ID)
    assert len(metadata_service.tokens) == 2


async def test_a_rejected_token_is_replaced_and_the_read_repeated_once(
    metadata: Metadata, metadata_service: FakeMetadata
) -> None:
    await metadata.get(ID)
    metadata_service.forget_token()
    assert await metadata.get(ID) == INSTANCE


async def test_a_service_that_rejects_every_token_is_unavailable_after_one_retry(
    metadata: Metadata, metadata_service: FakeMetadata
) -> None:
    async def rejects(request: web.Request) -> web.Response:
        return web.Response(text="token") if request.method == "PUT" else web.Response(status=401)

    metadata_service.failing = rejects
    with pytest.raises(MetadataUnavailableError, match="401"):
        await metadata.get(ID)
    assert metadata_service.requests.count(f"GET {ID}") == 2


async def test_an_item_that_is_not_there_is_none(metadata: Metadata) -> None:
    assert await metadata.get("/latest/meta-data/spot/instance-action") is None


async def test_without_a_token_nothing_is_read(metadata: Metadata, metadata_service: FakeMetadata) -> None:
    async def only_version_1(request: web.Request) -> web.Response:
        return web.Response(status=405) if request.method == "PUT" else web.Response(text="v1")

    metadata_service.failing = only_version_1
    with pytest.raises(MetadataUnavailableError, match="405"):
        await metadata.get(ID)
    assert f"GET {ID}" not in metadata_service.requests


def _answers(response: Callable[[], web.Response]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text="token") if request.method == "PUT" else response()

    return handle


@pytest.mark.parametrize(
    "response",
    [
        lambda: web.Response(status=429),
        lambda: web.Response(status=500),
        lambda: web.Response(status=503),
        lambda: web.Response(status=302, headers={"Location": "/"}),
        lambda: web.Response(body=b"\xff\xfe\xfa"),
    ],
    ids=["429", "500", "503", "redirect", "not UTF-8"],
)
async def test_any_other_answer_is_unavailable(
    metadata: Metadata, metadata_service: FakeMetadata, response: Callable[[], web.Response]
) -> None:
    metadata_service.failing = _answers(response)
    with pytest.raises(MetadataUnavailableError):
        await metadata.get(ID)


@pytest.mark.parametrize("token", ["", "<html>\nlogin\n</html>", "tökén"])
async def test_garbage_for_a_token_is_unavailable(
    metadata: Metadata, metadata_service: FakeMetadata, token: str
) -> None:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(text=token)

    metadata_service.failing = handle
    with pytest.raises(MetadataUnavailableError, match="no token"):
        await metadata.get(ID)


async def test_silence_is_unavailable_after_the_time_limit(
    metadata_service: FakeMetadata, session: aiohttp.ClientSession
) -> None:
    async def silent(request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    metadata_service.failing = silent
    with pytest.raises(MetadataUnavailableError, match=r"within 0\.05 s"):
        await Metadata(session, metadata_service.url, timeout_s=0.05).get(ID)


async def test_nobody_there_is_unavailable(session: aiohttp.ClientSession) -> None:
    with pytest.raises(MetadataUnavailableError):
        await Metadata(session, "http://127.0.0.1:1").get(ID)
