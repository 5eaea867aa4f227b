"""The reconcile loop: look, decide, act, again and again; an event only makes it look sooner."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta

from swarmhub_agent.protocol import Reply, Report

from swarmhub.controller import logs
from swarmhub.controller.cloud_poll import CloudPoll
from swarmhub.controller.execute import Executor
from swarmhub.controller.journal import Journal
from swarmhub.controller.members import Member, assess
from swarmhub.controller.model import Fleet, MemberState, ReceivedReport, Settings, SwarmView
from swarmhub.controller.plan import plan
from swarmhub.controller.pool_images import PoolImages
from swarmhub.controller.status import SHOWN_EVENTS, StatusDocument, group_rows, member_rows, server_rows
from swarmhub.controller.swarm import Swarm, SwarmError

BUSY_S = 1.0
IDLE_S = 3.0
SHORTEST_S = 0.2
"""Between two looks, however often the loop is woken: many agents may report at once."""
SNAPSHOT_WITHIN_S = 15.0
ALIVE_WITHIN = timedelta(seconds=45)
"""Three snapshots that take as long as they may."""
REPORT_KEPT = timedelta(seconds=60)
"""A report may precede its node in the swarm's list; one that does so this long is forgotten."""


class Controller:
    """One hub's controller, without its listeners."""

    def __init__(
        self,
        *,
        hub: str,
        swarm: Swarm,
        poll: CloudPoll,
        executor: Executor,
        images: PoolImages,
        journal: Journal,
        clock: Callable[[], datetime],
        settings: Settings | None = None,
        more_problems: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._hub = hub
        self._swarm = swarm
        self._poll = poll
        self._executor = executor
        self._images = images
        self._journal = journal
        self._clock = clock
        self._settings = settings or Settings()
        self._more_problems = more_problems
        self._started_at = clock()
        self._turned_at = clock()
        self._view: SwarmView | None = None
        self._fleet: Fleet | None = None
        self._members: dict[str, Member] = {}
        self._since: dict[str, datetime] = {}
        self._reports: dict[str, ReceivedReport] = {}
        self._told: dict[str, tuple[str, ...]] = {}
        self._problem: str | None = None
        self._wake = asyncio.Event()
        self.cluster_id: str | None = None

    @property
    def swarm_view(self) -> SwarmView | None:
        """The swarm as last seen."""
        return self._view

    def wake(self) -> None:
        """Look again now."""
        self._wake.set()

    def claimed(self) -> frozenset[str]:
        """Instance ids that the swarm's nodes say they are."""
        nodes = self._view.nodes if self._view else ()
        return frozenset(n.claim for n in nodes if n.claim)

    async def knows(self, node_id: str) -> bool:
        """Whether the swarm lists the node; one that joined a moment ago is asked for. Raises SwarmError."""
        if self._view and any(node.id == node_id for node in self._view.nodes):
            return True
        return await self._swarm.has_node(node_id)

    def accept(self, node_id: str, report: Report) -> Reply:
        """Keep the report; reply what the last look made of the node. News in the report wake the loop."""
        previous = self._reports.get(node_id)
        received = ReceivedReport(report, self._clock(), self._told.get(node_id))
        self._reports[node_id] = received
        if previous is None or _news(previous) != _news(received):
            self._wake.set()
        member = self._members.get(node_id)
        images = self._images.of(member.instance.pool if member and member.instance else report.pool)
        self._told[node_id] = images
        if member is None:
            reason = "the controller has not looked at this node yet"
            return Reply(state=MemberState.JOINING, reason=reason, images=images)
        seen_at = self._view.taken_at if self._view else None
        recent = seen_at is not None and self._clock() - seen_at < self._settings.view_fresh
        return Reply(
            state=member.state,
            reason=member.reason,
            # A look of long ago is no proof that the node is still empty.
            may_leave=member.may_leave and recent,
            images=images,
        )

    def is_alive(self) -> bool:
        return self._clock() - self._turned_at < ALIVE_WITHIN

    def status(self) -> StatusDocument:
        members, fleet = tuple(self._members.values()), self._fleet
        cloud = self._poll.view
        problems = [
            f"the swarm cannot be read: {self._problem}" if self._problem else "",
            f"AWS cannot be read: {self._poll.problem}" if self._poll.problem else "",
            *self._images.problems.values(),
            *self._more_problems(),
        ]
        return StatusDocument(
            hub=self._hub,
            now=self._clock(),
            swarm_seen_at=self._view.taken_at if self._view else None,
            cloud_seen_at=cloud.seen_at if cloud else None,
            problems=tuple(p for p in problems if p),
            members=member_rows(members, self._since),
            servers=server_rows(fleet, members, self._settings) if fleet else (),
            groups=group_rows(fleet) if fleet else (),
            images=self._images.rows(),
            events=self._journal.events[-SHOWN_EVENTS:],
        )

    async def run(self) -> None:
        """Look, decide and act until cancelled."""
        while True:
            self._wake.clear()
            busy = True
            try:
                busy = await self.cycle()
            except Exception:
                # Whatever it is, the next look may be better; the rest of the controller goes on.
                logs.exception("the loop failed; trying again")
            self._turned_at = self._clock()
            await asyncio.sleep(SHORTEST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout((BUSY_S if busy else IDLE_S) - SHORTEST_S):
                    await self._wake.wait()

    async def cycle(self) -> bool:
        """One look and what follows from it; True while something is going on."""
        try:
            async with asyncio.timeout(SNAPSHOT_WITHIN_S):
                self._view = await self._swarm.snapshot()
                if self.cluster_id is None:
                    self.cluster_id = (await self._swarm.join_secret()).cluster_id
        except (SwarmError, TimeoutError) as error:
            problem = str(error) or f"the engine has not answered within {SNAPSHOT_WITHIN_S:.0f} s"
            if self._problem != problem:
                logs.warning("the swarm cannot be read; changing nothing", reason=problem)
            self._problem = problem
            return True
        if self._problem:
            logs.info("the swarm can be read again")
            self._problem = None
        fleet = self._fleet = self._compose(self._view)
        members = assess(fleet, self._settings)
        self._note(members)
        actions = plan(fleet, self._settings)
        busy = bool(actions) or not all(m.state.is_settled for m in members)
        self._poll.set_busy(busy)
        await self._executor.execute(actions, fleet.instances_seen_at)
        return busy

    def _compose(self, view: SwarmView) -> Fleet:
        now, cloud = self._clock(), self._poll.view
        listed = {node.id for node in view.nodes}
        self._reports = {
            node_id: received
            for node_id, received in self._reports.items()
            if node_id in listed or now - received.received_at < REPORT_KEPT
        }
        self._told = {node_id: told for node_id, told in self._told.items() if node_id in self._reports}
        return Fleet(
            now=now,
            started_at=self._started_at,
            nodes=view.nodes,
            servers=view.servers,
            instances=cloud.instances if cloud else (),
            groups=cloud.groups if cloud else (),
            instances_seen_at=cloud.seen_at if cloud else None,
            reports=dict(self._reports),
            images_pending=self._images.pending(now),
            images=self._images.by_pool(),
        )

    def _note(self, members: tuple[Member, ...]) -> None:
        """Tell and remember every change of state."""
        first, previous = not self._members, self._members
        self._members = {m.key: m for m in members}
        now = self._clock()
        for member in members:
            before = previous.get(member.key)
            if before and before.state is member.state:
                continue
            self._since[member.key] = member.node.created_at if first and member.node else now
            logs.info(
                "member state",
                node=member.node.id if member.node else None,
                hostname=member.node.hostname if member.node else None,
                instance=member.instance.id if member.instance else None,
                before=before.state if before else None,
                state=member.state,
                reason=member.reason,
            )
            if not first:
                self._journal.record(_subject(member), member.state, member.reason)
        for key in previous.keys() - self._members.keys():
            self._since.pop(key, None)
            logs.info("member gone", key=key, before=previous[key].state)


def _subject(member: Member) -> str:
    if member.node:
        return member.node.hostname
    return member.instance.id if member.instance else member.key


def _news(received: ReceivedReport) -> tuple[object, ...]:
    """The part of a report that may change a decision; details change with every report."""
    report = received.report
    return received.told, report.phase, report.notices, tuple((c.name, c.ok) for c in report.checks)
