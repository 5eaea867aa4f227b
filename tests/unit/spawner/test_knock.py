"""The hub finds out by itself when a server takes connections."""

from __future__ import annotations

import asyncio

import pytest

from swarmhub.spawner import knock
from swarmhub.spawner.knock import first_open, takes_connections


async def serve(port: int = 0) -> asyncio.Server:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return await asyncio.start_server(hang_up, "127.0.0.1", port)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def test_somebody_listens_or_not() -> None:
    async with await serve() as server:
        port = port_of(server)
        assert await takes_connections("127.0.0.1", port)
    assert not await takes_connections("127.0.0.1", port)


async def test_an_address_that_does_not_answer_costs_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "TRY_WITHIN", 0.05)
    # Reserved for documentation (RFC 5737): nobody has it.
    assert not await asyncio.wait_for(takes_connections("192.0.2.1", 80), 2)


async def test_it_waits_for_the_address_and_then_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "FIRST_PAUSE", 0.01)
    async with await serve() as server:
        port = port_of(server)
    known: list[str] = []
    waiting = asyncio.ensure_future(first_open(lambda: known[-1] if known else None, port))
    await asyncio.sleep(0.05)
    known.append("127.0.0.1")
    await asyncio.sleep(0.05)
    assert not waiting.done()
    async with await serve(port):
        assert await asyncio.wait_for(waiting, 5) == "127.0.0.1"


async def test_it_follows_a_server_that_starts_elsewhere_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knock, "FIRST_PAUSE", 0.01)
    async with await serve() as server:
        addresses = iter(["127.0.0.2", "127.0.0.2", "127.0.0.1"])
        last = "127.0.0.1"
        assert await asyncio.wait_for(first_open(lambda: next(addresses, last), port_of(server)), 5) == last
