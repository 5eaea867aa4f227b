"""Auto Scaling termination: the group has decided that this instance goes (scale-in, refresh, failed health).

https://docs.aws.amazon.com/autoscaling/ec2/userguide/retrieving-target-lifecycle-state-through-imds.html
"""

from __future__ import annotations

from datetime import datetime

from ..protocol import Notice, NoticeKind
from .watch import Monitor, UnknownValueError

PATH = "/latest/meta-data/autoscaling/target-lifecycle-state"
TERMINATED = "Terminated"
STAYS = frozenset(
    {
        "InService",
        "Detached",
        "Standby",
        "Warmed:Hibernated",
        "Warmed:Running",
        "Warmed:Stopped",
        "Warmed:Terminated",
    }
)
"""The other documented values; none of them says that a running member ends."""


def parse(text: str, seen_at: datetime) -> Notice | None:
    """Turn the target lifecycle state into a notice; None where the instance stays.

    The metadata do not say when: the deadline is None, the group's hook decides it.
    Raises UnknownValueError for a state that is not documented.
    """
    state = text.strip()
    if state == TERMINATED:
        return Notice(kind=NoticeKind.ASG_TERMINATE, deadline=None, seen_at=seen_at)
    if state in STAYS:
        return None
    raise UnknownValueError(text)


MONITOR = Monitor(NoticeKind.ASG_TERMINATE, PATH, parse)
