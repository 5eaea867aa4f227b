"""Values of the fake EC2 and Auto Scaling world. All times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ACCOUNT = "123456789012"
"""moto's account id, so that our ARNs and moto's agree."""
TAG_HUB = "swarmhub:hub"
TAG_POOL = "swarmhub:pool"


class Ec2State(StrEnum):
    """EC2's instance-state-name."""

    PENDING = "pending"
    RUNNING = "running"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"

    @property
    def code(self) -> int:
        """EC2's instance-state-code."""
        return {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48}[self.value]

    @property
    def is_alive(self) -> bool:
        """True while the machine executes programs or is about to."""
        return self in {Ec2State.PENDING, Ec2State.RUNNING}

    @property
    def is_final(self) -> bool:
        return self is Ec2State.TERMINATED


class LifecycleState(StrEnum):
    """Auto Scaling's LifecycleState, the values this group can take."""

    PENDING = "Pending"
    PENDING_WAIT = "Pending:Wait"
    PENDING_PROCEED = "Pending:Proceed"
    IN_SERVICE = "InService"
    TERMINATING = "Terminating"
    TERMINATING_WAIT = "Terminating:Wait"
    TERMINATING_PROCEED = "Terminating:Proceed"
    TERMINATED = "Terminated"

    @property
    def is_pending(self) -> bool:
        return self in {LifecycleState.PENDING, LifecycleState.PENDING_WAIT, LifecycleState.PENDING_PROCEED}

    @property
    def is_alive(self) -> bool:
        """True while the instance counts towards the group's capacity."""
        return self.is_pending or self is LifecycleState.IN_SERVICE

    @property
    def is_final(self) -> bool:
        return self is LifecycleState.TERMINATED


class Transition(StrEnum):
    """LifecycleTransition of a hook."""

    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class ActionResult(StrEnum):
    """LifecycleActionResult and DefaultResult."""

    CONTINUE = "CONTINUE"
    ABANDON = "ABANDON"


class EndedBy(StrEnum):
    """Why a lifecycle action is over."""

    COMPLETED = "completed"
    HEARTBEAT_TIMEOUT = "heartbeat-timeout"
    GLOBAL_TIMEOUT = "global-timeout"
    INSTANCE_GONE = "instance-gone"


class ActivityStatus(StrEnum):
    """StatusCode of a scaling activity, the values this group can take."""

    PRE_IN_SERVICE = "PreInService"
    MID_LIFECYCLE_ACTION = "MidLifecycleAction"
    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"

    @property
    def is_final(self) -> bool:
        return self in {ActivityStatus.SUCCESSFUL, ActivityStatus.FAILED}


class EventKind(StrEnum):
    """EventBridge detail-type."""

    LAUNCH_ACTION = "EC2 Instance-launch Lifecycle Action"
    TERMINATE_ACTION = "EC2 Instance-terminate Lifecycle Action"
    SPOT_INTERRUPTION = "EC2 Spot Instance Interruption Warning"
    REBALANCE = "EC2 Instance Rebalance Recommendation"
    STATE_CHANGE = "EC2 Instance State-change Notification"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The world's constants. Seconds throughout."""

    region: str = "us-east-1"
    settle: float = 1.0
    """How long the passing states (Pending once running, Proceed, Terminating) last."""
    health_check_delay: float = 15.0
    """From an instance's own death to the group's health check noticing it."""
    keep_terminated: float = 3600.0
    """Terminated instances stay visible for about an hour (EC2 user guide, "Terminate instances")."""
    launch_backoff: float = 5.0
    """First wait after a failed launch; doubles up to ``launch_backoff_max``."""
    launch_backoff_max: float = 300.0

    @property
    def zones(self) -> tuple[str, ...]:
        return (f"{self.region}a", f"{self.region}b")


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A lifecycle hook. HeartbeatTimeout 30 to 7200 s, default 3600 (Auto Scaling API)."""

    name: str
    transition: Transition
    heartbeat_timeout: int = 3600
    default_result: ActionResult = ActionResult.ABANDON
    notification_metadata: str | None = None
    notification_target: str | None = None
    role: str | None = None

    @property
    def global_timeout(self) -> int:
        """min(48 h, 100 heartbeats), PutLifecycleHook's documentation."""
        return min(48 * 3600, 100 * self.heartbeat_timeout)


