"""SSM holds what a booting worker needs, and is written only when it does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from swarmhub.controller.aws import CloudError
from swarmhub.controller.tokens import Parameter, TokenKeeper, parameters
from tests.unit.controller.world import NOW, manager, node

TOKEN = Parameter("/swarmhub/lab/join-token", "SWMTKN-1", "SecureString")


class FakeStore:
    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.broken = False

    async def get_parameter(self, name: str) -> str | None:
        if self.broken:
            raise CloudError("AWS: no")
        return self.values.get(name)

    async def put_parameter(self, name: str, value: str, kind: str) -> None:
        self.writes.append((name, value, kind))
        self.values[name] = value


class Clock:
    now = NOW

    def __call__(self) -> object:
        return self.now


def test_the_parameters_are_the_token_and_the_ready_managers_addresses() -> None:
    managers = (manager(), node(3, role="manager"), node(4, role="manager", status="down"), node(1))
    assert parameters("lab", "SWMTKN-1", managers) == (
        TOKEN,
        Parameter("/swarmhub/lab/managers", "10.0.0.3,10.0.0.9", "StringList"),
    )


def test_without_a_ready_manager_the_addresses_are_left_alone() -> None:
    assert parameters("lab", "SWMTKN-1", (node(1),)) == (TOKEN,)


async def test_only_a_difference_is_written() -> None:
    store, clock = FakeStore(), Clock()
    store.values[TOKEN.name] = TOKEN.value
    keeper = TokenKeeper(store, clock)
    await keeper.keep((TOKEN,))
    assert store.writes == []
    rotated = Parameter(TOKEN.name, "SWMTKN-2", "SecureString")
    await keeper.keep((rotated,))
    await keeper.keep((rotated,))
    assert store.writes == [(TOKEN.name, "SWMTKN-2", "SecureString")]


async def test_a_parameter_somebody_removed_is_written_again_within_a_minute() -> None:
    store, clock = FakeStore(), Clock()
    keeper = TokenKeeper(store, clock)
    await keeper.keep((TOKEN,))
    store.values.clear()
    await keeper.keep((TOKEN,))
    assert len(store.writes) == 1
    clock.now = NOW + timedelta(seconds=60)
    await keeper.keep((TOKEN,))
    assert len(store.writes) == 2


async def test_what_failed_is_done_next_time() -> None:
    store = FakeStore()
    keeper = TokenKeeper(store, Clock())
    store.broken = True
    with pytest.raises(CloudError):
        await keeper.keep((TOKEN,))
    store.broken = False
    await keeper.keep((TOKEN,))
    assert store.values == {TOKEN.name: TOKEN.value}
