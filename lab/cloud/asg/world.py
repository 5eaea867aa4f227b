"""Small steps every other module of the machine is made of."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from lab.cloud.asg.model import (
    ACCOUNT,
    Activity,
    ActivityStatus,
    Ec2State,
    Event,
    EventKind,
    Group,
    Instance,
    LifecycleState,
    Member,
    World,
)

KEEP_ACTIVITIES = 300
"""Finished scaling activities kept; AWS keeps six weeks of them."""


def utc(moment: float) -> datetime:
    """Seconds since the epoch as an aware datetime, whole milliseconds."""
    return datetime.fromtimestamp(round(moment, 3), UTC)


def iso(moment: float) -> str:
    """Seconds since the epoch as ``2026-01-31T10:15:00Z``."""
    return utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_hex(world: World) -> tuple[World, str]:
    """32 hex digits that this world never gave before: a hash of its seed and counter, so still pure."""
    world = replace(world, counter=world.counter + 1)
    return world, hashlib.sha256(f"{world.seed}/{world.counter}".encode()).hexdigest()[:32]


def new_uuid(world: World) -> tuple[World, str]:
    world, digits = new_hex(world)
    return world, str(uuid.UUID(digits))


def new_resource_id(world: World, prefix: str) -> tuple[World, str]:
    """An id such as ``i-`` and 17 hex digits."""
    world, digits = new_hex(world)
    return world, f"{prefix}-{digits[:17]}"


def put_instance(world: World, instance: Instance) -> World:
    return replace(world, instances={**world.instances, instance.instance_id: instance})


def put_group(world: World, group: Group) -> World:
    return replace(world, groups={**world.groups, group.name: group})


def members_of(world: World, group: str) -> tuple[tuple[Instance, Member], ...]:
    """The group's instances that are not Terminated, oldest first."""
    found = [
        (instance, instance.member)
        for instance in world.instances.values()
        if instance.member and instance.member.group == group and not instance.member.state.is_final
    ]
    return tuple(sorted(found, key=lambda pair: (pair[0].launched, pair[0].instance_id)))


def enter(world: World, instance: Instance, state: LifecycleState, now: float) -> World:
    """The instance's member enters ``state`` now."""
    if instance.member is None:
        raise ValueError(f"{instance.instance_id} is not a member of a group")
    return put_instance(world, replace(instance, member=replace(instance.member, state=state, since=now)))


def publish(
    world: World,
    instance: Instance,
    kind: EventKind,
    now: float,
    *,
    resource: str,
    detail: Mapping[str, str],
) -> World:
    """Put an event into the outbox."""
    world, event_id = new_uuid(world)
    event = Event(event_id=event_id, kind=kind, at=now, hub=instance.hub, resource=resource, detail=detail)
    return replace(world, outbox=(*world.outbox, event))


def instance_arn(world: World, instance_id: str) -> str:
    return f"arn:aws:ec2:{world.settings.region}:{ACCOUNT}:instance/{instance_id}"


def group_arn(world: World, group: str) -> str:
    scope = f"{world.settings.region}:{ACCOUNT}"
    return f"arn:aws:autoscaling:{scope}:autoScalingGroup:*:autoScalingGroupName/{group}"


def set_ec2_state(
    world: World, instance: Instance, state: Ec2State, now: float, *, reason: str = ""
) -> World:
    """The instance enters an EC2 state; the launcher will be told and the state-change event is sent."""
    changed = replace(
        instance,
        state=state,
        # A machine compose started belongs to compose; a running one needs nothing from the launcher.
        dispatched=instance.static or state is Ec2State.RUNNING,
        reason=reason or instance.reason,
        ended=now if state.is_final else instance.ended,
    )
    world = put_instance(world, changed)
    detail = {"instance-id": instance.instance_id, "state": state.value}
    arn = instance_arn(world, instance.instance_id)
    return publish(world, changed, EventKind.STATE_CHANGE, now, resource=arn, detail=detail)


def open_activity(
    world: World, instance: Instance, now: float, *, description: str, cause: str, status: ActivityStatus
) -> World:
    """A scaling activity begins and becomes the member's current one."""
    if instance.member is None:
        raise ValueError(f"{instance.instance_id} is not a member of a group")
    world, activity_id = new_uuid(world)
    activity = Activity(
        activity_id=activity_id,
        group=instance.member.group,
        instance_id=instance.instance_id,
        description=description,
        cause=f"At {iso(now)} {cause}",
        started=now,
        status=status,
    )
    open_ones = tuple(a for a in world.activities if not a.status.is_final)
    done = tuple(a for a in world.activities if a.status.is_final)[-KEEP_ACTIVITIES:]
    kept = tuple(sorted((*open_ones, *done), key=lambda a: a.started))
    world = replace(world, activities=(*kept, activity))
    return put_instance(world, replace(instance, member=replace(instance.member, activity_id=activity_id)))


def mark_activity(
    world: World, instance: Instance, status: ActivityStatus, now: float, *, message: str = ""
) -> World:
    """The member's current activity takes a status; a finished one keeps what it has."""
    if instance.member is None:
        return world

    def mark(activity: Activity) -> Activity:
        if instance.member is None or activity.activity_id != instance.member.activity_id:
            return activity
        if activity.status.is_final:
            return activity
        return replace(
            activity, status=status, message=message, ended=now if status.is_final else activity.ended
        )

    return replace(world, activities=tuple(mark(activity) for activity in world.activities))
