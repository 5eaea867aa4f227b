"""Spot interruption: EC2 takes the instance back, usually two minutes after it said so.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from ..protocol import Notice, NoticeKind
from .watch import Monitor, UnknownValueError

PATH = "/latest/meta-data/spot/instance-action"
ACTIONS = frozenset({"terminate", "stop", "hibernate"})
"""All three end the servers on this instance, so all three are one notice; hibernation may start at once."""


def parse(text: str, seen_at: datetime) -> Notice | None:
    """Turn ``{"action": "terminate", "time": "2017-09-18T08:22:00Z"}`` into a notice.

    A time in the past is kept: EC2 leaves the item there when it fails to end the instance in time, which may
    then go at any moment. A time that cannot be read gives a notice without a deadline: the instance goes all
    the same.
    Raises UnknownValueError when there is no known action.
    """
    try:
        item = json.loads(text)
    except ValueError:
        raise UnknownValueError(text) from None
    action = item.get("action") if isinstance(item, dict) else None
    if not isinstance(action, str) or action not in ACTIONS:
        raise UnknownValueError(text)
    return Notice(kind=NoticeKind.SPOT, deadline=_instant(item.get("time")), seen_at=seen_at)


def _instant(value: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


MONITOR = Monitor(NoticeKind.SPOT, PATH, parse)
