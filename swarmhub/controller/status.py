"""What ``swarmhub status`` shows: a document made from one fleet, and that document as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from swarmhub.config import Config
from swarmhub.controller.journal import Event
from swarmhub.controller.members import Member
from swarmhub.controller.model import Fleet, Server, Settings
from swarmhub.controller.moves import move_of
from swarmhub.controller.plan import leaving_nodes
from swarmhub.images import short_image
from swarmhub.pins import Pin
from swarmhub.spawner.spec import LABEL_COURSE, LABEL_SERVER, LABEL_USER

SHOWN_EVENTS = 20


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class MemberRow(_Row):
    """One member."""

    node: str
    """Host name; empty where there is no node."""
    node_id: str
    instance: str
    pool: str
    state: str
    servers: int
    since: datetime | None
    deadline: datetime | None
    reason: str


class ServerRow(_Row):
    """One server."""

    name: str
    user: str
    server: str
    course: str
    image: str
    """By digest."""
    node: str
    state: str
    reason: str


class ImageRow(_Row):
    """One image of the configuration."""

    image: str
    """As the configuration names it."""
    courses: tuple[str, ...]
    digest: str
    """What new servers get; empty: not resolved yet."""
    resolved_at: datetime | None
    reason: str
    """Why it is not resolved."""


class GroupRow(_Row):
    """One Auto Scaling group."""

    name: str
    pool: str
    desired: int
    minimum: int
    maximum: int
    instances: int


class StatusDocument(_Row):
    """Everything ``GET /status`` answers."""

    hub: str
    now: datetime
    swarm_seen_at: datetime | None
    cloud_seen_at: datetime | None
    problems: tuple[str, ...] = ()
    """What the controller cannot do at the moment, as sentences."""
    members: tuple[MemberRow, ...] = ()
    servers: tuple[ServerRow, ...] = ()
    groups: tuple[GroupRow, ...] = ()
    images: tuple[ImageRow, ...] = ()
    events: tuple[Event, ...] = ()


def member_rows(members: Iterable[Member], since: Mapping[str, datetime]) -> tuple[MemberRow, ...]:
    """One row per member; ``since``: member key → when it came into its state."""
    return tuple(
        MemberRow(
            node=m.node.hostname if m.node else "",
            node_id=m.node.id if m.node else "",
            instance=(m.instance.id if m.instance else m.node.claim if m.node else "") or "",
            pool=(m.instance.pool if m.instance else "") or "",
            state=m.state,
            servers=len(m.servers),
            since=since.get(m.key),
            deadline=m.deadline,
            reason=m.reason,
        )
        for m in members
    )


def server_rows(fleet: Fleet, members: tuple[Member, ...], settings: Settings) -> tuple[ServerRow, ...]:
    leaving = leaving_nodes(members)
    hostnames = {node.id: node.hostname for node in fleet.nodes}
    return tuple(_server_row(server, leaving, hostnames, fleet.now, settings) for server in fleet.servers)


def group_rows(fleet: Fleet) -> tuple[GroupRow, ...]:
    return tuple(
        GroupRow(
            name=g.name,
            pool=g.pool or "",
            desired=g.desired,
            minimum=g.minimum,
            maximum=g.maximum,
            instances=sum(i.group == g.name for i in fleet.instances),
        )
        for g in fleet.groups
    )


def image_rows(
    config: Config, pinned: Mapping[str, Pin], problems: Mapping[str, str]
) -> tuple[ImageRow, ...]:
    """One row per image reference of ``config``; ``problems``: reference → why it is not resolved."""
    courses: dict[str, list[str]] = {}
    for name, course in config.courses.items():
        for choice in course.image_choices.values():
            if choice.image:
                courses.setdefault(choice.image, []).append(name)
    return tuple(
        ImageRow(
            image=reference,
            courses=tuple(dict.fromkeys(names)),
            digest=pinned[reference].digest if reference in pinned else "",
            resolved_at=pinned[reference].resolved_at if reference in pinned else None,
            reason=problems.get(reference, ""),
        )
        for reference, names in sorted(courses.items())
    )


def render(document: StatusDocument) -> str:
    """The document for a terminal."""
    now = document.now
    parts = [
        f"hub {document.hub} at {now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; "
        f"swarm seen {_ago(document.swarm_seen_at, now)}, AWS seen {_ago(document.cloud_seen_at, now)}"
    ]
    parts += [f"PROBLEM: {problem}" for problem in document.problems]
    groups = [[g.name, g.pool, g.instances, g.desired, g.minimum, g.maximum] for g in document.groups]
    parts.append(table(["GROUP", "POOL", "INSTANCES", "DESIRED", "MIN", "MAX"], groups))
    members = [
        [m.node, m.instance, m.pool, m.state, m.servers, _age(m.since, now), m.reason]
        for m in document.members
    ]
    parts.append(table(["NODE", "INSTANCE", "POOL", "STATE", "SERVERS", "SINCE", "REASON"], members))
    servers = [
        [_title(s), s.course, short_image(s.image), s.node, s.state, s.reason] for s in document.servers
    ]
    parts.append(table(["USER", "COURSE", "IMAGE", "NODE", "STATE", "REASON"], servers))
    images = [
        [i.image, ", ".join(i.courses), short_image(i.digest), _age(i.resolved_at, now), i.reason]
        for i in document.images
    ]
    parts.append(table(["IMAGE", "COURSES", "DIGEST", "RESOLVED", "REASON"], images))
    events = [
        [f"{e.time.astimezone(UTC):%H:%M:%S}", e.subject, e.what + ("" if e.ok else " FAILED"), e.reason]
        for e in document.events
    ]
    parts.append(table(["TIME", "ABOUT", "EVENT", "REASON"], events))
    return "\n\n".join(parts)


def _server_row(
    server: Server,
    leaving: Mapping[str, str],
    hostnames: Mapping[str, str],
    now: datetime,
    settings: Settings,
) -> ServerRow:
    move = move_of(server, leaving, now, settings)
    task = server.newest or max(server.tasks, key=lambda t: t.created_at, default=None)
    node_id = task.node_id if task else ""
    moving = any(t.is_wanted and t.node_id in leaving for t in server.tasks)
    return ServerRow(
        name=server.name,
        user=server.labels.get(LABEL_USER, ""),
        server=server.labels.get(LABEL_SERVER, ""),
        course=server.labels.get(LABEL_COURSE, ""),
        image=server.image,
        node=hostnames.get(node_id, node_id),
        state="moving" if moving else task.state if task else "new",
        reason=move.reason,
    )


def _title(row: ServerRow) -> str:
    return f"{row.user}/{row.server}" if row.server else row.user


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Text in columns as wide as their widest cell; an empty cell is a dash."""
    cells = [list(head), *([str(cell) if cell != "" else "-" for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _age(moment: datetime | None, now: datetime) -> str:
    return "-" if moment is None else short_time((now - moment).total_seconds())


def short_time(duration: float) -> str:
    """Seconds as a few characters: ``90s``, ``12m``, ``3h``."""
    seconds = max(0, int(duration))
    if seconds < 120:  # noqa: PLR2004
        return f"{seconds}s"
    if seconds < 7200:  # noqa: PLR2004
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h"


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{_age(moment, now)} ago" if moment else "never"
