"""Notices merged from all their sources and kept as a node label. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError
from swarmhub_agent.protocol import Notice, NoticeKind

from swarmhub.controller.model import LABEL_NOTICE, Node

_LIST = TypeAdapter(tuple[Notice, ...])
_WORDS = {
    NoticeKind.SPOT: "EC2 takes the spot instance back",
    NoticeKind.ASG_TERMINATE: "Auto Scaling terminates the instance",
}


def merge(*sources: Iterable[Notice]) -> tuple[Notice, ...]:
    """One notice per kind, sorted by kind; the earliest deadline and the earliest sighting win."""
    merged: dict[NoticeKind, Notice] = {}
    for notice in (_aware(n) for source in sources for n in source):
        known = merged.get(notice.kind)
        if known is None:
            merged[notice.kind] = notice
            continue
        deadlines = [d for d in (known.deadline, notice.deadline) if d]
        merged[notice.kind] = Notice(
            kind=notice.kind,
            deadline=min(deadlines, default=None),
            seen_at=min(known.seen_at, notice.seen_at),
        )
    return tuple(merged[kind] for kind in sorted(merged))


def persisted(node: Node) -> tuple[Notice, ...]:
    """The notices kept in the node's label; none if the label is missing or unreadable."""
    try:
        return merge(_LIST.validate_json(node.labels.get(LABEL_NOTICE, "[]")))
    except ValidationError:
        return ()


def to_label(notices: tuple[Notice, ...]) -> str:
    return _LIST.dump_json(notices).decode()


def describe(notices: tuple[Notice, ...]) -> str:
    """One sentence that stays the same while the notices do: it is kept as a node label."""
    words = " and ".join(_WORDS.get(n.kind, n.kind) for n in notices)
    deadline = min((n.deadline for n in notices if n.deadline), default=None)
    return words + (f" at {deadline.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if deadline else "")


def _aware(notice: Notice) -> Notice:
    """An agent that forgets the time zone must not stop the loop: UTC is meant."""
    deadline = _utc(notice.deadline) if notice.deadline else None
    return notice.model_copy(update={"deadline": deadline, "seen_at": _utc(notice.seen_at)})


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
