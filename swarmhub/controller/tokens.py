"""What a booting worker reads from SSM: join token and managers' addresses, kept equal to the swarm's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmhub.controller import logs
from swarmhub.controller.aws import Cloud, ParameterKind
from swarmhub.controller.model import Node

CHECKED_AGAIN_AFTER = timedelta(seconds=60)
"""Somebody may have changed or removed a parameter."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An SSM parameter as it should be."""

    name: str
    value: str
    kind: ParameterKind


def parameters(hub: str, worker_token: str, nodes: Iterable[Node]) -> tuple[Parameter, ...]:
    """The hub's parameters for a swarm; without a Ready manager the addresses are left as they are."""
    prefix = f"/swarmhub/{hub}"
    token = Parameter(f"{prefix}/join-token", worker_token, "SecureString")
    managers = sorted(n.address for n in nodes if not n.is_worker and n.is_ready and n.address)
    if not managers:
        return (token,)
    return (token, Parameter(f"{prefix}/managers", ",".join(managers), "StringList"))


class TokenKeeper:
    """Writes parameters that differ from what SSM holds, and only those."""

    def __init__(self, cloud: Cloud, clock: Callable[[], datetime]) -> None:
        self._cloud = cloud
        self._clock = clock
        self._good: dict[str, tuple[str, datetime]] = {}

    async def keep(self, wanted: Iterable[Parameter]) -> None:
        """Make SSM hold ``wanted``. Raises CloudError; what was not done is done next time."""
        now = self._clock()
        for parameter in wanted:
            value, checked_at = self._good.get(parameter.name, (None, now))
            if value == parameter.value and now - checked_at < CHECKED_AGAIN_AFTER:
                continue
            if await self._cloud.get_parameter(parameter.name) != parameter.value:
                await self._cloud.put_parameter(parameter.name, parameter.value, parameter.kind)
                logs.info("wrote a parameter workers join with", parameter=parameter.name)
            self._good[parameter.name] = (parameter.value, now)
