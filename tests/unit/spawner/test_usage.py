"""Soft quotas: what is known, when it is measured, and what a student reads."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from swarmhub.spawner import usage as module
from swarmhub.spawner.usage import (
    QuotaState,
    QuotaVerdict,
    Usage,
    UsageMeter,
    judge,
    next_home,
)

GB = 2**30
KB = 2**10


class Clock:
    """Wall clock and timer in one; sleeping moves it on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def homes(tmp_path: Path) -> Path:
    (tmp_path / "homes").mkdir()
    return tmp_path / "homes"


@pytest.fixture
async def meter(tmp_path: Path, homes: Path, clock: Clock) -> AsyncIterator[UsageMeter]:
    with ThreadPoolExecutor(2) as pool:
        yield UsageMeter(tmp_path, pool, clock=clock, timer=clock, sleep=clock.sleep)


def fill(homes: Path, slug: str, size: int = 64 * KB) -> None:
    (homes / slug / "data").mkdir(parents=True, exist_ok=True)
    (homes / slug / "data" / "file").write_bytes(os.urandom(size))


def hide(homes: Path) -> None:
    homes.rename(homes.parent / "away")


async def run_until(meter: UsageMeter, condition: Callable[[], object]) -> None:
    task = asyncio.create_task(meter.run())
    try:
        async with asyncio.timeout(5):
            while not condition():
                assert not task.done()
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("held", "state"),
    [
        (0, QuotaState.OK),
        (7.99, QuotaState.OK),
        (8, QuotaState.NEAR),
        (9.99, QuotaState.NEAR),
        (10, QuotaState.FULL),
    ],
)
def test_a_home_is_near_its_quota_from_eighty_percent_and_full_at_a_hundred(
    held: float, state: QuotaState
) -> None:
    verdict = judge(Usage(int(held * GB), 0.0), 10 * GB)
    assert verdict.state is state
    assert bool(verdict.message) == (state is not QuotaState.OK)


def test_what_is_not_known_or_not_limited_is_fine() -> None:
    assert judge(None, 10 * GB) == QuotaVerdict(QuotaState.OK)
    assert judge(Usage(99 * GB, 0.0), None).state is QuotaState.OK


def test_the_message_says_how_much_and_what_is_biggest() -> None:
    usage = Usage(int(8.3 * GB), 0.0, (("data", int(5.1 * GB)), (".cache", GB)))
    assert judge(usage, 10 * GB).message == (
        "Your home holds 8.3 GB of 10 GB; the biggest files and folders: data 5.1 GB, .cache 1 GB. "
        "Delete what you no longer need before it is full."
    )
    cut_off = Usage(11 * GB, 0.0, complete=False)
    assert judge(cut_off, 10 * GB).message.startswith(
        "Your home is full: it holds at least 11 GB of 10 GB. Delete something"
    )


async def test_an_unknown_home_is_fine_and_costs_nothing(meter: UsageMeter) -> None:
    assert await meter.checked("ana", 1) == QuotaVerdict(QuotaState.OK)


async def test_homes_are_measured_in_the_background(meter: UsageMeter, homes: Path) -> None:
    for slug in ("ana", "ben"):
        fill(homes, slug)
    (homes / ".new").mkdir()
    (homes / "file").write_text("")
    (homes / "linked").symlink_to("ana")
    await run_until(meter, lambda: meter.known("ana") and meter.known("ben"))
    usage = meter.known("ana")
    assert usage is not None
    assert usage.bytes >= 64 * KB
    assert usage.biggest[0][0] == "data"
    assert not any(meter.known(other) for other in (".new", "file", "linked"))
    assert meter.verdict("ana", 64 * KB).state is QuotaState.FULL


async def test_a_full_home_is_measured_again_before_it_is_refused(meter: UsageMeter, homes: Path) -> None:
    fill(homes, "ana")
    await meter.fresh("ana")
    assert (await meter.checked("ana", 64 * KB)).state is QuotaState.FULL
    (homes / "ana" / "data" / "file").unlink()
    assert meter.verdict("ana", 64 * KB).state is QuotaState.FULL
    assert (await meter.checked("ana", 64 * KB)).state is QuotaState.OK
    assert meter.verdict("ana", 64 * KB).state is QuotaState.OK


@pytest.mark.parametrize(("age", "state"), [(600, QuotaState.FULL), (601, QuotaState.NEAR)])
async def test_a_home_that_cannot_be_measured_again_is_full_for_ten_minutes_only(
    meter: UsageMeter, homes: Path, clock: Clock, age: int, state: QuotaState
) -> None:
    fill(homes, "ana")
    await meter.fresh("ana")
    clock.now += age
    verdict = await meter.checked("ana", 64 * KB, within=0.0)
    assert verdict.state is state
    assert "Your home is full" in verdict.message
    assert verdict.message.startswith("Your server starts") == (state is QuotaState.NEAR)


