from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from swarmhub_agent.metadata import Metadata
from swarmhub_agent.monitors import asg, spot
from swarmhub_agent.monitors.watch import UnknownValueError, Watcher
from swarmhub_agent.protocol import Notice, NoticeKind

from tests.unit.agent.fakes import FakeMetadata

NOW = datetime(2017, 9, 18, 8, 20, tzinfo=UTC)


@pytest.mark.parametrize("action", ["terminate", "stop", "hibernate"])
def test_every_spot_action_is_a_notice_with_its_time(action: str) -> None:
    notice = spot.parse(f'{{"action": "{action}", "time": "2017-09-18T08:22:00Z"}}', NOW)
    assert notice == Notice(kind=NoticeKind.SPOT, deadline=NOW + timedelta(minutes=2), seen_at=NOW)


def test_a_spot_time_in_the_past_is_kept() -> None:
    notice = spot.parse('{"action": "terminate", "time": "2017-09-18T08:00:00Z"}', NOW)
    assert notice is not None
    assert notice.deadline == NOW - timedelta(minutes=20)


@pytest.mark.parametrize("time", ['"soon"', '""', "null", "17", "{}", '"2017-13-45T00:00:00Z"'])
def test_a_spot_time_that_cannot_be_read_gives_a_notice_without_deadline(time: str) -> None:
    assert spot.parse(f'{{"action": "terminate", "time": {time}}}', NOW) == Notice(
        kind=NoticeKind.SPOT, deadline=None, seen_at=NOW
    )
    assert spot.parse('{"action": "terminate"}', NOW) is not None


def test_a_spot_time_without_zone_is_utc_and_one_with_another_zone_is_converted() -> None:
    for text in ("2017-09-18T08:22:00", "2017-09-18T10:22:00+02:00"):
        notice = spot.parse(f'{{"action": "stop", "time": "{text}"}}', NOW)
        assert notice is not None
        assert notice.deadline is not None
        assert notice.deadline.isoformat() == "2017-09-18T08:22:00+00:00"


@pytest.mark.parametrize(
    "text", ["", "terminate", "[]", "{}", "null", '{"action": "reboot"}', '{"action": ["stop"]}']
)
def test_a_spot_item_without_a_known_action_is_unknown(text: str) -> None:
    with pytest.raises(UnknownValueError):
        spot.parse(text, NOW)


def test_only_terminated_is_an_auto_scaling_notice() -> None:
    assert asg.parse("Terminated\n", NOW) == Notice(kind=NoticeKind.ASG_TERMINATE, deadline=None, seen_at=NOW)
    for state in ("InService", "Standby", "Detached", "Warmed:Stopped", "Warmed:Terminated"):
        assert asg.parse(state, NOW) is None
    for text in ("", "terminated", "Retiring", "<html>"):
        with pytest.raises(UnknownValueError):
            asg.parse(text, NOW)


async def test_a_watcher_posts_what_it_sees_and_nothing_when_there_is_nothing(
    metadata: Metadata, metadata_service: FakeMetadata
) -> None:
    posted: list[Notice] = []
    watcher = Watcher(asg.MONITOR, metadata, posted.append, now=lambda: NOW)
    await watcher.poll()
    assert posted == []
    metadata_service.items[asg.PATH] = "Terminated"
    await watcher.poll()
    assert posted == [Notice(kind=NoticeKind.ASG_TERMINATE, seen_at=NOW)]


async def test_an_unknown_value_is_logged_once_and_ignored(
    metadata: Metadata, metadata_service: FakeMetadata, caplog: pytest.LogCaptureFixture
) -> None:
    posted: list[Notice] = []
    watcher = Watcher(spot.MONITOR, metadata, posted.append, now=lambda: NOW)
    metadata_service.items[spot.PATH] = '{"action": "reboot"}'
    for _ in range(3):
        await watcher.poll()
    assert posted == []
    assert len(caplog.records) == 1


async def test_a_failing_service_is_no_notice_and_logged_once_per_outage(
    metadata: Metadata, metadata_service: FakeMetadata, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=500, text='{"action": "terminate", "time": "2017-09-18T08:22:00Z"}')

    posted: list[Notice] = []
    watcher = Watcher(spot.MONITOR, metadata, posted.append, now=lambda: NOW)
    metadata_service.failing = broken
    await watcher.poll()
    await watcher.poll()
    metadata_service.failing = None
    await watcher.poll()
    assert posted == []
    assert [record.message for record in caplog.records] == [
        "notices cannot be read",
        "notices can be read again",
    ]


async def test_the_loop_polls_with_jitter_around_the_interval(
    metadata: Metadata, metadata_service: FakeMetadata
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 20:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Watcher(spot.MONITOR, metadata, lambda _: None, now=lambda: NOW).run(2.0, sleep=sleep)
    assert metadata_service.requests.count(f"GET {spot.PATH}") == 20
    assert all(1.8 <= seconds <= 2.2 for seconds in slept)
    assert len(set(slept)) > 1
