"""A swarm and a cloud in memory that keep a list of what was done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from swarmhub.controller.aws import CloudError
from swarmhub.controller.model import CloudView, Node, Server, SwarmView
from swarmhub.controller.swarm import JoinSecret, SwarmError
from tests.unit.controller.world import NOW, group, instance, node


class Clock:
    """Stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeSwarm:
    """Nodes and servers that change as they are told; ``broken`` methods raise."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.nodes: dict[str, Node] = {"node1": node(1), "node2": node(2)}
        self.servers: tuple[Server, ...] = ()
        self.broken: set[str] = set()
        self.done: list[tuple[str, ...]] = []
        self.looked = asyncio.Event()
        self.node_set = asyncio.Event()

    def _check(self, method: str) -> None:
        if method in self.broken:
            raise SwarmError("Docker: no answer")

    async def snapshot(self) -> SwarmView:
        self._check("snapshot")
        self.looked.set()
        return SwarmView(self.clock(), tuple(self.nodes.values()), self.servers)

    async def join_secret(self) -> JoinSecret:
        return JoinSecret("cluster0", "SWMTKN-1")

    async def has_node(self, node_id: str) -> bool:
        self._check("has_node")
        return node_id in self.nodes

    async def set_node(self, node_id: str, availability: str, labels: Mapping[str, str | None]) -> None:
        self._check("set_node")
        old = self.nodes[node_id]
        merged = {k: v for k, v in {**old.labels, **labels}.items() if v is not None}
        self.nodes[node_id] = replace(old, availability=availability, labels=merged)
        self.done.append((availability, node_id))
        self.node_set.set()

    async def force_update(self, service_id: str, seen_counter: int) -> bool:
        self._check("force_update")
        self.done.append(("move", service_id))
        self.servers = tuple(
            replace(s, force_update=seen_counter + 1, updated_at=self.clock()) if s.id == service_id else s
            for s in self.servers
        )
        return True

    async def remove_node(self, node_id: str) -> None:
        self._check("remove_node")
        del self.nodes[node_id]
        self.done.append(("remove", node_id))

    async def resolve(self, reference: str) -> str:
        return f"{reference}@sha256:1"


class FakeCloud:
    """Two instances in service.

    ``hangs`` keeps changes waiting, ``blind`` makes only looks fail, ``broken`` everything.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.instances = {i.id: i for i in (instance(1), instance(2))}
        self.broken = False
        self.blind = False
        self.hangs = False
        self.done: list[tuple[str, ...]] = []
        self.parameters: dict[str, str] = {}

    async def _change(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.broken:
            raise CloudError("AWS: refused")

    async def view(self, claimed: Collection[str]) -> CloudView:
        if self.broken or self.blind:
            raise CloudError("AWS: refused")
        return CloudView(self.clock(), tuple(self.instances.values()), (group(),))

    async def complete_hook(self, instance_id: str, group: str, hook: str, result: str) -> bool:
        await self._change()
        self.done.append(("hook", instance_id, hook, result))
        return True

    async def replace_instance(self, instance_id: str) -> None:
        await self._change()
        self.done.append(("replace", instance_id))
        old = self.instances[instance_id]
        self.instances[instance_id] = replace(old, lifecycle_state="Terminating:Wait")

    async def get_parameter(self, name: str) -> str | None:
        return self.parameters.get(name)

    async def put_parameter(self, name: str, value: str, kind: str) -> None:
        self.parameters[name] = value
