"""The agent's life: join, report, act on the reply, leave.

Everything is derived again at every start from the engine (``LocalNodeState``) and the instance metadata
(notices); the agent keeps no state of its own on disk. The only decision it takes alone is to join.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Never

from . import log
from .certificate import CertificateUnavailableError
from .controller import Answer, ControllerClient, ControllerError, NodeUnknownError
from .engine import Engine, EngineError
from .fitness import Fitness, FitnessChecks
from .identity import Identity
from .images import Images
from .join import JoinAbandonedError, Joiner
from .leave import Completed, HookNotCompletedError
from .monitors.watch import Watcher
from .notices import NoticeBoard
from .protocol import AgentPhase, Notice, NoticeKind, Report
from .states import AgentState, state_for

UNKNOWN_ANSWERS = 3
"""So many answers in a row that the node is unknown mean that it was removed; a single one may come from a
controller whose list of nodes is older than this node."""
AGENT_VERSION = version("swarmhub-agent")


class Agent:
    """Runs one node. All that it talks to is passed in; ``complete_hook`` completes the terminate hook."""

    def __init__(
        self,
        *,
        identity: Identity,
        engine: Engine,
        joiner: Joiner,
        controller: ControllerClient,
        complete_hook: Callable[[], Awaitable[Completed]],
        show_status: Callable[[str], None],
        report_interval_s: float,
        notice_interval_s: float,
    ) -> None:
        self._identity = identity
        self._engine = engine
        self._joiner = joiner
        self._controller = controller
        self._complete_hook = complete_hook
        self._show_status = show_status
        self._report_interval_s = report_interval_s
        self._notice_interval_s = notice_interval_s

        self.state = AgentState.BOOTING
        self.notices = NoticeBoard(self._noticed)
        self.images = Images(engine, self._check_now)
        self._wake = asyncio.Event()
        self._check_wake = asyncio.Event()
        self._fitness: Fitness | None = None
        self._membership = 0
        self._node_id = ""
        self._managers: tuple[str, ...] = ()
        self._answer: Answer | None = None
        self._trouble = ""
        self._unknown_answers = 0
        self._told_left = False
        self._hook: asyncio.Task[None] | None = None

    async def run(self, watchers: Sequence[Watcher], checks: FitnessChecks) -> Never:
        """Live until cancelled. The engine stays in the swarm when the agent ends.

        ``watchers`` post to ``self.notices``, ``checks`` use ``self.images``.
        """
        # Before anything else: an instance that is already going must not join.
        await asyncio.gather(*(watcher.poll() for watcher in watchers))
        try:
            async with asyncio.TaskGroup() as group:
                for watcher in watchers:
                    group.create_task(watcher.run(self._notice_interval_s))
                group.create_task(self._keep_checking(checks))
                while True:
                    await self._step()
        finally:
            self.images.stop()
            if self._hook is not None:
                self._hook.cancel()

    async def _step(self) -> None:
        steps = {
            AgentState.BOOTING: self._boot,
            AgentState.JOINING: self._join,
            AgentState.MEMBER: self._be_member,
            AgentState.LEAVING: self._leave,
            AgentState.LEFT: self._wait_for_the_end,
        }
        following = await steps[self.state]()
        if following is self.state:
            await _wait(self._wake, self._report_interval_s)
            return
        log.info("state changed", before=self.state.value, after=following.value, node=self._node_id)
        if following is AgentState.MEMBER:
            # What an earlier membership was told or measured says nothing about this one.
            self._membership += 1
            self._fitness = None
            self._unknown_answers = 0
            self._check_now()
        self.state = following

    async def _boot(self) -> AgentState:
        try:
            info = await self._engine.info()
        except EngineError as error:
            self._show_status(f"waiting for the engine: {error}")
            return AgentState.BOOTING
        self._node_id = info.node_id
        self._managers = info.managers or self._managers
        return state_for(info.state, going=self.notices.going)

    async def _join(self) -> AgentState:
        self._show_status("joining the swarm")
        try:
            info = await self._joiner.join(
                abandon=lambda: self.notices.going,
                on_failure=lambda reason: self._show_status(f"joining the swarm; last try: {reason}"),
            )
        except JoinAbandonedError:
            return AgentState.BOOTING
        log.info("joined the swarm", node=info.node_id, managers=info.managers)
        self._node_id = info.node_id
        self._managers = info.managers or self._managers
        return AgentState.MEMBER

    async def _be_member(self) -> AgentState:
        if self._fitness is None:
            return AgentState.MEMBER
        if (info := self._fitness.info) is not None:
            following = state_for(info.state, going=self.notices.going)
            if following is not AgentState.MEMBER:
                log.warning(
                    "the engine is no member any more", engine_state=info.state.value, reason=info.error
                )
                return following
            self._node_id = info.node_id or self._node_id
            self._managers = info.managers or self._managers
        try:
            answer = await self._report(AgentPhase.MEMBER)
        except NodeUnknownError as error:
            return await self._expelled(str(error))
        self._show_status(self._member_sentence())
        if answer is None:
            return AgentState.MEMBER
        self._unknown_answers = 0
        self._answer = answer
        if self.images.require(answer.reply.images):
            self._check_now()
        return AgentState.LEAVING if answer.reply.may_leave else AgentState.MEMBER

    async def _expelled(self, reason: str) -> AgentState:
        """Leave and start again: the engine cannot find out by itself that a manager removed its node."""
        self._unknown_answers += 1
        self._show_status(reason)
        if self._unknown_answers < UNKNOWN_ANSWERS:
            return AgentState.MEMBER
        log.warning("leaving because the node was removed from the swarm", reason=reason)
        try:
            await self._engine.leave()
        except EngineError as error:
            self._show_status(f"the node was removed, but the engine does not leave: {error}")
            return AgentState.MEMBER
        return AgentState.BOOTING

    async def _leave(self) -> AgentState:
        self._show_status("leaving the swarm")
        with contextlib.suppress(NodeUnknownError):
            await self._report(AgentPhase.LEAVING)
        try:
            containers = await self._engine.task_containers()
            if containers:
                log.warning("tasks still run here and end now", containers=containers)
            await self._engine.leave()
        except EngineError as error:
            log.warning("leaving failed", reason=str(error))
            self._show_status(f"leaving the swarm; last try: {error}")
            return AgentState.LEAVING
        return AgentState.LEFT

    async def _wait_for_the_end(self) -> AgentState:
        if not self._told_left:
            # After a restart in this state there is no node id and no certificate left to speak with; then
            # the controller finds out by itself.
            try:
                self._told_left = not self._node_id or await self._report(AgentPhase.LEFT) is not None
            except NodeUnknownError:
                self._told_left = True
        if self._hook is None:
            self._hook = asyncio.create_task(self._complete_terminate_hook())
        told = "" if self._told_left else "; the controller does not know it yet"
        self._show_status(f"left; waiting for the instance to end{told}")
        return AgentState.LEFT

    async def _complete_terminate_hook(self) -> None:
        await self.notices.wait_for(NoticeKind.ASG_TERMINATE)
        try:
            completed = await self._complete_hook()
        except HookNotCompletedError as error:
            log.warning("the terminate hook is left to the controller", reason=str(error))
        else:
            log.info("the terminate hook is completed", group=completed.group, hooks=completed.hooks)

    async def _report(self, phase: AgentPhase) -> Answer | None:
        """Report; None where the controller cannot be reached or refuses, which is survived.

        Raises NodeUnknownError.
        """
        report = Report(
            agent_version=AGENT_VERSION,
            instance_id=self._identity.instance_id,
            pool=self._identity.pool,
            phase=phase,
            checks=self._fitness.checks if self._fitness else (),
            notices=self.notices.current,
        )
        trouble = ""
        try:
            return await self._controller.report(self._managers, self._node_id, report)
        except NodeUnknownError:
            raise
        except (ControllerError, CertificateUnavailableError) as error:
            trouble = str(error)
            return None
        finally:
            # Once per outage: the reason may differ in every round, the fact is the same.
            if bool(trouble) != bool(self._trouble):
                if trouble:
                    log.warning("the controller cannot be told", phase=phase.value, reason=trouble)
                else:
                    log.info("the controller answers again", phase=phase.value)
            self._trouble = trouble

    async def _keep_checking(self, checks: FitnessChecks) -> Never:
        """Check while a member, apart from the reports: a check that hangs must not hold a notice back."""
        while True:
            if self.state is AgentState.MEMBER:
                membership = self._membership
                fitness = await checks.run(self._answer.clock_skew_s if self._answer else None)
                if membership == self._membership:
                    changed = self._fitness is None or fitness.verdicts != self._fitness.verdicts
                    self._fitness = fitness
                    if changed:
                        for check in fitness.checks:
                            log.info("fitness", check=check.name, ok=check.ok, detail=check.detail)
                        self._wake.set()
            await _wait(self._check_wake, self._report_interval_s)

    def _noticed(self, notice: Notice) -> None:
        log.warning("notice", kind=notice.kind.value, deadline=notice.deadline, seen_at=notice.seen_at)
        self._wake.set()

    def _check_now(self) -> None:
        self._check_wake.set()

    def _member_sentence(self) -> str:
        parts = []
        if self._answer is not None:
            parts.append(f"{self._answer.reply.state}: {self._answer.reply.reason}")
        if self._trouble:
            parts.append(f"the controller cannot be told: {self._trouble}")
        for notice in self.notices.current:
            when = f" at {notice.deadline:%H:%M:%S} UTC" if notice.deadline else ""
            parts.append(f"{notice.kind.value} notice: this instance goes{when}")
        if self._fitness is not None:
            parts.extend(check.detail for check in self._fitness.checks if not check.ok)
        return "; ".join(parts)


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    """Wait until woken or until the time is over; a call made before counts."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
    wake.clear()
