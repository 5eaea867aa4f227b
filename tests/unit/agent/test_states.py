from __future__ import annotations

import pytest
from swarmhub_agent.engine import LocalNodeState
from swarmhub_agent.states import AgentState, state_for


@pytest.mark.parametrize(
    ("local", "staying", "going"),
    [
        ("inactive", "joining", "left"),
        ("active", "member", "member"),
        ("pending", "joining", "member"),
        ("error", "joining", "member"),
        ("locked", "joining", "member"),
    ],
)
def test_the_state_follows_from_membership_and_notice(local: str, staying: str, going: str) -> None:
    assert state_for(LocalNodeState(local), going=False) is AgentState(staying)
    assert state_for(LocalNodeState(local), going=True) is AgentState(going)


def test_every_state_is_exactly_one_of_pending_alive_and_final() -> None:
    for state in AgentState:
        assert [state.is_pending, state.is_alive, state.is_final].count(True) == 1
