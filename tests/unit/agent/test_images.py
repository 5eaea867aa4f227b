from __future__ import annotations

import asyncio
from typing import Any

import pytest
from swarmhub_agent.engine import Engine
from swarmhub_agent.images import Images, short

from tests.unit.agent.conftest import Clock
from tests.unit.agent.fakes import IMAGE, LIMIT_S, FakeEngine

OTHER = "registry:5000/swarmhub/other@sha256:" + "b" * 64


class Changes:
    """Counts the ends of rounds and lets a test wait for them."""

    def __init__(self) -> None:
        self.rounds: asyncio.Queue[None] = asyncio.Queue()

    def __call__(self) -> None:
        self.rounds.put_nowait(None)

    async def next(self) -> None:
        await asyncio.wait_for(self.rounds.get(), LIMIT_S)


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def images(engine: Engine, clock: Clock, changes: Changes) -> Images:
    return Images(engine, changes, sleep=clock.sleep)


async def test_a_node_is_not_fit_before_it_is_known_what_it_must_hold(images: Images) -> None:
    check = await images.check()
    assert not check.ok
    assert "has not said yet" in check.detail


async def test_nothing_required_is_fit(images: Images) -> None:
    images.require(())
    assert (await images.check()).ok


async def test_present_images_are_fit_and_not_pulled(images: Images, engine_service: FakeEngine) -> None:
    engine_service.images = {IMAGE}
    images.require((IMAGE,))
    assert (await images.check()).ok
    assert engine_service.calls == []


async def test_missing_images_are_pulled_once_one_after_the_other(
    images: Images, engine_service: FakeEngine, changes: Changes
) -> None:
    images.require((IMAGE, OTHER))
    first, second = await images.check(), await images.check()
    assert not first.ok
    assert not second.ok
    assert f"Pulling 2 of 2 images: {short(IMAGE)}, {short(OTHER)}" in first.detail
    await changes.next()
    assert engine_service.calls == [("pull", IMAGE), ("pull", OTHER)]
    check = await images.check()
    assert check.ok
    assert check.detail == "All 2 images are present."


async def test_a_failed_pull_is_retried_later_and_keeps_no_other_image_away(
    images: Images, engine_service: FakeEngine, changes: Changes, clock: Clock
) -> None:
    failing = 2

    def on_pull(reference: str) -> list[dict[str, Any]]:
        nonlocal failing
        if reference == IMAGE and failing:
            failing -= 1
            return [{"error": "connection refused"}]
        return [{"status": "done"}]

    engine_service.on_pull = on_pull
    images.require((IMAGE, OTHER))
    await images.check()
    await changes.next()
    assert OTHER in engine_service.images
    check = await images.check()
    assert not check.ok
    await changes.next()
    await changes.next()
    assert (await images.check()).ok
    assert engine_service.names == ["pull"] * 4
    assert len(clock.slept) == 2
    assert clock.slept[0] < clock.slept[1] + 1


async def test_the_reason_of_a_failed_pull_is_told(
    engine: Engine, engine_service: FakeEngine, changes: Changes
) -> None:
    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    images = Images(engine, changes, sleep=for_ever)
    engine_service.on_pull = lambda reference: [{"error": "manifest unknown"}]
    images.require((IMAGE,))
    await images.check()
    await changes.next()
    check = await images.check()
    assert not check.ok
    assert f"{short(IMAGE)}: manifest unknown" in check.detail
    images.stop()


async def test_a_new_requirement_does_not_wait_for_an_old_ones_retry(
    engine: Engine, engine_service: FakeEngine, changes: Changes
) -> None:
    async def for_ever(_: float) -> None:
        await asyncio.Event().wait()

    images = Images(engine, changes, sleep=for_ever)
    engine_service.on_pull = lambda reference: (
        [{"error": "gone"}] if reference == IMAGE else [{"status": "ok"}]
    )
    assert images.require((IMAGE,))
    await images.check()
    await changes.next()
    assert images.require((OTHER,))
    assert not images.require((OTHER,))
    await images.check()
    await changes.next()
    assert (await images.check()).ok


async def test_an_engine_that_does_not_answer_makes_the_check_fail(
    images: Images, engine_service: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swarmhub_agent import engine as engines

    monkeypatch.setattr(engines, "INSPECT_TIMEOUT_S", 0.05)
    images.require((IMAGE,))
    engine_service.hang.clear()
    check = await images.check()
    assert not check.ok
    assert "cannot be checked" in check.detail