@dataclass(frozen=True, kw_only=True)
class LifecycleAction:
    """One hook held open for one instance; ``ended`` is None while it is open."""

    token: str
    group: str
    hook: str
    instance_id: str
    transition: Transition
    started: float
    heartbeat_deadline: float
    global_deadline: float
    default_result: ActionResult
    heartbeat_timeout: int
    ended: float | None = None
    ended_by: EndedBy | None = None
    result: ActionResult | None = None

    @property
    def is_open(self) -> bool:
        return self.ended is None


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A scaling activity."""

    activity_id: str
    group: str
    instance_id: str
    description: str
    cause: str
    started: float
    status: ActivityStatus
    message: str = ""
    ended: float | None = None


@dataclass(frozen=True, kw_only=True)
class GroupTag:
    key: str
    value: str
    propagate: bool


@dataclass(frozen=True, kw_only=True)
class TemplateRef:
    """Which launch template a group uses; version is a number, ``$Latest`` or ``$Default``."""

    template_id: str
    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class TemplateVersion:
    number: int
    created: float
    data: Mapping[str, Any]
    """LaunchTemplateData as the API takes it."""
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class LaunchTemplate:
    template_id: str
    name: str
    created: float
    versions: tuple[TemplateVersion, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Group:
    """An Auto Scaling group. Invariant: min_size <= desired <= max_size."""

    name: str
    created: float
    min_size: int
    max_size: int
    desired: int
    zones: tuple[str, ...]
    subnets: str = ""
    default_cooldown: int = 300
    health_check_type: str = "EC2"
    health_check_grace: int = 0
    protect_new: bool = False
    capacity_rebalance: bool = False
    template: TemplateRef | None = None
    mixed: Mapping[str, Any] | None = None
    """MixedInstancesPolicy, echoed as given."""
    tags: tuple[GroupTag, ...] = ()
    hooks: tuple[Hook, ...] = ()
    suspended: tuple[str, ...] = ()
    launch_failures: int = 0
    retry_at: float = 0.0
    """No launch before this moment."""

    def hooks_for(self, transition: Transition) -> tuple[Hook, ...]:
        return tuple(hook for hook in self.hooks if hook.transition is transition)


@dataclass(frozen=True, kw_only=True)
class Member:
    """An instance's place in its group."""

    group: str
    state: LifecycleState
    since: float
    """When ``state`` was entered."""
    activity_id: str = ""
    """The scaling activity under way, or the last one."""
    protected: bool = False
    healthy: bool = True
    hooks_done: bool = False
    """True when the terminate hooks have run or must not run."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An EC2 instance."""

    instance_id: str
    launched: float
    instance_type: str
    image_id: str
    zone: str
    container: str
    state: Ec2State = Ec2State.PENDING
    dispatched: bool = False
    """True when the launcher was told what ``state`` asks of it."""
    spot: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    user_data: str = ""
    """Base64, as the API takes it."""
    hop_limit: int = 1
    """HttpPutResponseHopLimit."""
    private_ip: str = ""
    imds_ip: str = ""
    static: bool = False
    """A container that compose started: never launched, stopped or killed from here."""
    spot_deadline: float | None = None
    rebalance_at: float | None = None
    ended: float | None = None
    lost_at: float | None = None
    """When it died without its group's doing."""
    reason: str = ""
    """EC2's StateTransitionReason."""
    member: Member | None = None

    @property
    def hub(self) -> str:
        return self.tags.get(TAG_HUB, "")

    @property
    def pool(self) -> str | None:
        return self.tags.get(TAG_POOL)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something EventBridge would deliver."""

    event_id: str
    kind: EventKind
    at: float
    hub: str
    resource: str
    """ARN of the instance or group."""
    detail: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything the fake EC2 and Auto Scaling know."""

    seed: str
    """What ids are derived from: another seed, other ids."""
    settings: Settings = field(default_factory=Settings)
    counter: int = 0
    groups: Mapping[str, Group] = field(default_factory=dict)
    instances: Mapping[str, Instance] = field(default_factory=dict)
    templates: Mapping[str, LaunchTemplate] = field(default_factory=dict)
    """By template id."""
    actions: tuple[LifecycleAction, ...] = ()
    activities: tuple[Activity, ...] = ()
    """Oldest first."""
    outbox: tuple[Event, ...] = ()
    """Events that the next step hands out."""


@dataclass(frozen=True)
class Launch:
    """Start the machine."""

    instance_id: str


@dataclass(frozen=True)
class Stop:
    """Shut the machine down in order (EC2 gives an ACPI shutdown), then remove it."""

    instance_id: str


@dataclass(frozen=True)
class Kill:
    """Remove the machine at once."""

    instance_id: str


@dataclass(frozen=True)
class Publish:
    """Deliver an event."""

    event: Event


Effect = Launch | Stop | Kill | Publish