async def test_what_was_counted_in_time_is_enough_to_refuse(
    meter: UsageMeter, homes: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(homes, "ana")
    await meter.fresh("ana")
    clock.now += 3600
    monkeypatch.setattr(
        meter, "fresh", lambda *_: asyncio.sleep(0, Usage(65 * KB, clock.now, complete=False))
    )
    verdict = await meter.checked("ana", 64 * KB)
    assert verdict.state is QuotaState.FULL
    assert "at least 65 KB" in verdict.message


async def test_a_walk_that_ran_out_of_time_does_not_replace_what_is_known(
    meter: UsageMeter, homes: Path
) -> None:
    fill(homes, "ana")
    full = await meter.fresh("ana")
    cut_off = await meter.fresh("ana", within=0.0)
    assert cut_off is not None
    assert not cut_off.complete
    assert meter.known("ana") == full


async def test_a_file_server_that_does_not_answer_is_waited_for_only_so_long(
    tmp_path: Path, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(homes, "ana")
    answers = asyncio.Event()

    async def hang(self: UsageMeter, _work: object) -> None:
        await answers.wait()

    with ThreadPoolExecutor(1) as pool:
        meter = UsageMeter(tmp_path, pool)
        monkeypatch.setattr(UsageMeter, "_call", hang)
        monkeypatch.setattr(module, "_GRACE", 0.01)
        assert await meter.fresh("ana", within=0.01) is None


async def test_those_who_ask_for_one_home_at_once_share_a_walk(
    meter: UsageMeter, homes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(homes, "ana")
    walks = []
    walk = module.DiskWalk
    monkeypatch.setattr(module, "DiskWalk", lambda *args: walks.append(args) or walk(*args))
    first, second = await asyncio.gather(meter.fresh("ana"), meter.fresh("ana"))
    assert first == second
    assert len(walks) == 1


async def test_a_home_that_cannot_be_read_is_unknown(meter: UsageMeter) -> None:
    assert await meter.fresh("absent") is None
    assert meter.known("absent") is None


async def test_a_background_walk_pauses_between_slices(
    meter: UsageMeter, homes: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(homes, "ana")
    worked = 0.0
    step = module.DiskWalk.step

    def slow(self: module.DiskWalk, timer: object, until: float) -> bool:
        nonlocal worked
        clock.now += 0.05
        worked += 0.05
        return step(self, lambda: 1.0, 0.0)

    monkeypatch.setattr(module.DiskWalk, "step", slow)
    began = clock.now
    await run_until(meter, lambda: meter.known("ana"))
    assert clock.now - began >= 5 * worked
    began, worked = clock.now, 0.0
    await meter.fresh("ana")
    assert clock.now - began == pytest.approx(worked)


async def test_a_restarted_hub_knows_what_was_measured(
    meter: UsageMeter, tmp_path: Path, homes: Path, clock: Clock
) -> None:
    fill(homes, "ana")
    file = homes / ".usage.json"
    await run_until(meter, file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
    with ThreadPoolExecutor(1) as pool:
        restarted = UsageMeter(tmp_path, pool, clock=clock, timer=clock, sleep=clock.sleep)
        await run_until(restarted, lambda: restarted.known("ana"))
        assert restarted.known("ana") == meter.known("ana")


@pytest.mark.parametrize("content", ["", "garbage", "[]", '{"ana": {"bytes": "x"}}', "\udcff"])
async def test_a_file_that_cannot_be_read_costs_nothing_but_time(
    meter: UsageMeter, homes: Path, content: str
) -> None:
    fill(homes, "ana")
    (homes / ".usage.json").write_bytes(content.encode(errors="surrogateescape"))
    await run_until(meter, lambda: meter.known("ana"))


async def test_a_home_that_is_gone_is_forgotten(meter: UsageMeter, homes: Path, clock: Clock) -> None:
    fill(homes, "ana")
    gone = {"gone": {"bytes": 1, "measured_at": clock.now, "biggest": [["x", 1]], "complete": True}}
    (homes / ".usage.json").write_text(json.dumps(gone))
    await run_until(meter, lambda: meter.known("ana"))
    assert meter.known("gone") is None


async def test_a_file_system_that_is_away_for_a_while_is_waited_for(
    meter: UsageMeter, homes: Path, clock: Clock
) -> None:
    began = clock.now
    hide(homes)
    await run_until(meter, lambda: clock.now - began > 60)
    fill(homes, "ana")
    await run_until(meter, lambda: meter.known("ana"))


def test_wanted_homes_come_first_then_those_in_use_then_the_others() -> None:
    there = {"ana", "ben", "eve", "new"}
    tried = {"ana": 0.0, "ben": 99_000.0, "eve": 99_900.0}
    assert next_home(there, tried, {"eve"}, {"ben"}, 100_000.0) == "eve"
    assert next_home(there, tried, {"gone"}, {"ben"}, 100_000.0) == "ben"
    assert next_home(there, tried, set(), {"eve"}, 100_000.0) == "new"
    assert next_home({"ana", "ben"}, tried, set(), set(), 100_000.0) == "ana"
    assert next_home({"ben", "eve"}, tried, set(), {"eve"}, 100_000.0) is None


async def test_a_home_whose_server_stopped_is_measured_soon(
    meter: UsageMeter, homes: Path, clock: Clock
) -> None:
    fill(homes, "ana")
    first = await meter.fresh("ana")
    fill(homes, "ana", 200 * KB)
    meter.soon("ana")
    await run_until(meter, lambda: meter.known("ana") != first)
