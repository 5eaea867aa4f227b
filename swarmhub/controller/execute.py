"""Actions carried out: each with a deadline, none in another's way; a failed one is decided anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from swarmhub.controller import logs
from swarmhub.controller.aws import Cloud, CloudError
from swarmhub.controller.journal import Journal
from swarmhub.controller.plan import Action, CompleteHook, MoveServer, RemoveNode, ReplaceInstance, SetNode
from swarmhub.controller.swarm import Swarm, SwarmError

SET_NODE_WITHIN_S = 5.0
ACTION_WITHIN_S = 30.0
"""boto3's three attempts of 10 s."""

Key = tuple[str, ...]


class Executor:
    """Carries out what ``plan`` decided.

    Nodes are held before anything else is begun. The rest runs on its own, so that a slow AWS never delays
    the next look; what is still running is not begun twice.
    """

    def __init__(
        self,
        *,
        swarm: Swarm,
        cloud: Cloud,
        journal: Journal,
        clock: Callable[[], datetime],
        cloud_changed: Callable[[], None],
        swarm_changed: Callable[[], None],
    ) -> None:
        self._swarm = swarm
        self._cloud = cloud
        self._journal = journal
        self._clock = clock
        self._cloud_changed = cloud_changed
        self._swarm_changed = swarm_changed
        self._running: dict[Key, asyncio.Task[None]] = {}
        self._done_at: dict[Key, datetime] = {}

    async def execute(self, actions: Iterable[Action], cloud_seen_at: datetime | None) -> None:
        """Begin ``actions``; ``cloud_seen_at``: when AWS was seen as they were decided on."""
        todo = tuple(actions)
        holds = [a for a in todo if isinstance(a, SetNode)]
        done = await asyncio.gather(*(self._hold(action) for action in holds))
        failed = {action.node_id for action, ok in zip(holds, done, strict=True) if not ok}
        self._done_at = {
            k: at for k, at in self._done_at.items() if cloud_seen_at is None or at >= cloud_seen_at
        }
        for action in todo:
            match action:
                case MoveServer():
                    # Its successor could land on the very node it leaves.
                    if action.node_id not in failed:
                        self._begin(("move", action.service_id), self._move(action))
                case RemoveNode():
                    self._begin(("remove", action.node_id), self._remove(action))
                case ReplaceInstance():
                    self._begin_cloud(("replace", action.instance_id), action)
                case CompleteHook():
                    self._begin_cloud(("hook", action.instance_id, action.hook), action)

    async def wait(self) -> None:
        """Until everything begun has ended."""
        await asyncio.gather(*self._running.values())

    def _begin_cloud(self, key: Key, action: ReplaceInstance | CompleteHook) -> None:
        # Done after the view the decision is based on was taken: the next view will show it.
        if key not in self._done_at:
            self._begin(key, self._change_cloud(key, action))

    def _begin(self, key: Key, work: Awaitable[None]) -> None:
        if key in self._running:
            if asyncio.iscoroutine(work):
                work.close()
            return
        task = asyncio.ensure_future(work)
        self._running[key] = task
        task.add_done_callback(lambda _: self._running.pop(key, None))

    async def _hold(self, action: SetNode) -> bool:
        work = self._swarm.set_node(action.node_id, action.availability, action.labels)
        ok = await self._attempt(
            work, SET_NODE_WITHIN_S, action.hostname, _SET_NODE[action.availability], action.reason
        )
        if ok:
            self._swarm_changed()
        return ok

    async def _move(self, action: MoveServer) -> None:
        work = self._swarm.force_update(action.service_id, action.force_update)
        await self._attempt(work, ACTION_WITHIN_S, action.name, "move", action.reason)

    async def _remove(self, action: RemoveNode) -> None:
        work = self._swarm.remove_node(action.node_id)
        if await self._attempt(work, ACTION_WITHIN_S, action.hostname, "remove node", action.reason):
            self._swarm_changed()

    async def _change_cloud(self, key: Key, action: ReplaceInstance | CompleteHook) -> None:
        work: Awaitable[bool | None]
        if isinstance(action, ReplaceInstance):
            work, what = self._cloud.replace_instance(action.instance_id), "replace instance"
        else:
            work = self._cloud.complete_hook(action.instance_id, action.group, action.hook, action.result)
            what = f"complete hook {action.hook} ({action.result})"
        if await self._attempt(work, ACTION_WITHIN_S, action.instance_id, what, action.reason):
            self._done_at[key] = self._clock()
        self._cloud_changed()

    async def _attempt(
        self, work: Awaitable[bool | None], within_s: float, subject: str, what: str, reason: str
    ) -> bool:
        try:
            async with asyncio.timeout(within_s):
                needed = await work
        except (SwarmError, CloudError) as error:
            self._journal.record(subject, what, f"{error} (wanted because: {reason})", ok=False)
            return False
        except TimeoutError:
            self._journal.record(
                subject, what, f"not done within {within_s:.0f} s (wanted because: {reason})", ok=False
            )
            return False
        except Exception:
            logs.exception("an action failed", subject=subject, what=what, reason=reason)
            return False
        self._journal.record(subject, what if needed is not False else f"{what}: was done already", reason)
        return True


_SET_NODE = {"active": "activate", "pause": "pause", "drain": "drain"}
