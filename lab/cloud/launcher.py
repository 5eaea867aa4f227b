"""What turns an instance into a running machine; and one that only pretends, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from lab.cloud.asg.model import Instance


@dataclass(frozen=True)
class Addresses:
    """Where a launched machine is reached, IPv4."""

    private_ip: str
    imds_ip: str
    """Its address on the metadata network: how the metadata service tells callers apart."""


@dataclass(frozen=True)
class Found:
    """A machine the launcher knows, whether or not the world does."""

    running: bool
    addresses: Addresses | None
    instance: Instance
    """The instance as it was when it was launched."""


class InstanceLauncher(Protocol):
    """The edge to the machines. Every call may raise; stop and kill of an unknown machine succeed."""

    async def launch(self, instance: Instance) -> Addresses:
        """Start it and return once it runs."""

    async def stop(self, instance_id: str) -> None:
        """Shut it down in order, by force after 10 s, and remove it with its disk."""

    async def kill(self, instance_id: str) -> None:
        """Remove it with its disk at once."""

    async def partition(self, instance_id: str, seconds: float) -> None:
        """Cut its network, except the metadata service's, for ``seconds``; return when it is cut."""

    async def found(self) -> Mapping[str, Found]:
        """All machines of this cloud by instance id, also the dead ones."""


@dataclass
class MemoryLauncher:
    """Machines that exist only here. Addresses count up in 10.0.0.0/16 and 127.0.1.0/24, so that a test can
    call the metadata service as any of them from one loopback interface."""

    fail_next: list[str] = field(default_factory=list)
    """Reasons: the next launches fail with these, in order."""
    partitions: list[tuple[str, float]] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    _machines: dict[str, Found] = field(default_factory=dict)
    _count: int = 0

    async def launch(self, instance: Instance) -> Addresses:
        await asyncio.sleep(0)
        if self.fail_next:
            raise RuntimeError(self.fail_next.pop(0))
        self._count += 1
        addresses = Addresses(
            private_ip=f"10.0.{self._count // 250}.{self._count % 250 + 1}",
            imds_ip=f"127.0.1.{self._count}",
        )
        self._machines[instance.instance_id] = Found(running=True, addresses=addresses, instance=instance)
        return addresses

    async def stop(self, instance_id: str) -> None:
        self.stopped.append(instance_id)
        self._machines.pop(instance_id, None)

    async def kill(self, instance_id: str) -> None:
        self.killed.append(instance_id)
        self._machines.pop(instance_id, None)

    async def partition(self, instance_id: str, seconds: float) -> None:
        self.partitions.append((instance_id, seconds))

    async def found(self) -> Mapping[str, Found]:
        return dict(self._machines)

    def lose(self, instance_id: str) -> None:
        """The machine powers off by itself."""
        del self._machines[instance_id]
