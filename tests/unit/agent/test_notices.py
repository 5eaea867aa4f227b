from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from swarmhub_agent.notices import NoticeBoard
from swarmhub_agent.protocol import Notice, NoticeKind

T0 = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


def spot(seen: int, deadline: int | None) -> Notice:
    return Notice(
        kind=NoticeKind.SPOT,
        seen_at=T0 + timedelta(seconds=seen),
        deadline=None if deadline is None else T0 + timedelta(seconds=deadline),
    )


def test_a_repeated_notice_is_told_once_and_keeps_its_first_sight() -> None:
    told: list[Notice] = []
    board = NoticeBoard(told.append)
    board.post(spot(0, 120))
    board.post(spot(2, 120))
    assert told == [spot(0, 120)]
    assert board.current == (spot(0, 120),)


def test_a_changed_deadline_is_told_with_the_first_sight() -> None:
    told: list[Notice] = []
    board = NoticeBoard(told.append)
    board.post(spot(0, 120))
    board.post(spot(2, 60))
    assert told == [spot(0, 120), spot(0, 60)]


def test_a_known_deadline_survives_a_notice_without_one() -> None:
    told: list[Notice] = []
    board = NoticeBoard(told.append)
    board.post(spot(0, 120))
    board.post(spot(2, None))
    assert told == [spot(0, 120)]


async def test_kinds_are_kept_apart() -> None:
    board = NoticeBoard(lambda notice: None)
    assert not board.going
    waiting = asyncio.create_task(board.wait_for(NoticeKind.ASG_TERMINATE))
    board.post(spot(0, 120))
    await asyncio.sleep(0)
    assert board.going
    assert not waiting.done()
    board.post(Notice(kind=NoticeKind.ASG_TERMINATE, seen_at=T0 - timedelta(seconds=1)))
    await asyncio.wait_for(waiting, 1)
    assert [notice.kind for notice in board.current] == [NoticeKind.ASG_TERMINATE, NoticeKind.SPOT]
