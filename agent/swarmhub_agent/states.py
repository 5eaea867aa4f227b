"""The states of the agent's life."""

from __future__ import annotations

from enum import StrEnum

from .engine import LocalNodeState


class AgentState(StrEnum):
    """Where the agent stands."""

    BOOTING = "booting"
    """The engine has not said yet whether it is in a swarm."""
    JOINING = "joining"
    MEMBER = "member"
    LEAVING = "leaving"
    """The controller allowed it; the engine has not left yet."""
    LEFT = "left"
    """The node has left for good; the instance is going to end."""

    @property
    def is_pending(self) -> bool:
        """True on the way to membership."""
        return self in (AgentState.BOOTING, AgentState.JOINING)

    @property
    def is_alive(self) -> bool:
        """True while the node is in the swarm."""
        return self in (AgentState.MEMBER, AgentState.LEAVING)

    @property
    def is_final(self) -> bool:
        """True when nothing follows."""
        return self is AgentState.LEFT


def state_for(local: LocalNodeState, *, going: bool) -> AgentState:
    """Return the state that follows from the engine's membership and from whether the instance is going.

    A going instance does not join any more; one that is in the swarm in whatever way goes on reporting,
    because the notice matters more than a repair.
    """
    if local is LocalNodeState.ACTIVE:
        return AgentState.MEMBER
    if local is LocalNodeState.INACTIVE:
        return AgentState.LEFT if going else AgentState.JOINING
    return AgentState.MEMBER if going else AgentState.JOINING
