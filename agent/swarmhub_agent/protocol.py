"""What agent and controller say to each other: one report, one reply.

The agent sends its whole picture every few seconds as ``POST /v1/nodes/{node id}/report`` and acts on the
reply; a lost message is repaired by the next one. Transport is TLS with the node's Swarm certificate; the
``{node id}`` of the path must be the certificate's common name.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

PROTOCOL_VERSION = 1
CONTROLLER_PORT = 9443
"""TCP port of the controller's agent API on the manager."""

LABEL_INSTANCE = "org.swarmhub.instance"
"""Engine and node label: the EC2 instance id."""
LABEL_POOL = "org.swarmhub.pool"
"""Engine, node and service label: the pool's name."""

TAG_HUB = "swarmhub:hub"
"""Instance tag: which hub this instance belongs to; also the SSM prefix ``/swarmhub/<hub>/``."""
TAG_POOL = "swarmhub:pool"
"""Instance tag: the pool's name."""


class NoticeKind(StrEnum):
    """Why an instance will go."""

    SPOT = "spot"
    ASG_TERMINATE = "asg-terminate"


class AgentPhase(StrEnum):
    """Where the agent stands in its own life."""

    MEMBER = "member"
    """Joined; the node follows the controller."""
    LEAVING = "leaving"
    """The controller allowed it to leave; ``docker swarm leave`` is about to run."""
    LEFT = "left"
    """The engine left the swarm; the node may be removed at once."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Notice(_Wire):
    """One warning that the instance will go."""

    kind: NoticeKind
    deadline: datetime | None = None
    """When the instance goes, UTC; None where the source does not say."""
    seen_at: datetime
    """When the agent saw it first, UTC."""


class Check(_Wire):
    """The result of one fitness check."""

    name: str
    ok: bool
    detail: str
    """A sentence a person reads, also when ok."""


class Report(_Wire):
    """Everything the agent knows about its own node now."""

    version: int = PROTOCOL_VERSION
    agent_version: str
    instance_id: str
    pool: str
    phase: AgentPhase
    checks: tuple[Check, ...] = ()
    notices: tuple[Notice, ...] = ()


class Reply(_Wire):
    """What the controller makes of the node."""

    state: str
    """The member's state (one of the controller's ``MemberState`` values)."""
    reason: str
    """Why, as a sentence."""
    may_leave: bool = False
    """True when the node is empty and its instance is going: leave the swarm, complete the hook."""
    images: tuple[str, ...] = Field(default=())
    """Image references by digest (``name@sha256:…``) this node must hold before it is fit."""
